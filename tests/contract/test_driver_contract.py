"""What every driver does, whatever its protocol: the meaning of `core.ports`, test by test."""

import asyncio
import traceback

import pytest

from springline.core.values import ClosedBy
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    NotOpenError,
    SecretNotSentError,
    SecretRefusedError,
    SecretUpdateTimeoutError,
    TransientError,
)
from springline.reasons import Reason
from support import uncollected
from support.harness import Harness, Peer
from support.opening import Recorder
from support.waiting import PATIENCE, eventually

PLANTED = "pl4nted-s3cret"
DEADLINE = PATIENCE


# R2.8
async def test_connecting_tells_what_was_negotiated_and_with_whom(harness: Harness) -> None:
    """The endpoint belongs to the request: the same driver works against any."""
    async with harness.serving() as peer:
        request = peer.request()
        connection = await harness.driver.open(request)
        assert connection.is_open
        assert connection.blocked is None
        assert connection.info.proved
        assert connection.info.endpoint == request.endpoint
        assert connection.info.server.product
        assert connection.info.negotiated.mechanism
        await connection.close()


async def test_a_refused_credential_is_told_from_other_failures(harness: Harness) -> None:
    """The error says no more of the secret than the broker did."""
    async with harness.serving() as peer:
        peer.rejects = True
        with pytest.raises(CredentialRejectedError) as caught:
            await harness.driver.open(peer.request(credential=harness.credential(PLANTED)))
    assert PLANTED not in "".join(traceback.format_exception(caught.value))


async def test_a_peer_that_never_answers_costs_the_time_out_and_no_more(harness: Harness) -> None:
    """One limit covers everything an open does."""
    async with harness.serving() as peer, asyncio.timeout(DEADLINE):
        peer.answers = False
        with pytest.raises(TransientError) as caught:
            await harness.driver.open(peer.request(timeout=0.3))
    assert caught.value.reason is Reason.CONNECT_TIMEOUT


async def test_what_has_ended_is_released_at_once(harness: Harness) -> None:
    """Secrets among it, and not when the garbage collector comes by."""

    async def live(peer: Peer, end: str) -> None:
        connection = await harness.driver.open(peer.request())
        recorder = Recorder()
        connection.observe(recorder)
        match end:
            case "closed":
                await connection.close()
            case "aborted":
                connection.abort()
            case "closed by the peer":
                peer.close("that is all")
                await harness.ask(connection)
            case _:
                peer.drop()
        await eventually(lambda: recorder.closes)

    async with harness.serving() as peer, asyncio.timeout(DEADLINE):
        await live(peer, "closed")  # what is kept for all of them stays
    for end in ("closed", "aborted", "closed by the peer", "broken"):
        async with harness.serving() as peer, asyncio.timeout(DEADLINE):
            with uncollected.watched("springline.drivers", "springline.redaction") as left:
                await live(peer, end)
                await eventually(lambda: not left(), what="nothing is left")


async def test_cancelling_an_open_leaves_nothing_behind(harness: Harness) -> None:
    """Neither a task nor a socket; the fixture looks."""
    async with harness.serving() as peer, asyncio.timeout(DEADLINE):
        peer.answers = False
        opening = asyncio.ensure_future(harness.driver.open(peer.request(timeout=10)))
        await asyncio.sleep(0)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_renewing_brings_the_new_secret_to_the_live_connection(renewing: Harness) -> None:
    """It returns only when the broker has said yes, where it is told."""
    async with renewing.serving() as peer:
        connection = await renewing.driver.open(peer.request())
        await connection.renew(renewing.credential("renewed"), timeout=5)
        await renewing.ask(connection)
        assert peer.secrets == ["renewed"]
        assert connection.is_open
        await connection.close()


async def test_what_cannot_be_renewed_in_place_says_why(harness: Harness) -> None:
    """In a part of a sentence for people. To try all the same does no harm."""
    async with harness.serving() as peer:
        connection = await harness.driver.open(peer.request())
        why = connection.cannot_renew
        assert bool(why) is not harness.renews
        assert not why.endswith(".")
        if not harness.renews:
            with pytest.raises(SecretNotSentError):
                await connection.renew(harness.credential("renewed"), timeout=5)
            assert peer.secrets == []
        assert connection.is_open
        await connection.close()


async def test_a_refused_renewal_ends_the_connection_and_says_so(confirming: Harness) -> None:
    """The caller learns of the refusal, the observer of the end, once."""
    async with confirming.serving() as peer:
        peer.answers_renewals = "no"
        connection = await confirming.driver.open(peer.request())
        recorder = Recorder()
        connection.observe(recorder)
        with pytest.raises(SecretRefusedError) as caught:
            await connection.renew(confirming.credential(PLANTED), timeout=5)
        assert PLANTED not in "".join(traceback.format_exception(caught.value))
        await eventually(lambda: recorder.closes)
        assert len(recorder.closes) == 1


async def test_an_unanswered_renewal_ends_with_its_time_out(confirming: Harness) -> None:
    """A late answer could be taken for the next one's, so there is no next one."""
    async with confirming.serving() as peer:
        peer.answers_renewals = "never"
        connection = await confirming.driver.open(peer.request())
        for _ in range(2):
            with pytest.raises(SecretUpdateTimeoutError):
                await connection.renew(confirming.credential("renewed"), timeout=0.2)
        assert len(peer.secrets) == 1
        await connection.close()


async def test_a_cancelled_renewal_is_the_last(confirming: Harness) -> None:
    """Its answer may still come, as after a time-out."""
    async with confirming.serving() as peer:
        peer.answers_renewals = "never"
        connection = await confirming.driver.open(peer.request())
        renewal = asyncio.ensure_future(
            connection.renew(confirming.credential("renewed"), timeout=60)
        )
        await eventually(lambda: peer.secrets)
        renewal.cancel()
        with pytest.raises(asyncio.CancelledError):
            await renewal
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.renew(confirming.credential("another"), timeout=5)
        assert len(peer.secrets) == 1
        await connection.close()


async def test_a_renewal_that_meets_the_end_is_no_refusal(confirming: Harness) -> None:
    """Nobody has said anything of the secret, and nobody waits for the time-out."""
    async with confirming.serving() as peer, asyncio.timeout(DEADLINE):
        peer.answers_renewals = "never"
        connection = await confirming.driver.open(peer.request())
        renewal = asyncio.ensure_future(
            connection.renew(confirming.credential(PLANTED), timeout=60)
        )
        await eventually(lambda: peer.secrets)
        peer.drop()
        with pytest.raises(NotOpenError) as caught:
            await renewal
        assert PLANTED not in "".join(traceback.format_exception(caught.value))


async def test_a_block_and_its_end_are_told(harness: Harness) -> None:
    """With the broker's own reason."""
    async with harness.serving() as peer:
        connection = await harness.driver.open(peer.request())
        recorder = Recorder()
        connection.observe(recorder)
        peer.block("low on memory")
        await harness.ask(connection)
        await eventually(lambda: connection.blocked)
        assert connection.blocked == harness.shown_block("low on memory")
        peer.unblock()
        await harness.ask(connection)
        await eventually(lambda: connection.blocked is None)
        await connection.close()


async def test_a_block_before_anybody_looked_is_told_to_the_observer(harness: Harness) -> None:
    """Nothing is lost between opening and observing."""
    async with harness.serving() as peer:
        connection = await harness.driver.open(peer.request())
        peer.block("low on disk")
        await harness.ask(connection)
        await eventually(lambda: connection.blocked is not None)
        recorder = Recorder()
        connection.observe(recorder)
        assert recorder.told == [f"blocked: {harness.shown_block('low on disk').text}"]
        await connection.close()


async def test_a_probe_is_confirmed(harness: Harness) -> None:
    """It tells how long that took."""
    async with harness.serving() as peer:
        connection = await harness.driver.open(peer.request())
        seconds = await connection.probe(harness.probes[0], timeout=5)
        assert seconds is not None
        assert seconds >= 0
        await connection.close()


async def test_a_probe_of_each_kind_is_confirmed(harness: Harness) -> None:
    """Again and again, and in turn with probes of another kind."""
    async with harness.serving() as peer:
        connection = await harness.driver.open(peer.request())
        last = harness.probes[-1]
        for target in (last, *reversed(harness.probes), last):
            seconds = await connection.probe(target, lifetime=7.5, timeout=5)
            assert seconds is not None
        await connection.close()


async def test_a_dropped_transport_is_told_once(harness: Harness) -> None:
    """As nobody's wish, and the connection is not open any more."""
    async with harness.serving() as peer:
        connection = await harness.driver.open(peer.request())
        recorder = Recorder()
        connection.observe(recorder)
        peer.drop()
        await eventually(lambda: recorder.closes)
        assert [close.by for close in recorder.closes] == [ClosedBy.TRANSPORT]
        assert not connection.is_open


async def test_a_close_by_the_peer_is_told_with_its_words(harness: Harness) -> None:
    """And classified."""
    async with harness.serving() as peer:
        connection = await harness.driver.open(peer.request())
        recorder = Recorder()
        connection.observe(recorder)
        peer.close("CONNECTION_FORCED - by an operator")
        await harness.ask(connection)
        await eventually(lambda: recorder.closes)
        close = recorder.closes[0]
        assert close.by is ClosedBy.SERVER
        assert close.reason is harness.closes_as
        assert "by an operator" in close.text


async def test_a_peer_that_falls_silent_is_found_out(harness: Harness) -> None:
    """By the idle time-out that was negotiated."""
    async with harness.serving() as peer:
        connection = await harness.driver.open(peer.request(heartbeat_seconds=1))
        recorder = Recorder()
        connection.observe(recorder)
        peer.fall_silent()
        await eventually(lambda: recorder.closes)
        assert recorder.closes[0].reason is Reason.HEARTBEAT_MISSED


async def test_closing_says_goodbye_and_releases_everything(harness: Harness) -> None:
    """What comes after says that it is not open."""
    async with harness.serving() as peer:
        connection = await harness.driver.open(peer.request())
        recorder = Recorder()
        connection.observe(recorder)
        await connection.close(text="done")
        await eventually(lambda: peer.said_goodbye)
        assert [close.by for close in recorder.closes] == [ClosedBy.CLIENT]
        with pytest.raises(NotOpenError):
            await connection.close()
        with pytest.raises(NotOpenError):
            await connection.probe(harness.probes[0], timeout=1)
        with pytest.raises(NotOpenError):
            await connection.renew(harness.credential("late"), timeout=1)
        connection.abort()


async def test_closing_does_not_wait_for_ever_for_a_silent_peer(harness: Harness) -> None:
    """The socket is released all the same."""
    async with harness.serving() as peer, asyncio.timeout(DEADLINE):
        connection = await harness.driver.open(peer.request(heartbeat_seconds=0))
        peer.fall_silent()
        await connection.close(timeout=0.3)
        assert not connection.is_open


async def test_one_driver_serves_many_at_once(harness: Harness) -> None:
    """It keeps nothing between calls, and one failure is nobody else's."""
    async with harness.serving() as good, harness.serving() as bad:
        bad.rejects = True
        results = await asyncio.gather(
            *(harness.driver.open(peer.request()) for peer in (good, bad) * 5),
            return_exceptions=True,
        )
        connections = [each for each in results if not isinstance(each, BaseException)]
        refusals = [each for each in results if isinstance(each, ConnectError)]
        assert (len(connections), len(refusals)) == (5, 5)
        for connection in connections:
            await connection.close()
