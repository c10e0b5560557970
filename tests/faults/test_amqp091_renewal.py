"""Blocked connections and update-secret against peers that answer late, wrongly or not at all."""

import asyncio
import traceback

import pytest
from pamqp import commands as spec

from springline.errors import NotOpenError, SecretRefusedError, SecretUpdateTimeoutError
from support import fake_peer, opening
from support.amqp091 import DEADLINE, PLANTED, opened
from support.fake_peer import Talk
from support.opening import Recorder
from support.waiting import eventually


# R1.10, R1.11
async def test_blocked_and_unblocked_are_told_with_the_brokers_reason() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, recorder = await opened(peer)
        peer.talk.send(spec.Connection.Blocked(reason="low on memory"))
        await eventually(lambda: connection.blocked == "low on memory")
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
        await connection.update_secret(opening.token("töken/%"), timeout=5)
        await connection.update_secret(opening.token("another"), timeout=5)
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
            await connection.update_secret(opening.token(PLANTED), timeout=5)
        assert caught.value.code == 530
        assert "refused by one of the backends" in caught.value.text
        assert PLANTED not in "".join(traceback.format_exception(caught.value))
        await eventually(lambda: recorder.told == ["closed"])
        assert (recorder.closes[0].code, recorder.closes[0].method_id) == (530, 70)


@pytest.mark.parametrize(
    "end",
    [
        pytest.param(
            lambda talk: talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - bye", 0, 0)),
            id="a shutdown",
        ),
        pytest.param(lambda talk: talk.reset(), id="a reset"),
    ],
)
async def test_an_end_that_says_nothing_of_the_secret_is_no_refusal(end: object) -> None:
    async def leave(talk: Talk) -> None:
        await talk.handshake()
        await talk.expect(spec.Connection.UpdateSecret)
        assert callable(end)
        end(talk)
        await talk.until_gone()

    async with asyncio.timeout(DEADLINE), fake_peer.serving(leave) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(NotOpenError):
            await connection.update_secret(opening.token(PLANTED), timeout=5)
        await eventually(lambda: recorder.told == ["closed"])


async def test_after_an_unanswered_update_no_other_is_tried() -> None:
    """The late Ok could be taken for the next one's: there are no request ids."""

    async def ignore(talk: Talk) -> None:
        await talk.handshake()
        await talk.serve(update_secret=False)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore) as peer:
        connection, recorder = await opened(peer)
        with pytest.raises(SecretUpdateTimeoutError, match=r"within 0\.1 s"):
            await connection.update_secret(opening.token(PLANTED), timeout=0.1)
        peer.talk.send(spec.Connection.UpdateSecretOk())
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.update_secret(opening.token("another"), timeout=5)
        # The late Ok has done no harm.
        assert await connection.probe(exchange="", routing_key="x", timeout=5) is not None
        assert peer.talk.count(spec.Connection.UpdateSecret) == 1
        await connection.close()
        assert recorder.told == ["closed"]


async def test_a_cancelled_update_counts_as_unanswered() -> None:
    async def ignore(talk: Talk) -> None:
        await talk.handshake()
        await talk.serve(update_secret=False)

    async with asyncio.timeout(DEADLINE), fake_peer.serving(ignore) as peer:
        connection, _ = await opened(peer)
        update = asyncio.create_task(connection.update_secret(opening.token("one"), timeout=60))
        await eventually(lambda: peer.talk.count(spec.Connection.UpdateSecret))
        update.cancel()
        with pytest.raises(asyncio.CancelledError):
            await update
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.update_secret(opening.token("two"), timeout=5)
        await connection.close()


async def test_a_blocked_connection_is_sent_no_secret() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, _ = await opened(peer)
        peer.talk.send(spec.Connection.Blocked(reason="low on disk"))
        await eventually(lambda: connection.blocked)
        with pytest.raises(SecretUpdateTimeoutError, match="blocked"):
            await connection.update_secret(opening.token(PLANTED), timeout=5)
        peer.talk.send(spec.Connection.Unblocked())
        await eventually(lambda: connection.blocked is None)
        await connection.update_secret(opening.token("later"), timeout=5)
        assert peer.talk.count(spec.Connection.UpdateSecret) == 1
        await connection.close()


async def test_a_secret_that_fits_in_no_frame_is_not_sent() -> None:
    async with asyncio.timeout(DEADLINE), fake_peer.serving() as peer:
        connection, _ = await opened(peer, frame_max=4096)
        with pytest.raises(SecretRefusedError, match="do not fit"):
            await connection.update_secret(opening.token("x" * 4096), timeout=5)
        await connection.update_secret(opening.token("x" * 4061), timeout=5)
        assert connection.is_open
        await connection.close()
