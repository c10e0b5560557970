"""What we say to a peer that breaks the protocol: a Close that names what caused it (R1.14)."""

import asyncio
import struct
from random import Random
from typing import Any

import pamqp.frame
import pytest
from pamqp import commands as spec
from pamqp.body import ContentBody
from pamqp.frame import FrameTypes
from pamqp.header import ContentHeader

from springline.core.values import ClosedBy
from springline.drivers.amqp091 import replies
from springline.errors import ConnectError, NotOpenError
from springline.reasons import Reason
from support import fake_peer, opening
from support.amqp091 import (
    DEADLINE,
    DRIVER,
    PLANTED,
    SHORT,
    before_open_ok,
    before_start,
    before_tune,
    certificates,
    opened,
)
from support.fake_peer import Script, Talk
from support.waiting import eventually


def frame(frame: FrameTypes, channel: int = 0) -> bytes:
    return pamqp.frame.marshal(frame, channel)


def method(class_id: int, method_id: int, arguments: bytes = b"", *, end: bytes = b"\xce") -> bytes:
    """A method frame on channel 0, whatever is in it."""
    payload = struct.pack(">HH", class_id, method_id) + arguments
    return struct.pack(">BHI", 1, 0, len(payload)) + payload + end


TUNE = frame(spec.Connection.Tune(channel_max=1, frame_max=4096, heartbeat=1))

MALFORMED = [
    pytest.param(b"\x00" * 64, (501, 0, 0), "something that is not a frame", id="zeros"),
    pytest.param(
        b"\x01\x00\x00\x7f\xff\xff\xff", (501, 0, 0), "2147483655 octets", id="a frame too long"
    ),
    pytest.param(
        method(10, 60, b"\x00", end=b"\x00"),
        (501, 10, 60),
        "a frame without a frame end",
        id="no frame end",
    ),
    pytest.param(
        method(10, 50), (502, 10, 50), "cannot be decoded", id="a Close without its fields"
    ),
    pytest.param(
        method(10, 50, b"\x01\x40\x0e" + PLANTED.encode()),
        (502, 10, 50),
        "cannot be decoded",
        id="a Close that breaks off behind its text",
    ),
]

OUT_OF_TURN = [
    pytest.param(TUNE, (503, 10, 30), "Connection.Tune on channel 0", id="Tune again"),
    pytest.param(method(10, 999), (503, 10, 999), "the method 10.999", id="an unknown method"),
    pytest.param(
        frame(spec.Basic.Ack(delivery_tag=1)),
        (503, 60, 80),
        "Basic.Ack on channel 0",
        id="a channel's method on channel 0",
    ),
    pytest.param(
        frame(spec.Connection.Blocked(reason="low on memory"), 1),
        (503, 10, 60),
        "Connection.Blocked on channel 1",
        id="the connection's method on a channel",
    ),
    pytest.param(
        frame(spec.Basic.Ack(delivery_tag=1), 1),
        (504, 60, 80),
        "Basic.Ack on channel 1, which is not open",
        id="a channel that was never opened",
    ),
    pytest.param(
        frame(ContentBody(PLANTED.encode()), 7),
        (504, 0, 0),
        "content on channel 7, which is not open",
        id="content of nothing",
    ),
    pytest.param(
        frame(ContentHeader(body_size=0)), (504, 0, 0), "content on channel 0", id="content on 0"
    ),
    pytest.param(
        b"\x08\x00\x03\x00\x00\x00\x00\xce",
        (501, 0, 0),
        "a heartbeat on channel 3",
        id="a heartbeat of a channel",
    ),
]


def objection(talk: Talk) -> tuple[int, int, int]:
    """The one Close that the client sent: code, class id, method id."""
    assert talk.count(spec.Connection.Close) == 1
    close = talk.last(spec.Connection.Close)
    assert close is not None
    assert PLANTED not in (close.reply_text or "")
    return close.reply_code or 0, close.class_id or 0, close.method_id or 0


# R1.14
@pytest.mark.parametrize(("octets", "named", "says"), [*MALFORMED, *OUT_OF_TURN])
async def test_our_close_names_what_caused_it(
    octets: bytes, named: tuple[int, int, int], says: str
) -> None:
    """What is told of the end is what was said to the peer, which may say nothing of a secret."""
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        peer.talk.raw(octets)
        await eventually(lambda: recorder.told == ["closed"])
        assert not connection.is_open
        assert objection(peer.talk) == named
        close = peer.talk.last(spec.Connection.Close)
    assert close is not None
    assert says in (close.reply_text or "")
    [info] = recorder.closes
    assert (info.by, info.reason) == (ClosedBy.CLIENT, Reason.PROTOCOL_MISMATCH)
    assert info.codes == dict(zip(("code", "classID", "methodID"), named, strict=True))
    assert info.text == close.reply_text


RETURN = frame(
    spec.Basic.Return(reply_code=312, reply_text="NO_ROUTE", exchange="", routing_key=""), 1
)
HEADER = frame(ContentHeader(body_size=2), 1)
BODY = frame(ContentBody(b"x"), 1)
ACK = frame(spec.Basic.Ack(delivery_tag=77), 1)


# R1.14
@pytest.mark.parametrize(
    ("octets", "named"),
    [
        pytest.param(HEADER, (505, 0, 0), id="a header of nothing"),
        pytest.param(BODY, (505, 0, 0), id="a body of nothing"),
        pytest.param(RETURN + BODY, (505, 0, 0), id="a body without a header"),
        pytest.param(RETURN + ACK, (505, 60, 80), id="a method in place of the header"),
        pytest.param(RETURN + HEADER + HEADER, (505, 0, 0), id="two headers"),
        pytest.param(RETURN + HEADER + BODY + ACK + BODY, (505, 0, 0), id="a body too late"),
    ],
)
async def test_content_out_of_turn_on_an_open_channel_is_named(
    octets: bytes, named: tuple[int, int, int]
) -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        await probe(connection)
        peer.talk.raw(octets)
        await eventually(lambda: recorder.told == ["closed"])
        assert objection(peer.talk) == named
    assert recorder.closes[0].codes["code"] == 505


async def test_content_in_its_order_is_as_it_should_be() -> None:
    """Also in two bodies, and with other channels in between."""
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        await probe(connection)
        peer.talk.raw(RETURN + HEADER + BODY + frame(spec.Connection.Blocked("disk")) + BODY + ACK)
        peer.talk.raw(RETURN + HEADER + RETURN + HEADER + BODY)
        await eventually(lambda: recorder.told == ["blocked: disk"])
        peer.talk.raw(ACK + frame(spec.Connection.Unblocked()))
        await eventually(lambda: recorder.told == ["blocked: disk", "unblocked"])
        await probe(connection)
        await connection.close()


OPEN_FRAMES = [
    spec.Connection.Blocked(reason="low on memory"),
    spec.Connection.Unblocked(),
    spec.Connection.UpdateSecretOk(),
    spec.Connection.Close(320, "CONNECTION_FORCED - bye", 0, 0),
]


@pytest.mark.parametrize("seed", range(40))
async def test_a_damaged_frame_ends_the_connection_once_or_does_no_harm(seed: int) -> None:
    random = Random(seed)  # noqa: S311 - repeatable on purpose
    octets = bytearray(frame(random.choice(OPEN_FRAMES)))
    for _ in range(random.choice((1, 2, 5))):
        octets[random.randrange(len(octets))] = random.choice((0, 1, 2, 3, 8, 127, 128, 255))
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        peer.talk.raw(bytes(octets))
        peer.talk.close()
        await eventually(lambda: recorder.told[-1:] == ["closed"])
        assert recorder.told.count("closed") == 1
        assert peer.talk.count(spec.Connection.Close) <= 1
        connection.abort()


# R1.14
@pytest.mark.parametrize(
    ("octets", "named"),
    [
        pytest.param(TUNE, (503, 10, 30), id="another method"),
        pytest.param(method(10, 50), (502, 10, 50), id="a Close without its fields"),
        pytest.param(b"\x01\x00\x00\x7f\xff\xff\xff", (501, 0, 0), id="a frame too long"),
    ],
)
async def test_a_mistake_in_place_of_open_ok_is_named_too(
    octets: bytes, named: tuple[int, int, int]
) -> None:
    talks = await attempted(before_open_ok, octets)
    assert objection(talks) == named


# AMQP 0-9-1 §2.2.4: "prior to sending or receiving Open or Open-Ok, a peer that detects an error
# MUST close the socket without sending any further data."
@pytest.mark.parametrize("reach", [before_start, before_tune])
@pytest.mark.parametrize("octets", [frame(spec.Connection.OpenOk()), method(10, 50)])
async def test_before_open_there_is_no_close(reach: Script, octets: bytes) -> None:
    talk = await attempted(reach, octets)
    assert talk.count(spec.Connection.Close) == 0


async def attempted(reach: Script, octets: bytes) -> Talk:
    """Try to open against a peer that sends these octets then; return what it has heard."""
    heard = asyncio.Event()

    async def script(talk: Talk) -> None:
        await reach(talk)
        talk.raw(octets)
        try:
            await talk.until_gone()
        finally:
            heard.set()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        with pytest.raises(ConnectError) as caught:
            await DRIVER.open(opening.request(peer.port))
        assert caught.value.reason is Reason.PROTOCOL_MISMATCH
        await heard.wait()
        return peer.talk


# R1.9, R1.14
@pytest.mark.parametrize("with_tls", [False, True], ids=["plaintext", "TLS"])
async def test_what_comes_after_our_close_is_dropped_until_close_ok(with_tls: bool) -> None:
    """The transport is there until then, and gone right after."""
    answer = asyncio.Event()

    async def late(talk: Talk) -> None:
        await talk.handshake()
        talk.raw(TUNE)
        await talk.expect(spec.Connection.Close)
        for _ in range(100):
            talk.raw(TUNE)
            talk.raw(b"\x00" * 1000)
        await answer.wait()
        closing = frame(spec.Connection.CloseOk())
        talk.raw(closing[:5])
        await talk.writer.drain()
        talk.raw(closing[5:])
        await talk.until_gone()

    server, client = certificates()
    async with (
        asyncio.timeout(DEADLINE),
        fake_peer.serving(late, tls=server if with_tls else None) as peer,
    ):
        connection, recorder = await opened(peer, tls=client if with_tls else None)
        await eventually(lambda: peer.talk.count(spec.Connection.Close))
        assert not connection.is_open
        assert recorder.told == []
        answer.set()
        await eventually(lambda: recorder.told == ["closed"])
        assert objection(peer.talk) == (503, 10, 30)


# R1.9
@pytest.mark.parametrize("with_tls", [False, True], ids=["plaintext", "TLS"])
@pytest.mark.parametrize("reading", [True, False], ids=["reading", "not reading"])
async def test_a_peer_that_does_not_answer_our_close_is_waited_for_no_longer_than_a_moment(
    with_tls: bool, reading: bool
) -> None:
    async def stuck(talk: Talk) -> None:
        await talk.handshake()
        talk.raw(TUNE)
        if reading:
            await talk.serve(close=False)
        await talk.silent()

    server, client = certificates()
    async with (
        asyncio.timeout(DEADLINE),
        fake_peer.serving(stuck, tls=server if with_tls else None) as peer,
    ):
        _, recorder = await opened(peer, tls=client if with_tls else None)
        await eventually(lambda: recorder.told == ["closed"])
        assert recorder.closes[0].codes["code"] == 503


async def test_a_peer_that_hangs_up_on_our_close_ends_it() -> None:
    async def hang_up(talk: Talk) -> None:
        await talk.handshake()
        talk.raw(TUNE)
        await talk.expect(spec.Connection.Close)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(hang_up) as peer:
        _, recorder = await opened(peer)
        await eventually(lambda: recorder.told == ["closed"])
        assert recorder.closes[0].codes["code"] == 503


async def test_an_abort_does_not_wait_for_the_answer() -> None:
    async def stuck(talk: Talk) -> None:
        await talk.handshake()
        talk.raw(TUNE)
        await talk.serve(close=False)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(stuck) as peer:
        connection, recorder = await opened(peer)
        await eventually(lambda: peer.talk.count(spec.Connection.Close))
        connection.abort()
        with pytest.raises(NotOpenError):
            await connection.close()
        await eventually(lambda: recorder.told == ["closed"])


async def test_what_waits_is_failed_when_we_close() -> None:
    """Nothing will be answered any more."""

    async def script(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Connection.UpdateSecret)
        talk.raw(TUNE)
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(NotOpenError):
            await connection.renew(opening.token(PLANTED), timeout=60)
        await eventually(lambda: recorder.told == ["closed"])


@pytest.mark.parametrize("octets", [TUNE, b"\x00" * 64], ids=["a method", "no frame"])
async def test_behind_a_close_of_ours_nothing_is_objected_to(octets: bytes) -> None:
    """After a Close, all but Close and Close-Ok is dropped (AMQP 0-9-1, connection.close)."""

    async def script(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Connection.Close)
        talk.raw(octets)
        talk.send(spec.Connection.CloseOk())
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, recorder = await opened(peer)
        await connection.close(text="suspended", timeout=SHORT)
        await eventually(lambda: recorder.told == ["closed"])
        assert objection(peer.talk) == (200, 0, 0)
    assert recorder.closes[0].text == "suspended"


async def test_what_comes_late_on_a_closed_channel_does_no_harm() -> None:
    """A probe that was refused leaves its channel; what was under way still comes."""

    async def script(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Channel.Open)
        await talk.expect(spec.Confirm.Select)
        await talk.expect(spec.Basic.Publish)
        assert isinstance(await talk.frame(), ContentHeader)
        talk.send(spec.Channel.Close(403, "ACCESS_REFUSED - no", 60, 40), 1)
        await talk.expect(spec.Channel.CloseOk)
        talk.send(spec.Basic.Ack(delivery_tag=1), 1)
        talk.send(spec.Connection.Blocked(reason="low on memory"))
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(Exception, match="403 ACCESS_REFUSED"):
            await probe(connection)
        await eventually(lambda: recorder.told == ["blocked: low on memory"])
        assert connection.is_open
        await connection.close()
        assert objection(peer.talk) == (200, 0, 0)


async def probe(connection: Any) -> None:
    await opening.probe(connection, exchange="", routing_key="x", timeout=5)


async def test_all_that_a_broker_has_to_say_is_expected() -> None:
    """On channel 0 of an open connection, and of the channel that a probe has opened."""

    observed = asyncio.Event()

    async def script(talk: Talk) -> None:
        await talk.handshake()
        await observed.wait()
        talk.send(spec.Connection.Blocked(reason="low on memory"))
        talk.send(spec.Connection.Unblocked())
        talk.raw(b"\x08\x00\x00\x00\x00\x00\x00\xce")
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        connection, recorder = await opened(peer)
        observed.set()
        await eventually(lambda: recorder.told == ["blocked: low on memory", "unblocked"])
        await probe(connection)
        await connection.renew(opening.token(PLANTED), timeout=5)
        peer.talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - bye", 0, 0))
        await eventually(lambda: recorder.told[-1] == "closed")
        assert recorder.closes == [
            replies.when_open(replies.Close(code=320, text="CONNECTION_FORCED - bye"))
        ]
