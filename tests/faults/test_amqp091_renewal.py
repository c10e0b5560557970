"""Blocked connections and update-secret against peers that answer late, wrongly or not at all."""

import asyncio
import traceback
from collections.abc import Callable

import pamqp.frame
import pytest
from pamqp import commands as spec

from springline.core.values import ClosedBy
from springline.drivers.amqp091.connection import Amqp091Connection
from springline.errors import (
    NotOpenError,
    SecretNotSentError,
    SecretRefusedError,
    SecretUpdateTimeoutError,
)
from springline.reasons import Reason
from support import fake_peer, opening
from support.amqp091 import DEADLINE, PLANTED, SHORT, channel_open, opened
from support.fake_peer import FakePeer, Talk
from support.opening import Recorder
from support.waiting import eventually


async def ignore_updates(talk: Talk) -> None:
    """Be a broker that never answers update-secret."""
    await talk.handshake()
    await talk.serve(update_secret=False)


async def begun_update(connection: Amqp091Connection, peer: FakePeer) -> asyncio.Task[None]:
    """Return an update that the peer has received."""
    update = asyncio.create_task(connection.renew(opening.token("one"), timeout=60))
    await eventually(lambda: peer.talk.count(spec.Connection.UpdateSecret))
    return update


# R1.10, R1.11
async def test_blocked_and_unblocked_are_told_with_the_brokers_reason() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        peer.talk.send(spec.Connection.Blocked(reason="low on memory"))
        await eventually(lambda: connection.blocked)
        late = Recorder()
        connection.observe(late)
        peer.talk.send(spec.Connection.Unblocked())
        await eventually(lambda: connection.blocked is None)
        assert recorder.told == ["blocked: low on memory"]
        assert late.told == ["blocked: low on memory", "unblocked"]
        await connection.close()


# R1.12, R1.13
async def test_an_updated_secret_travels_as_it_is() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, _ = await opened(peer)
        assert connection.cannot_renew == ""
        await connection.renew(opening.token("töken/%"), timeout=5)
        await connection.renew(opening.token("another"), timeout=5)
        updates = [
            frame.new_secret
            for _, frame in peer.talk.received
            if isinstance(frame, spec.Connection.UpdateSecret)
        ]
        assert updates == ["töken/%", "another"]
        await connection.close()


async def test_a_close_instead_of_ok_is_a_refused_secret() -> None:
    async def refuse(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Connection.UpdateSecret)
        text = "NOT_ALLOWED - New secret was refused by one of the backends"
        talk.send(spec.Connection.Close(530, text, 10, 70))
        await talk.expect(spec.Connection.CloseOk)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(refuse) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(SecretRefusedError) as caught:
            await connection.renew(opening.token(PLANTED), timeout=5)
        assert caught.value.text.startswith("530 ")
        assert "refused by one of the backends" in caught.value.text
        assert PLANTED not in "".join(traceback.format_exception(caught.value))
        await eventually(lambda: recorder.told == ["closed"])
        assert recorder.closes[0].codes == {"code": 530, "classID": 10, "methodID": 70}


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(
            lambda talk: talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - bye", 0, 0)),
            id="a shutdown",
        ),
        pytest.param(lambda talk: talk.reset(), id="a reset"),
        pytest.param(lambda talk: talk.close(), id="an end of file"),
        pytest.param(
            lambda talk: talk.raw(pamqp.frame.marshal(spec.Connection.UpdateSecretOk(), 0)[:9]),
            id="half an Ok and the end",
        ),
    ],
)
async def test_an_end_that_says_nothing_of_the_secret_is_no_refusal(
    end: Callable[[Talk], None],
) -> None:
    async def leave(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Connection.UpdateSecret)
        end(talk)
        talk.close()
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(leave) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(NotOpenError) as caught:
            await connection.renew(opening.token(PLANTED), timeout=5)
        assert PLANTED not in "".join(traceback.format_exception(caught.value))
        await eventually(lambda: recorder.told == ["closed"])
        with pytest.raises(NotOpenError):
            await connection.renew(opening.token(PLANTED), timeout=5)


EXPIRED = spec.Connection.Close(320, "CONNECTION_FORCED - credential expired", 0, 0)


async def test_a_close_for_an_expired_credential_meets_an_update_on_its_way() -> None:
    """The broker reads nothing more than Close-Ok once it has sent Close (RabbitMQ from 4.2.6)."""
    answered = asyncio.Event()

    async def expire(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Connection.UpdateSecret)
        await talk.expect(spec.Connection.CloseOk)
        answered.set()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(expire) as peer:
        connection, recorder = await opened(peer)
        peer.talk.send(EXPIRED)
        with pytest.raises(NotOpenError):
            # It is sent before the loop can read what has come.
            await connection.renew(opening.token(PLANTED), timeout=5)
        await answered.wait()
        await eventually(lambda: recorder.told == ["closed"])
        close = recorder.closes[0]
        assert (close.by, close.reason) == (ClosedBy.SERVER, Reason.CONNECTION_FORCED)
        assert (close.codes["code"], close.text) == (320, "CONNECTION_FORCED - credential expired")


async def test_an_ok_right_before_the_close_is_an_ok() -> None:
    """What came first counts; the end is told by itself."""

    async def both(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Connection.UpdateSecret)
        frames = (spec.Connection.UpdateSecretOk(), EXPIRED)
        talk.raw(b"".join(pamqp.frame.marshal(frame, 0) for frame in frames))
        await talk.expect(spec.Connection.CloseOk)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(both) as peer:
        connection, recorder = await opened(peer)
        await connection.renew(opening.token("renewed"), timeout=5)
        await eventually(lambda: recorder.told == ["closed"])
        assert not connection.is_open


@pytest.mark.parametrize("how", ["close", "abort"])
async def test_our_own_end_fails_an_update_that_waits(how: str) -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore_updates) as peer:
        connection, recorder = await opened(peer)
        update = await begun_update(connection, peer)
        if how == "close":
            await connection.close()
        else:
            connection.abort()
        with pytest.raises(NotOpenError):
            await update
        await eventually(lambda: recorder.told == ["closed"])
        assert recorder.closes[0].by is ClosedBy.CLIENT


async def test_only_one_update_is_on_its_way() -> None:
    """Its answer could not be told from the other's. The first is not disturbed."""
    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore_updates) as peer:
        connection, _ = await opened(peer)
        first = await begun_update(connection, peer)
        with pytest.raises(RuntimeError, match="one update-secret at a time"):
            await connection.renew(opening.token("two"), timeout=5)
        peer.talk.send(spec.Connection.UpdateSecretOk())
        await first
        assert peer.talk.count(spec.Connection.UpdateSecret) == 1
        await connection.close()


async def test_an_ok_that_nobody_asked_for_is_no_answer_to_the_next_update() -> None:
    async def eager(talk: Talk) -> None:
        await talk.handshake()
        talk.send(spec.Connection.UpdateSecretOk())
        talk.send(spec.Connection.Blocked(reason="low on memory"))
        await talk.expect(spec.Connection.UpdateSecret)
        talk.send(spec.Connection.Close(530, "NOT_ALLOWED - New secret was refused", 10, 70))
        await talk.expect(spec.Connection.CloseOk)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(eager) as peer:
        connection, _ = await opened(peer)
        await eventually(lambda: connection.blocked)
        peer.talk.send(spec.Connection.Unblocked())
        await eventually(lambda: connection.blocked is None)
        with pytest.raises(SecretRefusedError):
            await connection.renew(opening.token("one"), timeout=5)


async def test_an_update_and_a_probe_wait_for_their_own_answers() -> None:
    async def crosswise(talk: Talk) -> None:
        await talk.handshake()
        await channel_open(talk)
        await talk.expect(spec.Basic.Publish)
        await talk.frame()  # its content header
        await talk.expect(spec.Connection.UpdateSecret)
        talk.send(spec.Connection.UpdateSecretOk())
        await answered.wait()
        talk.send(spec.Basic.Ack(delivery_tag=1), 1)
        await talk.serve()

    answered = asyncio.Event()
    async with asyncio.timeout(DEADLINE), fake_peer.serving(crosswise) as peer:
        connection, _ = await opened(peer)
        probe = asyncio.create_task(
            opening.probe(connection, exchange="", routing_key="x", timeout=5)
        )
        await eventually(lambda: peer.talk.count(spec.Basic.Publish))
        await connection.renew(opening.token("renewed"), timeout=5)
        assert not probe.done()
        answered.set()
        assert await probe is not None
        await connection.close()


async def test_a_block_while_an_update_waits_does_not_answer_it() -> None:
    """The broker may have read it before it stopped reading."""

    async def block(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Connection.UpdateSecret)
        talk.send(spec.Connection.Blocked(reason="low on memory"))
        await blocked.wait()
        talk.send(spec.Connection.UpdateSecretOk())
        talk.send(spec.Connection.Unblocked())
        await talk.serve()

    blocked = asyncio.Event()
    async with asyncio.timeout(DEADLINE), fake_peer.serving(block) as peer:
        connection, _ = await opened(peer)
        update = asyncio.create_task(connection.renew(opening.token("one"), timeout=5))
        await eventually(lambda: connection.blocked)
        assert not update.done()
        blocked.set()
        await update
        await eventually(lambda: connection.blocked is None)
        await connection.renew(opening.token("two"), timeout=5)
        await connection.close()


async def test_an_update_met_by_a_block_times_out_and_is_the_last() -> None:
    async def block(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Connection.UpdateSecret)
        talk.send(spec.Connection.Blocked(reason="low on memory"))
        await talk.serve()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(block) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.renew(opening.token("one"), timeout=0.1)
        await eventually(lambda: connection.blocked)
        peer.talk.send(spec.Connection.Unblocked())
        peer.talk.send(spec.Connection.UpdateSecretOk())
        await eventually(lambda: connection.blocked is None)
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.renew(opening.token("two"), timeout=5)
        assert recorder.told == ["blocked: low on memory", "unblocked"]
        await connection.close()


async def test_a_peer_that_reads_nothing_costs_an_update_its_time_out() -> None:
    """However much is still to be sent."""

    async def deaf(talk: Talk) -> None:
        await talk.handshake()
        await talk.silent()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(deaf) as peer:
        connection, recorder = await opened(peer, frame_max=0)
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.renew(opening.token("x" * 100_000), timeout=SHORT)
        await connection.close(timeout=SHORT)
        assert recorder.told == ["closed"]


async def test_an_end_after_the_time_out_is_told_once() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore_updates) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.renew(opening.token(PLANTED), timeout=0.1)
        peer.talk.send(spec.Connection.Close(530, "NOT_ALLOWED - New secret was refused", 10, 70))
        await eventually(lambda: recorder.told == ["closed"])
        assert recorder.closes[0].codes["code"] == 530


async def test_after_an_unanswered_update_no_other_is_tried() -> None:
    """The late Ok could be taken for the next one's: there are no request ids."""

    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore_updates) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(SecretUpdateTimeoutError, match=r"within 0\.1 s"):
            await connection.renew(opening.token(PLANTED), timeout=0.1)
        peer.talk.send(spec.Connection.UpdateSecretOk())
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.renew(opening.token("another"), timeout=5)
        # The late Ok has done no harm.
        assert await opening.probe(connection, exchange="", routing_key="x", timeout=5) is not None
        assert peer.talk.count(spec.Connection.UpdateSecret) == 1
        await connection.close()
        assert recorder.told == ["closed"]


async def test_a_cancelled_update_counts_as_unanswered() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore_updates) as peer:
        connection, _ = await opened(peer)
        update = await begun_update(connection, peer)
        update.cancel()
        with pytest.raises(asyncio.CancelledError):
            await update
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.renew(opening.token("two"), timeout=5)
        await connection.close()


async def test_a_blocked_connection_is_sent_no_secret() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, _ = await opened(peer)
        peer.talk.send(spec.Connection.Blocked(reason="low on disk"))
        await eventually(lambda: connection.blocked)
        with pytest.raises(SecretUpdateTimeoutError, match="blocked"):
            await connection.renew(opening.token(PLANTED), timeout=5)
        peer.talk.send(spec.Connection.Unblocked())
        await eventually(lambda: connection.blocked is None)
        await connection.renew(opening.token("later"), timeout=5)
        assert peer.talk.count(spec.Connection.UpdateSecret) == 1
        await connection.close()


async def test_a_secret_that_fits_in_no_frame_is_not_sent() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, _ = await opened(peer, frame_max=4096)
        too_long = PLANTED + "x" * 4096
        with pytest.raises(SecretNotSentError, match="a frame of this connection holds 4061") as no:
            await connection.renew(opening.token(too_long), timeout=5)
        assert PLANTED not in "".join(traceback.format_exception(no.value))
        await connection.renew(opening.token("x" * 4061), timeout=5)
        assert connection.is_open
        assert peer.talk.count(spec.Connection.UpdateSecret) == 1
        await connection.close()


async def test_a_credential_without_a_secret_cannot_be_updated() -> None:
    """A client certificate counts from the next handshake on."""
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(SecretNotSentError, match="has no secret"):
            await connection.renew(opening.external(), timeout=5)
        await connection.renew(opening.token("renewed"), timeout=5)
        assert peer.talk.count(spec.Connection.UpdateSecret) == 1
        await connection.close()
        assert recorder.told == ["closed"]
