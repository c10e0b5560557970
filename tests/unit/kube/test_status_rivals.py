"""A status that Springline has not written: when it is written again, and when it is left."""

import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from springline.api.meta import Identity
from springline.kube import paths
from springline.kube.client import UnreachableError
from springline.kube.holders import Life
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.statuses import (
    ORDERS,
    RABBIT_BROKER,
    Scene,
    a_broker,
    a_connection,
    playing,
    refused,
)

ME = "system/pod-1"
OTHER = "elsewhere/pod-2"
BOTH = [ORDERS, RABBIT_BROKER]
AWAY = UnreachableError("no answer")


@pytest.fixture
async def scene(clock: FakeClock) -> AsyncIterator[Scene]:
    """A running manager and a running writer, with nothing declared."""
    async with playing(clock) as scene:
        yield scene


@pytest.fixture
async def connected(scene: Scene) -> Scene:
    """One connection that is open, and everything about it written."""
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(1)
    assert scene.statuses.waiting == 0
    scene.api.writes.clear()
    scene.counted.clear()
    return scene


def is_true(scene: Scene, identity: Identity = ORDERS) -> bool:
    """Whether the API server has what is."""
    entry, projection = scene.statuses._entries[identity], scene.statuses._projection
    return projection.of(entry, projection.view(entry)) == stored(scene, identity)


def stored(scene: Scene, identity: Identity = ORDERS) -> dict[str, Any]:
    """Return the status that the API server has."""
    return scene.api.stored[paths.status_of(identity)]


def shown(scene: Scene) -> dict[str, Any]:
    """Return the connection as a watch shows it now."""
    there = scene.api.shown(paths.status_of(ORDERS))
    metadata = {"name": ORDERS.name, "namespace": ORDERS.namespace, **there["metadata"]}
    return {**there, "kind": ORDERS.kind, "metadata": metadata}


# --- what is decided on which version


async def test_a_write_carries_the_version_that_it_was_decided_on(connected: Scene) -> None:
    """Also of a write before, and of a change of the declaration."""
    path = paths.status_of(ORDERS)
    version = str(connected.api.versions[path])
    connected.lose()
    await connected.clock.advance(1)
    first = next(each for each in connected.api.writes if each.path == path)
    assert first.document["metadata"]["resourceVersion"] == version
    await connected.show(a_connection(generation=2, suspend=True))
    await connected.clock.advance(1)
    assert "conflict" not in connected.counted
    assert connected.api.reads == []


@pytest.mark.parametrize("identity", BOTH, ids=str)
async def test_after_a_conflict_it_is_read_and_decided_again(
    connected: Scene, identity: Identity
) -> None:
    """Something else of the object has changed, and no watch has shown it yet."""
    for path in connected.api.versions:
        connected.api.changed(path)
    connected.lose()
    await connected.clock.advance(2)
    assert is_true(connected, identity)
    assert len(connected.api.reads) == 2
    assert connected.counted.count("conflict") == 2
    assert "failed" not in connected.counted


async def test_after_a_conflict_with_another_live_replica_nothing_is_written(
    connected: Scene,
) -> None:
    """It has taken the object over while this one was cut off, say."""
    connected.lives.known[OTHER] = Life.ALIVE
    for each in BOTH:
        connected.write_over(each, manager="springline", is_missed=True, holder=OTHER)
    connected.lose()
    await connected.clock.advance(600)
    assert {each.path for each in connected.api.writes} == set(connected.api.stored)
    assert all(each["holder"] == OTHER for each in connected.api.stored.values())
    assert connected.notices.held == dict.fromkeys(BOTH, (OTHER, ME))
    assert connected.notices.overwriters == []


async def test_at_shutdown_another_live_replica_is_not_written_over_either(
    connected: Scene,
) -> None:
    """A pod on a node that was cut off is stopped late."""
    connected.lives.known[OTHER] = Life.ALIVE
    for each in BOTH:
        connected.write_over(each, manager="springline", is_missed=True, holder=OTHER)
    connected.manager.stop()
    await connected.clock.result(connected.statuses.flush(), within=2.0)
    assert all(each["holder"] == OTHER for each in connected.api.stored.values())


async def test_an_object_that_changes_all_the_time_is_not_tried_all_the_time(
    connected: Scene,
) -> None:
    connected.api.otherwise = refused(409)
    connected.lose()
    await connected.clock.advance(600)
    assert len(connected.written()) < 20
    connected.api.otherwise = None
    await connected.clock.advance(60)
    assert is_true(connected)


@pytest.mark.parametrize("error", [AWAY, refused(503), refused(404), refused(403)], ids=str)
async def test_a_read_that_fails_is_like_a_write_that_fails(
    connected: Scene, error: Exception
) -> None:
    connected.api.then(refused(409))
    connected.api.read_error = error
    connected.lose()
    await connected.clock.advance(1)
    connected.api.read_error = None
    await connected.clock.advance(120)
    assert is_true(connected)
    assert connected.statuses.behind_since is None


async def test_nothing_is_written_to_a_successor_that_was_not_shown_yet(
    connected: Scene,
) -> None:
    """It has another uid, and another version."""
    path = paths.status_of(ORDERS)
    connected.api.uids[path] = "connection-2"
    connected.api.store(path, {}, manager="")
    connected.lose()
    await connected.clock.advance(60)
    assert stored(connected) == {}


# --- what others write


@pytest.mark.parametrize("identity", BOTH, ids=str)
async def test_a_status_that_was_patched_by_hand_is_corrected(
    connected: Scene, identity: Identity
) -> None:
    """At once, by one write, and without a warning."""
    connected.write_over(identity, observedGeneration=7, holder=None)
    await connected.clock.advance(1)
    assert len(connected.written(identity)) == 1
    assert is_true(connected, identity)
    await connected.clock.advance(3600)
    assert len(connected.api.writes) == 1
    assert connected.notices.overwriters == []


async def test_what_was_patched_while_the_watch_was_away_is_corrected(connected: Scene) -> None:
    """Everything is listed again then."""
    connected.write_over(is_missed=True, state="Fine")
    await connected.clock.advance(60)
    assert connected.api.writes == []
    await connected.show(a_broker(), a_connection())
    await connected.clock.advance(1)
    assert len(connected.written()) == 1
    assert is_true(connected)


async def test_what_others_have_added_is_removed(connected: Scene) -> None:
    """A server-side apply alone would leave it."""
    connected.write_over(adding=True, blocked={"since": "x", "reason": "y"})
    await connected.clock.advance(1)
    assert is_true(connected)
    await connected.clock.advance(3600)
    assert len(connected.written()) == 1


@pytest.mark.parametrize("identity", BOTH, ids=str)
async def test_a_writer_that_insists_is_named_and_left_after_three_tries(
    connected: Scene, identity: Identity, caplog: pytest.LogCaptureFixture
) -> None:
    """With pauses that grow; then one try now and again."""
    for _ in range(600):
        if stored(connected, identity)["observedGeneration"] != 7:
            connected.write_over(identity, observedGeneration=7)
        await connected.clock.advance(1)
    times = connected.times(identity)
    assert len(times) == 3
    assert times[1] - times[0] >= 5
    assert times[2] - times[1] >= 30
    assert connected.notices.overwriters[0] == (identity, "kubectl-edit", "")
    [warning] = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert warning.__dict__["manager"] == "kubectl-edit"
    await connected.clock.advance(3600)
    assert is_true(connected, identity)
    assert len(connected.times(identity)) == 4


async def test_a_change_of_the_session_does_not_shorten_the_pause(connected: Scene) -> None:
    """Or a session that flaps would fight the other writer for it."""
    for seconds in (1, 6, 31, 1):
        connected.write_over(state="Fine")
        await connected.clock.advance(seconds)
    connected.api.writes.clear()
    for _ in range(20):
        connected.lose()
        await connected.clock.advance(10)
    assert connected.written() == []


async def test_at_shutdown_the_truth_is_written_over_what_is_no_replicas(
    connected: Scene,
) -> None:
    for seconds in (1, 6, 31, 1):
        connected.write_over(state="Fine")
        await connected.clock.advance(seconds)
    connected.manager.stop()
    await connected.clock.advance(1)
    await connected.clock.result(connected.statuses.flush(), within=2.0)
    assert connected.written()[-1]["state"] == "Closed"


async def test_now_and_again_is_no_fight(connected: Scene) -> None:
    """Somebody who tries things out once an hour is corrected each time."""
    for _ in range(10):
        connected.write_over(state="Fine")
        await connected.clock.advance(3700)
    assert len(connected.written()) == 10
    assert connected.notices.overwriters == []


async def test_two_replicas_that_cannot_see_each_other_do_not_fight(connected: Scene) -> None:
    """Neither may read the other's Lease: that the status flips is all that they see."""
    connected.lives.known[OTHER] = Life.UNREADABLE
    for _ in range(600):
        if stored(connected)["holder"] == ME:
            connected.write_over(manager="springline", holder=OTHER)
        await connected.clock.advance(1)
    assert len(connected.written()) == 3
    assert connected.notices.overwriters[0] == (ORDERS, "springline", OTHER)


async def test_what_the_live_holder_writes_is_no_overwriting(connected: Scene) -> None:
    """However often; when it is gone, the status is written at once."""
    connected.lives.known[OTHER] = Life.ALIVE
    for number in range(10):
        connected.write_over(manager="springline", holder=OTHER, attempts=number)
        await connected.clock.advance(1)
    assert connected.written() == []
    assert connected.notices.overwriters == []
    connected.lives.known[OTHER] = Life.GONE
    connected.statuses.holder_changed(OTHER)
    await connected.clock.advance(0.1)
    [status] = connected.written()
    assert status["holder"] == ME


async def test_the_last_words_of_the_holder_before_are_no_overwriting(connected: Scene) -> None:
    """It is found out that it lives only after some of its writes were seen."""
    connected.lives.known[OTHER] = None
    for number in range(10):
        connected.write_over(manager="springline", holder=OTHER, attempts=number)
        await connected.clock.advance(0.1)
    connected.lives.known[OTHER] = Life.ALIVE
    connected.statuses.holder_changed(OTHER)
    await connected.clock.advance(1)
    connected.lives.known[OTHER] = Life.GONE
    connected.statuses.holder_changed(OTHER)
    await connected.clock.advance(0.1)
    assert len(connected.written()) == 1


async def test_other_definitions_are_no_other_writer(
    connected: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """They hide fields of what is stored; it is written once more when the object changes."""
    caplog.set_level(logging.INFO)
    connected.statuses.definitions_changed()
    connected.write_over(manager="springline", holder=None, server=None)
    await connected.clock.advance(60)
    assert len(connected.written()) == 1
    assert not [record for record in caplog.records if "another writer" in record.message]
    connected.write_over(server=None)
    await connected.clock.advance(60)
    assert [record for record in caplog.records if "another writer" in record.message]


async def test_a_holder_that_no_replica_is_called_is_shown_in_part(
    connected: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """It may be anything, and stands in the log and in Events."""
    caplog.set_level(logging.INFO)
    connected.write_over(holder="x\n" * 500_000)
    await connected.clock.advance(1)
    assert is_true(connected)
    [record] = [record for record in caplog.records if "another writer" in record.message]
    assert record.__dict__["holder"] == "x?" * 160


# --- what is our own


async def test_our_own_write_is_shown_before_it_is_answered(connected: Scene) -> None:
    """The watch is often faster."""
    connected.api.then(SILENCE)
    connected.lose()
    await connected.clock.advance(0.1)
    [write] = connected.api.writes
    connected.api.store(write.path, write.status, manager="springline")
    connected.show_status()
    connected.api.release(AWAY)
    await connected.clock.advance(600)
    assert connected.notices.overwriters == []
    assert is_true(connected)
    assert len([each for each in connected.api.writes if each.status == write.status]) == 1


async def test_our_own_write_is_shown_long_after_it_was_answered(connected: Scene) -> None:
    """And another one has followed: what is older says nothing."""
    older = shown(connected)
    connected.lose()
    await connected.clock.advance(60)
    connected.api.writes.clear()
    connected.declarations.status_shown(older)
    connected.show_status()
    await connected.clock.advance(60)
    assert connected.api.writes == []


async def test_a_status_of_another_writer_during_a_write_is_corrected_after_it(
    connected: Scene,
) -> None:
    connected.api.then(SILENCE)
    connected.lose()
    await connected.clock.advance(0.1)
    connected.write_over(state="Fine")
    connected.api.release(refused(409))
    await connected.clock.advance(10)
    assert is_true(connected)
    assert connected.notices.overwriters == []


async def test_a_status_of_an_object_that_is_not_declared_is_nothing(scene: Scene) -> None:
    await scene.show(a_broker(), a_connection())
    await scene.clock.advance(1)
    late = shown(scene)
    await scene.vanish(ORDERS, uid="connection-1")
    scene.declarations.status_shown(late)
    await scene.clock.advance(60)
    assert ORDERS not in scene.statuses._entries
