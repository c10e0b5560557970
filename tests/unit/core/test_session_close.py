"""Closing a session, and waiting for it (R5.9 to R5.12)."""

import asyncio

import pytest

from springline.core.events import EventType
from springline.core.session import SessionClosedError
from springline.core.state import Phase
from springline.core.values import ClosedBy
from springline.reasons import Reason
from support.builders import server_close, terminal, unreachable
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.stage import Stage


# R5.9
async def test_close_closes_the_connection_and_attempts_no_more(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.close()
    assert connection.is_released
    assert connection.close_texts == ["the session was ended"]
    await stage.clock.advance(3600.0)
    assert len(stage.driver.requests) == 1
    assert stage.connection() is None
    assert stage.state().phase is Phase.CLOSED


# R5.9
@pytest.mark.parametrize(
    "error",
    [
        pytest.param(unreachable(), id="while it waits for the next attempt"),
        pytest.param(terminal(), id="while it waits for a new declaration"),
    ],
)
async def test_close_ends_a_wait(stage: Stage, error: Exception) -> None:
    stage.driver.otherwise = error
    await stage.declare()
    await stage.close()
    await stage.clock.advance(3600.0)
    assert len(stage.driver.requests) == 1


# R5.9
async def test_close_cancels_a_running_attempt(stage: Stage) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    await stage.close()
    assert stage.driver.cancelled == 1
    assert not stage.driver.connections
    assert not stage.limit.locked()


# R5.9
async def test_close_cancels_an_attempt_that_waits_for_its_turn(stage: Stage) -> None:
    stage.limit = asyncio.Semaphore(0)
    await stage.declare()
    await stage.close()
    assert not stage.journal


# R5.9
async def test_close_is_idempotent(stage: Stage) -> None:
    connection = await stage.connect()
    first = asyncio.ensure_future(stage.session.close())
    second = asyncio.ensure_future(stage.session.close())
    await stage.clock.settle()
    assert first.done()
    assert second.done()
    await stage.close()
    assert connection.close_texts == ["the session was ended"]
    assert len(stage.events.of(EventType.CLOSED)) == 1


# R5.9
async def test_close_returns_when_everything_is_released(stage: Stage) -> None:
    connection = await stage.connect()
    connection.close_answer = SILENCE
    closing = asyncio.ensure_future(stage.session.close())
    await stage.clock.advance(2.9)
    assert not closing.done()
    await stage.clock.advance(0.1)
    assert closing.done()
    assert connection.is_released


# R5.9
async def test_cancelling_the_wait_does_not_cancel_the_close(stage: Stage) -> None:
    connection = await stage.connect()
    connection.close_answer = SILENCE
    closing = asyncio.ensure_future(stage.session.close())
    await stage.clock.settle()
    closing.cancel()
    await stage.clock.advance(3.0)
    assert connection.is_released
    assert stage.task is not None
    assert stage.task.done()


# R5.9
async def test_after_close_nothing_is_taken_in(stage: Stage) -> None:
    await stage.connect()
    await stage.close()
    stage.session.reconnect()
    await stage.change_credential()
    await stage.declare(generation=2, connect_timeout=20.0)
    assert len(stage.driver.requests) == 1
    assert stage.connection() is None


# R5.9
async def test_what_is_asked_together_with_close_comes_too_late(stage: Stage) -> None:
    await stage.connect()
    closing = asyncio.ensure_future(stage.session.close())
    await asyncio.sleep(0)
    stage.session.reconnect()
    stage.session.declare(stage.desired(generation=2, connect_timeout=20.0))
    await stage.clock.settle()
    assert closing.done()
    assert len(stage.driver.requests) == 1


# R5.9
async def test_an_attempt_that_succeeds_in_the_moment_of_the_close_leaves_nothing_open(
    stage: Stage,
) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    stage.driver.release()
    await stage.session.close()
    assert len(stage.driver.connections) == 1
    assert stage.driver.connection.is_released


# R5.9
async def test_a_replacement_that_is_open_in_the_moment_of_the_close_is_closed_as_well(
    stage: Stage,
) -> None:
    await stage.connect()
    stage.driver.then(None, SILENCE)
    await stage.change_credential(username="other")
    stage.driver.release()
    await stage.session.close()
    assert len(stage.driver.connections) == 3
    assert not stage.driver.open_connections


async def test_a_session_closed_by_us_is_shown_and_reported_as_such(stage: Stage) -> None:
    connection = await stage.connect()
    await stage.close()
    last = stage.view.last_close
    assert last is not None
    assert last.info.by is ClosedBy.CLIENT
    assert last.info.reason is Reason.CLIENT_CLOSED
    assert last.info.codes == connection.close_codes
    assert stage.events.types[-1] is EventType.CLOSED
    assert EventType.DISCONNECTED not in stage.events.types


async def test_a_connection_that_the_broker_is_closing_too_is_dropped(stage: Stage) -> None:
    """Close raises NotOpenError then; the session sees to it that nothing stays behind."""
    connection = await stage.connect()
    closing = asyncio.ensure_future(stage.session.close())
    await asyncio.sleep(0)
    connection.end(server_close())
    await stage.clock.settle()
    assert closing.done()
    assert connection.was_aborted
    assert not connection.close_texts


# R5.10
async def test_is_closed_is_true_from_the_first_call_of_close(stage: Stage) -> None:
    connection = await stage.connect()
    connection.close_answer = SILENCE
    assert not stage.is_closed()
    closing = asyncio.ensure_future(stage.session.close())
    await asyncio.sleep(0)
    assert stage.is_closed()
    assert not closing.done()
    await stage.clock.advance(3.0)
    assert stage.is_closed()


# R5.11
async def test_close_finished_waits_without_causing_a_close(stage: Stage) -> None:
    connection = await stage.connect()
    finished = asyncio.ensure_future(stage.session.close_finished())
    await stage.clock.advance(3600.0)
    assert not finished.done()
    assert not stage.is_closed()
    assert connection.is_open
    await stage.close()
    assert finished.done()


# R5.11
async def test_close_finished_returns_at_once_when_it_is_over(stage: Stage) -> None:
    await stage.close()
    await stage.clock.result(stage.session.close_finished())


# R5.12
async def test_close_when_current_connection_is_closed_leaves_it_alone_and_does_not_reconnect(
    stage: Stage,
) -> None:
    connection = await stage.connect()
    stage.session.close_when_current_connection_is_closed()
    await stage.clock.advance(3600.0)
    assert connection.is_open
    assert not stage.is_closed()
    connection.end(server_close())
    await stage.clock.advance(3600.0)
    assert stage.is_closed()
    assert len(stage.driver.requests) == 1
    assert stage.events.types[-1] is EventType.DISCONNECTED
    await stage.clock.result(stage.session.close_finished())


# R5.12
async def test_close_when_current_connection_is_closed_ends_at_once_without_one(
    stage: Stage,
) -> None:
    stage.driver.otherwise = unreachable()
    await stage.declare()
    stage.session.close_when_current_connection_is_closed()
    await stage.clock.settle()
    assert stage.is_closed()
    await stage.clock.advance(3600.0)
    assert len(stage.driver.requests) == 1


# R5.12
async def test_a_reconnect_that_is_asked_for_ends_it_as_well(stage: Stage) -> None:
    connection = await stage.connect()
    stage.session.close_when_current_connection_is_closed()
    stage.session.reconnect()
    await stage.clock.settle()
    assert connection.is_released
    assert stage.is_closed()
    assert len(stage.driver.requests) == 1


# --- the task itself


async def test_no_task_is_left_after_the_end(clock: FakeClock) -> None:
    before = asyncio.all_tasks()
    stage = Stage(clock)
    stage.start()
    await stage.connect()
    await stage.change_credential()
    await stage.close()
    await clock.settle()
    assert stage.task is not None
    assert stage.task.done()
    assert stage.task.exception() is None
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("connected", [True, False], ids=["while connected", "mid-connect"])
async def test_a_cancelled_session_leaves_nothing_behind(clock: FakeClock, connected: bool) -> None:
    before = asyncio.all_tasks()
    stage = Stage(clock)
    stage.start()
    stage.driver.then(None if connected else SILENCE)
    await stage.declare()
    waiting = asyncio.ensure_future(stage.session.close_finished())
    assert stage.task is not None
    stage.task.cancel()
    await clock.settle()
    assert stage.task.cancelled()
    assert waiting.done()
    assert stage.is_closed()
    assert stage.connection() is None
    assert not stage.driver.open_connections
    assert stage.driver.running == 0
    assert not stage.limit.locked()
    assert asyncio.all_tasks() == before


async def test_a_cancelled_session_drops_its_connection_without_a_word(stage: Stage) -> None:
    connection = await stage.connect()
    assert stage.task is not None
    stage.task.cancel()
    await stage.clock.settle()
    assert connection.was_aborted
    assert not connection.close_texts


async def test_cancelling_while_closing_aborts_the_connection(stage: Stage) -> None:
    connection = await stage.connect()
    connection.close_answer = SILENCE
    closing = asyncio.ensure_future(stage.session.close())
    await stage.clock.advance(1.0)
    assert stage.task is not None
    stage.task.cancel()
    await stage.clock.settle()
    assert connection.was_aborted
    assert closing.done()


async def test_cancelling_in_the_middle_of_a_replacement_leaves_neither_connection(
    stage: Stage,
) -> None:
    old = await stage.connect()
    stage.events.hold(EventType.SESSION_REPLACED)
    await stage.change_credential(username="other")
    assert len(stage.driver.open_connections) == 2
    assert stage.task is not None
    stage.task.cancel()
    await stage.clock.settle()
    assert old.is_released
    assert not stage.driver.open_connections


async def test_a_driver_that_fails_to_close_does_not_keep_the_connection(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def break_down(**_: object) -> None:
        raise OSError("a defect")

    connection = await stage.connect()
    monkeypatch.setattr(connection, "close", break_down)
    await stage.close()
    assert connection.is_released
    assert stage.task is not None
    await stage.clock.settle()
    assert isinstance(stage.task.exception(), ExceptionGroup)


async def test_a_session_that_ends_refuses_those_who_wait(stage: Stage) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    waiting = asyncio.ensure_future(stage.session.connected())
    await stage.clock.settle()
    assert stage.task is not None
    stage.task.cancel()
    await stage.clock.settle()
    assert isinstance(waiting.exception(), SessionClosedError)
