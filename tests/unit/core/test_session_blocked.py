"""What a session knows of blocks, and since when."""

from datetime import timedelta

import pytest

from springline.api.conditions import ConditionStatus
from springline.core.backoff import Retry
from springline.core.events import EventType
from springline.core.state import Phase
from springline.errors import ProbeRefusal
from springline.reasons import Reason
from support.builders import PROBE, a_credential, a_target, probe_refused, transport_close
from support.fake_clock import EIGHT
from support.fakes import SILENCE, FakeConnection
from support.stage import Stage


async def blocked(stage: Stage, *, after: float = 0.0) -> FakeConnection:
    connection = await stage.connect(probe=PROBE)
    await stage.clock.advance(after)
    connection.block("low on memory")
    await stage.clock.settle()
    return connection


# R1.10
async def test_a_block_is_shown_with_its_reason_and_since_when(stage: Stage) -> None:
    await blocked(stage, after=7.0)
    verdict = stage.state().blocked
    assert verdict.status is ConditionStatus.TRUE
    assert verdict.reason is Reason.LOW_ON_MEMORY
    assert stage.view.blocked_since == EIGHT + timedelta(seconds=7)
    assert stage.state().phase is Phase.CONNECTED
    [event] = stage.events.of(EventType.BLOCKED)
    assert (event.message, event.reason) == ("low on memory", Reason.LOW_ON_MEMORY)


async def test_a_block_that_is_told_again_is_the_same_block(stage: Stage) -> None:
    connection = await blocked(stage)
    await stage.clock.advance(10.0)
    connection.block("low on memory & low on disk", Reason.LOW_ON_MEMORY_AND_DISK)
    await stage.clock.settle()
    assert stage.view.blocked_since == EIGHT
    assert stage.state().blocked.reason is Reason.LOW_ON_MEMORY_AND_DISK
    assert len(stage.events.of(EventType.BLOCKED)) == 1


# R1.11
async def test_the_end_of_a_block_is_shown_at_once(stage: Stage) -> None:
    connection = await blocked(stage)
    await stage.clock.advance(1.0)
    connection.unblock()
    await stage.clock.settle()
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert stage.view.blocked_since is None
    assert stage.events.types[-1] is EventType.UNBLOCKED


async def test_a_second_block_counts_from_its_own_beginning(stage: Stage) -> None:
    connection = await blocked(stage)
    connection.unblock()
    await stage.clock.advance(60.0)
    connection.block("low on disk", Reason.LOW_ON_DISK)
    await stage.clock.settle()
    assert stage.view.blocked_since == EIGHT + timedelta(seconds=60)
    assert len(stage.events.of(EventType.BLOCKED)) == 2


async def test_a_connection_that_was_blocked_before_it_was_observed_is_shown_as_blocked(
    stage: Stage,
) -> None:
    stage.events.hold(EventType.CONNECTED)
    await stage.declare(probe=PROBE)
    stage.driver.connection.block()
    stage.events.release()
    await stage.clock.settle()
    assert stage.state().blocked.status is ConditionStatus.TRUE
    assert not stage.driver.connection.probes, "publishing into a block waits for its end"


async def test_nothing_is_known_before_the_first_confirm(stage: Stage) -> None:
    stage.events.hold(EventType.CONNECTED)
    await stage.declare(probe=PROBE)
    assert stage.state().blocked.reason is Reason.NOT_CHECKED
    stage.events.release()
    await stage.clock.settle()
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert EventType.UNBLOCKED not in stage.events.types


async def test_without_a_probe_nobody_can_tell(stage: Stage) -> None:
    await stage.connect(probe=None)
    assert stage.state().blocked.status is ConditionStatus.UNKNOWN
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED


async def test_a_block_is_shown_without_a_probe_too(stage: Stage) -> None:
    """Another channel of the session may have published."""
    connection = await stage.connect(probe=None)
    connection.block()
    await stage.clock.settle()
    assert stage.state().blocked.status is ConditionStatus.TRUE


async def test_without_a_probe_nobody_can_tell_after_a_block_either(stage: Stage) -> None:
    connection = await stage.connect(probe=None)
    connection.block()
    await stage.clock.settle()
    connection.unblock()
    await stage.clock.settle()
    assert stage.state().blocked.status is ConditionStatus.UNKNOWN
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED
    assert stage.events.types[-1] is EventType.UNBLOCKED


async def test_a_probe_that_is_switched_off_under_a_block_leaves_it_unknown_afterwards(
    stage: Stage,
) -> None:
    connection = await blocked(stage)
    await stage.declare(probe=None, generation=2)
    assert stage.state().blocked.status is ConditionStatus.TRUE
    connection.unblock()
    await stage.clock.settle()
    assert "spec.probe.mode is None" in stage.state().blocked.message


async def test_an_unanswered_probe_makes_it_unknown_and_a_confirm_known_again(
    stage: Stage,
) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = SILENCE
    await stage.clock.advance(20.0)
    assert stage.state().blocked.status is ConditionStatus.UNKNOWN
    assert stage.state().phase is Phase.CONNECTED
    connection.probe_answer = 0.25
    await stage.clock.advance(15.0)
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert stage.view.confirm_seconds == 0.25
    assert EventType.UNBLOCKED not in stage.events.types


async def test_a_block_together_with_a_confirm_is_a_block(stage: Stage) -> None:
    """RabbitMQ confirms the publish that makes it say so; both can be read at once."""
    stage.driver.then(None)
    stage.events.hold(EventType.CONNECTED)
    await stage.declare(probe=PROBE)
    connection = stage.driver.connection
    connection.probe_answer = SILENCE
    stage.events.release()
    await stage.clock.settle()
    connection.confirm(0.5)
    connection.block()
    await stage.clock.advance(60.0)
    assert stage.state().blocked.status is ConditionStatus.TRUE
    assert stage.view.blocked_since == EIGHT


# --- refused


async def test_a_refused_probe_is_turned_off_and_reported(stage: Stage) -> None:
    stage.events.hold(EventType.CONNECTED)
    await stage.declare(probe=PROBE)
    connection = stage.driver.connection
    connection.probe_answer = probe_refused()
    stage.events.release()
    await stage.clock.advance(120.0)
    assert len(connection.probes) == 1
    assert stage.connection() is connection
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED
    [event] = stage.events.of(EventType.PROBE_REFUSED)
    assert "403 ACCESS_REFUSED" in event.message
    assert event.message == stage.state().blocked.message


async def test_the_next_connection_is_probed_again(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = probe_refused()
    await stage.clock.advance(15.0)
    connection.end(transport_close())
    await stage.clock.settle()
    assert stage.driver.connections[1].probes
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


async def test_a_defect_of_the_probe_turns_it_off_and_keeps_the_session(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = ZeroDivisionError("a defect")
    await stage.clock.advance(60.0)
    assert stage.connection() is connection
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED
    assert "internal error" in stage.state().blocked.message
    assert "a defect" in caplog.text
    assert len(connection.probes) == 2


# --- after a reconnect


async def test_a_block_ends_with_its_connection(stage: Stage) -> None:
    connection = await blocked(stage)
    stage.driver.then(SILENCE)
    await stage.clock.advance(60.0)
    connection.end(transport_close())
    await stage.clock.settle()
    assert stage.state().blocked.reason is Reason.NOT_CONNECTED
    assert stage.view.blocked_since is None


async def test_the_end_of_a_block_is_reported_when_the_next_connection_is_confirmed(
    stage: Stage,
) -> None:
    """Whoever read `Blocked` is owed an `Unblocked`, and it is not said before it is known."""
    connection = await blocked(stage)
    await stage.clock.advance(60.0)
    stage.events.hold(EventType.CONNECTED)
    connection.end(transport_close())
    await stage.clock.settle()
    assert EventType.UNBLOCKED not in stage.events.types
    stage.events.release()
    await stage.clock.settle()
    assert len(stage.events.of(EventType.UNBLOCKED)) == 1
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


async def test_a_block_that_goes_on_over_a_reconnect_counts_from_the_new_connection(
    stage: Stage,
) -> None:
    connection = await blocked(stage)
    await stage.clock.advance(60.0)
    stage.events.hold(EventType.CONNECTED)
    connection.end(transport_close())
    await stage.clock.advance(1.0)
    stage.driver.connections[1].block()
    stage.events.release()
    await stage.clock.settle()
    assert stage.state().blocked.status is ConditionStatus.TRUE
    assert stage.view.blocked_since == EIGHT + timedelta(seconds=61)
    assert len(stage.events.of(EventType.BLOCKED)) == 1
    assert EventType.UNBLOCKED not in stage.events.types


async def test_news_of_a_former_connection_is_ignored(stage: Stage) -> None:
    former = await stage.connect(probe=PROBE)
    await stage.declare(generation=2, probe=PROBE, target=a_target(virtual_host="other"))
    former.block()
    former.end(transport_close())
    await stage.clock.settle()
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
    assert stage.state().phase is Phase.CONNECTED
    assert EventType.BLOCKED not in stage.events.types


# --- a flood of them


async def test_a_flood_of_blocks_is_looked_at_once(stage: Stage) -> None:
    """A hostile broker may say so ten thousand times before anybody gets to hear it."""
    connection = await stage.connect()
    stage.changes.clear()
    for _ in range(10_000):
        connection.unblock()
        connection.block()
    await stage.clock.settle()
    assert len(stage.changes) == 1
    assert stage.state().blocked.status is ConditionStatus.TRUE


async def test_a_flood_that_ends_unblocked_is_shown_as_that(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    for _ in range(1000):
        connection.block()
        connection.unblock()
    await stage.clock.settle()
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED


# --- a probe that has ended


async def test_an_edit_of_something_else_leaves_it_told_that_the_probe_is_off(stage: Stage) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.probe_answer = probe_refused()
    await stage.clock.advance(60.0)
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED
    await stage.declare(probe=PROBE, retry=Retry(delay=1.0, max_delay=4.0))
    assert stage.state().blocked.reason is Reason.PROBE_DISABLED


async def test_a_probe_that_an_expired_credential_ended_begins_again_whatever_was_edited(
    stage: Stage,
) -> None:
    connection = await stage.connect(probe=PROBE)
    connection.update_answer = SILENCE
    connection.probe_answer = probe_refused("token expired", ProbeRefusal.CREDENTIAL_EXPIRED)
    await stage.clock.advance(60.0)
    await stage.declare(probe=PROBE, retry=Retry(delay=1.0, max_delay=4.0))
    connection.probe_answer = 0.002
    connection.confirm_update()
    stage.credentials.answer = a_credential("second", version="2")
    stage.session.credential_changed()
    await stage.clock.advance(120.0)
    live = stage.connection()
    assert isinstance(live, FakeConnection)
    before = len(live.probes)
    await stage.clock.advance(120.0)
    assert len(live.probes) > before
    assert stage.state().blocked.reason is Reason.NOT_BLOCKED
