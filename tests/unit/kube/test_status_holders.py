"""Whose status is left alone, and what becomes of it when its holder is gone."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from springline.api.meta import Identity
from springline.kube.holders import Life
from support.fake_clock import FakeClock
from support.statuses import ORDERS, RABBIT_BROKER, Scene, a_broker, a_connection, playing

ME = "system/pod-1"
OTHER = "elsewhere/pod-2"
THEIRS = {"holder": OTHER, "state": "Connected"}
BOTH = [ORDERS, RABBIT_BROKER]


@pytest.fixture
async def scene(clock: FakeClock) -> AsyncIterator[Scene]:
    """A running manager and a running writer, with nothing declared."""
    async with playing(clock) as scene:
        yield scene


async def declare(scene: Scene, status: dict[str, Any] = THEIRS) -> None:
    """Show a broker and a connection with a status."""
    await scene.show(a_broker(status=status), a_connection(status=status))


def change(scene: Scene, life: Life | None) -> None:
    """Have something else be known of the other replica."""
    scene.lives.known[OTHER] = life
    scene.statuses.holder_changed(OTHER)


async def test_a_broker_names_the_replica_that_counts(scene: Scene) -> None:
    """As a connection names the one that keeps its session."""
    await declare(scene, {})
    await scene.clock.advance(1)
    for each in BOTH:
        assert [status["holder"] for status in scene.written(each)] == [ME]


async def test_what_another_live_replica_holds_is_left_alone(scene: Scene) -> None:
    """The session is open all the same: one too many hurts less than none."""
    scene.lives.known[OTHER] = Life.ALIVE
    await declare(scene)
    await scene.clock.advance(3600)
    scene.lose()
    await scene.clock.advance(3600)
    assert scene.api.writes == []
    assert scene.open_connections
    assert scene.notices.held == dict.fromkeys(BOTH, (OTHER, ME))
    assert scene.statuses.held_elsewhere == 2
    assert scene.statuses.waiting == 0
    assert set(scene.entries.other_holders()) == {OTHER}


async def test_what_a_dead_replica_held_is_written_once(scene: Scene) -> None:
    await declare(scene)
    await scene.clock.advance(60)
    for each in BOTH:
        assert [status["holder"] for status in scene.written(each)] == [ME]
    assert scene.entries.other_holders() == set()
    assert scene.notices.held == {}


async def test_a_last_status_waits_for_news_of_a_holder_no_longer_than_a_moment(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """Its Lease may say nothing in time, or not be readable any more. What was never ours stays."""
    scene.lives.known[OTHER] = None
    await declare(scene)
    await scene.clock.advance(10)
    assert scene.statuses.waiting == 2
    assert await scene.clock.result(scene.statuses.flush(), within=3.5)
    assert scene.statuses.waiting == 0
    assert scene.api.writes == []
    [said] = [each.message for each in caplog.records if each.message.startswith("last status")]
    assert "whether the holder that is shown there lives" in said


async def test_until_it_is_known_whether_the_holder_lives_the_status_waits(
    scene: Scene,
) -> None:
    """It is overdue then, which can be seen, and is written as soon as it is known."""
    scene.lives.known[OTHER] = None
    await declare(scene)
    await scene.clock.advance(10)
    assert scene.api.writes == []
    assert scene.statuses.waiting == 2
    assert scene.statuses.oldest_seconds >= 9
    assert scene.notices.held == {}
    change(scene, Life.GONE)
    await scene.clock.advance(1)
    for each in BOTH:
        assert [status["holder"] for status in scene.written(each)] == [ME]


async def test_a_holder_whose_lease_cannot_be_read_keeps_nothing(scene: Scene) -> None:
    """A status would stay wrong for ever if it were that of a dead replica."""
    scene.lives.known[OTHER] = Life.UNREADABLE
    await declare(scene)
    await scene.clock.advance(1)
    for each in BOTH:
        assert [status["holder"] for status in scene.written(each)] == [ME]


async def test_when_the_other_replica_goes_its_objects_are_taken_over_at_once(
    scene: Scene,
) -> None:
    """With what has become of them meanwhile, by one write each."""
    scene.lives.known[OTHER] = Life.ALIVE
    await declare(scene)
    await scene.clock.advance(600)
    change(scene, Life.GONE)
    await scene.clock.advance(0.6)
    for each in BOTH:
        [status] = scene.written(each)
        assert status["holder"] == ME
    assert scene.statuses.held_elsewhere == 0
    assert scene.notices.held == {}
    await scene.clock.advance(3600)
    assert len(scene.api.writes) == 2


@pytest.mark.parametrize("life", [Life.ALIVE, None], ids=["lives", "may live"])
async def test_at_shutdown_nothing_of_another_live_replica_is_written_over(
    scene: Scene, life: Life | None
) -> None:
    """What is not known is waited for; the caller sets the limit."""
    scene.lives.known[OTHER] = life
    await declare(scene)
    await scene.clock.advance(1)
    scene.manager.stop()
    flushing = scene.clock.result(scene.statuses.flush(), within=1.0)
    if life is Life.ALIVE:
        await flushing
    else:
        with pytest.raises(AssertionError, match="still waiting"):
            await flushing
    assert scene.api.writes == []


async def test_at_shutdown_what_becomes_ours_is_written(scene: Scene) -> None:
    """The other replica gave its Lease back while this one was asked to stop."""
    scene.lives.known[OTHER] = None
    await declare(scene)
    await scene.clock.advance(1)
    scene.manager.stop()
    change(scene, Life.GONE)
    await scene.clock.result(scene.statuses.flush(), within=1.0)
    status = scene.written()[-1]
    assert (status["holder"], status["state"]) == (ME, "Closed")


@pytest.mark.parametrize("identity", BOTH, ids=str)
async def test_what_is_gone_is_not_held(scene: Scene, identity: Identity) -> None:
    scene.lives.known[OTHER] = Life.ALIVE
    await declare(scene)
    await scene.clock.advance(1)
    uid = "connection-1" if identity == ORDERS else "broker-1"
    await scene.vanish(identity, uid=uid)
    assert scene.statuses.held_elsewhere == 1
    assert identity not in scene.notices.held


async def test_what_this_replica_held_before_is_its_own(scene: Scene) -> None:
    """A container that was started again has the same name."""
    scene.lives.known[ME] = Life.ALIVE
    await declare(scene, {"holder": ME, "state": "Closed"})
    await scene.clock.advance(1)
    assert scene.entries.other_holders() == set()
    assert len(scene.written()) == 1
