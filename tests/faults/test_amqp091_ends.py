"""How an open connection ends: by us, by the peer, by nobody, and what is told of it."""

import asyncio
import gc
import logging
import struct
import types

import pamqp.frame
import pytest
from pamqp import commands as spec
from pamqp.heartbeat import Heartbeat

from springline.core.values import ClosedBy
from springline.errors import NotOpenError, RejectedError
from springline.reasons import Reason
from support import fake_peer, opening, uncollected
from support.amqp091 import (
    DEADLINE,
    DRIVER,
    PLANTED,
    SHORT,
    before_tune,
    certificates,
    close_frame,
    opened,
    refused,
)
from support.fake_peer import FakePeer, Talk
from support.opening import Recorder
from support.waiting import eventually


# R2.5, R2.7
async def test_closing_is_orderly_and_closing_again_says_not_open() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        states = [connection.is_open]
        closing = asyncio.create_task(connection.close(code=200, text="suspended"))
        await asyncio.sleep(0)
        states.append(connection.is_open)
        assert states == [True, False]
        with pytest.raises(NotOpenError, match="Not open"):
            await connection.close()
        await closing
        assert recorder.told == ["closed"]
        close = peer.talk.last(spec.Connection.Close)
    assert close is not None
    assert (close.reply_code, close.reply_text) == (200, "suspended")
    assert peer.talk.count(spec.Connection.Close) == 1
    info = recorder.closes[0]
    assert (info.by, info.reason) == (ClosedBy.CLIENT, Reason.CLIENT_CLOSED)
    assert (info.codes, info.text) == (connection.close_codes, "suspended")
    with pytest.raises(NotOpenError):
        await opening.probe(connection, exchange="", routing_key="x", timeout=1)
    with pytest.raises(NotOpenError):
        await connection.renew(opening.password(), timeout=1)


# R1.9
@pytest.mark.parametrize("with_tls", [False, True], ids=["plaintext", "TLS"])
@pytest.mark.parametrize("reading", [True, False], ids=["reading", "not reading"])
async def test_closing_waits_no_longer_than_told(with_tls: bool, reading: bool) -> None:
    async def ignore(talk: Talk) -> None:
        await talk.handshake()
        if reading:
            await talk.serve(close=False)
        await talk.silent()

    server, client = certificates()
    async with (
        asyncio.timeout(DEADLINE),
        fake_peer.serving(ignore, tls=server if with_tls else None) as peer,
    ):
        connection, recorder = await opened(peer, tls=client if with_tls else None)
        await connection.close(timeout=SHORT)
        assert recorder.told == ["closed"]
        assert recorder.closes[0].by is ClosedBy.CLIENT


async def test_a_cancelled_close_drops_the_transport() -> None:
    async def ignore(talk: Talk) -> None:
        await talk.handshake()
        await talk.serve(close=False)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore) as peer:
        connection, recorder = await opened(peer)
        closing = asyncio.create_task(connection.close(timeout=60))
        await eventually(lambda: peer.talk.count(spec.Connection.Close))
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing
        await eventually(lambda: recorder.told == ["closed"])


async def test_abort_drops_at_once_and_is_idempotent() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        connection.abort()
        connection.abort()
        assert not connection.is_open
        await eventually(lambda: recorder.told == ["closed"])
        assert recorder.closes[0].reason is Reason.CLIENT_CLOSED
        assert peer.talk.count(spec.Connection.Close) == 0


# R2.5, R2.6
async def test_a_servers_close_is_answered_and_told_once_with_its_codes() -> None:
    answered = asyncio.Event()

    async def close(talk: Talk) -> None:
        await talk.handshake()
        talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - bye", 60, 40))
        await talk.expect(spec.Connection.CloseOk)
        answered.set()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(close) as peer:
        connection, recorder = await opened(peer)
        await answered.wait()
        await eventually(lambda: recorder.told)
        assert not connection.is_open
        with pytest.raises(NotOpenError):
            await connection.close()
    assert recorder.told == ["closed"]
    info = recorder.closes[0]
    assert (info.by, info.reason) == (ClosedBy.SERVER, Reason.CONNECTION_FORCED)
    assert info.text == "CONNECTION_FORCED - bye"
    assert info.codes == {"code": 320, "classID": 60, "methodID": 40}
    assert peer.talk.count(spec.Connection.Close) == 0


async def test_a_close_whose_text_is_cut_in_a_character_keeps_its_code() -> None:
    """RabbitMQ cuts at 255 octets, wherever that falls."""

    async def close(talk: Talk) -> None:
        await talk.handshake()
        talk.raw(close_frame(320, "CONNECTION_FORCED - virtual host 'aufträ".encode()[:-1]))
        await talk.expect(spec.Connection.CloseOk)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(close) as peer:
        _, recorder = await opened(peer)
        await eventually(lambda: recorder.told)
    [info] = recorder.closes
    assert (info.by, info.reason) == (ClosedBy.SERVER, Reason.CONNECTION_FORCED)
    assert info.text == "CONNECTION_FORCED - virtual host 'auftr\ufffd"
    assert info.codes == {"code": 320, "classID": 0, "methodID": 0}


async def test_a_blocked_whose_text_is_cut_in_a_character_is_a_block() -> None:
    async def block(talk: Talk) -> None:
        await talk.handshake()
        text = "low on speicherplätze".encode()[:-4]
        payload = b"\x00\x0a\x00\x3c" + bytes([len(text)]) + text
        talk.raw(b"\x01\x00\x00" + len(payload).to_bytes(4) + payload + b"\xce")
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(block) as peer:
        connection, recorder = await opened(peer)
        await eventually(lambda: recorder.told == ["blocked: low on speicherpl\ufffd"])
        assert connection.is_open
        await connection.close()


async def test_an_end_before_anybody_looks_is_told_to_the_late_observer() -> None:
    async def close(talk: Talk) -> None:
        await talk.handshake()
        talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - bye", 0, 0))
        await talk.expect(spec.Connection.CloseOk)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(close) as peer:
        connection = await DRIVER.open(opening.request(peer.port))
        await eventually(lambda: not connection.is_open)
        recorder = Recorder()
        connection.observe(recorder)
        await eventually(lambda: recorder.told == ["closed"])


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_a_peer_that_vanishes_is_the_transports_end(how: str) -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        getattr(peer.talk, how)()
        await eventually(lambda: recorder.told == ["closed"])
        assert not connection.is_open
        info = recorder.closes[0]
        assert (info.by, info.reason) == (ClosedBy.TRANSPORT, Reason.PEER_CLOSED)


@pytest.mark.parametrize("frame_max", [0, 131072, 2147483647])
async def test_no_more_is_taken_in_than_can_be_meant_for_a_connection_that_consumes_nothing(
    frame_max: int,
) -> None:
    """Whatever frame-max was agreed on, a peer cannot fill the memory."""

    async def greedy(talk: Talk) -> None:
        await talk.greet()
        await talk.log_in()
        await talk.tune(frame_max=frame_max)
        talk.send(spec.Connection.OpenOk())
        await asked.wait()
        talk.raw(struct.pack(">BHI", 1, 0, 20_000))
        await talk.until_gone()

    asked = asyncio.Event()
    async with asyncio.timeout(DEADLINE), fake_peer.serving(greedy) as peer:
        connection, recorder = await opened(peer, frame_max=frame_max)
        assert opening.agreed(connection).frame_max == frame_max
        asked.set()
        await eventually(lambda: recorder.told == ["closed"])
        info = recorder.closes[0]
        assert (info.by, info.reason) == (ClosedBy.CLIENT, Reason.PROTOCOL_MISMATCH)
        assert info.text == "the peer sent a frame of 20008 octets where 16384 are allowed"


async def test_silence_for_two_heartbeats_is_a_missed_heartbeat() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer, heartbeat_seconds=1)
        await eventually(lambda: recorder.told == ["closed"])
        assert not connection.is_open
        info = recorder.closes[0]
        assert (info.by, info.reason) == (ClosedBy.TRANSPORT, Reason.HEARTBEAT_MISSED)
        assert "2 s" in info.text
        assert peer.talk.count(Heartbeat) >= 1


async def test_nothing_is_logged_at_any_level(caplog: pytest.LogCaptureFixture) -> None:
    """aiormq would log frames with the secret in them, and warn of what is reported anyway."""
    caplog.set_level(logging.DEBUG)
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        await connection.renew(opening.token(PLANTED), timeout=5)
        await opening.probe(connection, exchange="", routing_key="x", timeout=5)
        peer.talk.send(spec.Connection.Blocked(reason="low on memory"))
        peer.talk.send(spec.Basic.Ack(delivery_tag=77), 1)
        peer.talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - bye", 0, 0))
        await eventually(lambda: "closed" in recorder.told)
    await refused(before_tune)
    ours = [record for record in caplog.records if record.name.startswith(("aiormq", "pamqp"))]
    assert ours == []
    assert PLANTED not in caplog.text
    assert PLANTED not in repr(connection)


# --- a peer that sends without a pause

HEARTBEATS = b"\x08\x00\x00\x00\x00\x00\x00\xce" * 5000
BLOCKS = (
    pamqp.frame.marshal(spec.Connection.Blocked(reason="low on memory"), 0)
    + pamqp.frame.marshal(spec.Connection.Unblocked(), 0)
) * 2500


@pytest.mark.parametrize(
    ("flood", "what"),
    [
        pytest.param(HEARTBEATS, "2000 frames", id="heartbeats"),
        pytest.param(BLOCKS, "2000 frames", id="blocks and their ends"),
    ],
)
async def test_a_flood_is_ended_with_a_reason_and_others_get_their_turn(
    flood: bytes, what: str
) -> None:
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        counting = asyncio.ensure_future(count_turns())
        peer.talk.raw(flood)
        await eventually(lambda: "closed" in recorder.told)
        counting.cancel()
        assert not connection.is_open
        info = recorder.closes[0]
        assert (info.by, info.reason) == (ClosedBy.CLIENT, Reason.FLOODED)
        assert info.text == f"the peer sent more than {what} at once, and no session takes so much"
        assert info.codes["code"] == 506
    assert turns > 2000 / 32


async def test_a_flood_of_heartbeats_in_the_handshake_ends_the_attempt() -> None:
    """Before anything could time out, if nobody gave the loop a turn."""

    async def babbling(talk: Talk) -> None:
        await talk.greet()
        await talk.log_in()
        talk.raw(HEARTBEATS)
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(babbling) as peer:
        with pytest.raises(RejectedError) as raised:
            await DRIVER.open(opening.request(peer.port))
    assert raised.value.reason is Reason.FLOODED


async def test_what_a_broker_sends_in_a_busy_hour_is_no_flood() -> None:
    """A thousand words about blocks at once, and as many heartbeats."""
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        peer.talk.raw(HEARTBEATS[: 8 * 900] + BLOCKS[: len(BLOCKS) // 5])
        await eventually(lambda: recorder.told.count("unblocked") == 500)
        assert connection.is_open


async def test_an_open_connection_has_no_task_and_nothing_of_aiormq() -> None:
    """Of thousands, each would keep a task that waits, and what aiormq has for channels."""
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        before = asyncio.all_tasks()
        connection, _ = await opened(peer)
        await opening.probe(connection, exchange="", routing_key="x", timeout=DEADLINE)
        await eventually(lambda: not _of_this_client(before), what="no task is left")
        assert "aiormq" not in {type(each).__module__.split(".")[0] for each in _held(connection)}
        await connection.close()


@pytest.mark.parametrize("with_tls", [False, True], ids=["plaintext", "TLS"])
@pytest.mark.parametrize("end", ["closed", "dropped", "closed by the peer", "reset by the peer"])
async def test_what_a_probed_connection_was_is_released_when_it_has_ended(
    end: str, with_tls: bool
) -> None:
    """At once, secrets and TLS among it, and not when the garbage collector comes by."""
    server, client = certificates()

    async def live(peer: FakePeer) -> None:
        connection, recorder = await opened(peer, tls=client if with_tls else None)
        await opening.probe(connection, exchange="", routing_key="x", timeout=DEADLINE)
        assert left()
        match end:
            case "closed":
                await connection.close()
            case "dropped":
                connection.abort()
            case "closed by the peer":
                peer.talk.raw(close_frame(320, b"shutdown"))
            case _:
                peer.talk.reset()
        await eventually(lambda: recorder.closes)

    with uncollected.watched(*_OURS) as left:
        async with (
            asyncio.timeout(DEADLINE),
            fake_peer.serving(tls=server if with_tls else None) as peer,
        ):
            await live(peer)
            await eventually(lambda: not left(), what="nothing is left")


_OURS = (
    "springline.drivers.amqp091.connection",
    "springline.drivers.amqp091.frame_reader",
    "springline.drivers.amqp091.heart",
    "springline.drivers.amqp091.probe",
    "springline.drivers.amqp091.wire",
    "springline.drivers.shared.line",
    "springline.redaction",
    "springline.veil",
)


def _of_this_client(before: set[asyncio.Task[object]]) -> list[asyncio.Task[object]]:
    """Return the tasks that were not there before, but for those of the peer."""
    return [task for task in asyncio.all_tasks() - before if "amqp091" in task.get_name()]


def _held(connection: object) -> list[object]:
    """Return the objects that a connection refers to, directly or not, but not by the loop."""
    found: dict[int, object] = {}
    waiting = [connection]
    while waiting:
        each = waiting.pop()
        if id(each) in found or isinstance(
            each, asyncio.AbstractEventLoop | type | types.ModuleType | types.FunctionType
        ):
            continue
        found[id(each)] = each
        waiting += gc.get_referents(each)
    return list(found.values())
