"""Waiting for a session's next connection or next result (R5.6 to R5.8)."""

import asyncio

import pytest

from springline.core.session import SessionClosedError, Unusable
from springline.core.state import Failure
from springline.core.waiters import Waiters
from springline.reasons import Reason
from support.builders import terminal, transport_close, unreachable
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.stage import Stage

INVALID = Failure(reason=Reason.INVALID_SPEC, message="it contradicts itself")


# --- connected


# R5.6
async def test_connected_returns_the_current_connection(stage: Stage) -> None:
    connection = await stage.connect()
    assert await stage.clock.result(stage.session.connected()) is connection


# R5.6
async def test_connected_waits_for_the_first_connection_from_now(stage: Stage) -> None:
    stage.driver.then(unreachable(), None)
    waiting = asyncio.ensure_future(stage.session.connected())
    await stage.declare()
    assert not waiting.done(), "a failure is not what it waits for"
    await stage.clock.advance(10.0)
    assert waiting.result() is stage.driver.connection


# R5.6
async def test_connected_does_not_return_a_connection_that_is_gone(stage: Stage) -> None:
    connection = await stage.connect()
    stage.driver.then(SILENCE)
    await stage.clock.advance(60.0)
    connection.end(transport_close())
    await stage.clock.settle()
    waiting = asyncio.ensure_future(stage.session.connected())
    await stage.clock.settle()
    assert not waiting.done()
    stage.driver.release()
    await stage.clock.settle()
    assert waiting.result() is stage.driver.connections[1]


# R5.6
async def test_connected_tells_everybody_who_waits(stage: Stage) -> None:
    waiting = [asyncio.ensure_future(stage.session.connected()) for _ in range(3)]
    await stage.declare()
    assert [task.result() for task in waiting] == [stage.driver.connection] * 3


# R5.6
async def test_connected_is_refused_once_the_session_is_closed(stage: Stage) -> None:
    """The reference never resolves then; a wait that never ends would be a hang."""
    waiting = asyncio.ensure_future(stage.session.connected())
    await stage.clock.settle()
    await stage.close()
    await stage.clock.settle()
    assert isinstance(waiting.exception(), SessionClosedError)
    with pytest.raises(SessionClosedError, match="the session has ended"):
        await stage.clock.result(stage.session.connected())


# R5.6
async def test_connected_is_refused_from_the_first_call_of_close(stage: Stage) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    closing = asyncio.ensure_future(stage.session.close())
    await asyncio.sleep(0)
    with pytest.raises(SessionClosedError):
        await stage.session.connected()
    await stage.clock.settle()
    assert closing.done()


async def test_connected_is_safe_to_cancel(stage: Stage) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    given_up = asyncio.ensure_future(stage.session.connected())
    patient = asyncio.ensure_future(stage.session.connected())
    await stage.clock.settle()
    given_up.cancel()
    stage.driver.release()
    await stage.clock.settle()
    assert given_up.cancelled()
    assert patient.result() is stage.driver.connection


# --- connected or failed


# R5.7
async def test_connected_or_failed_returns_the_current_connection(stage: Stage) -> None:
    connection = await stage.connect()
    assert await stage.clock.result(stage.session.connected_or_failed()) is connection


# R5.7
async def test_connected_or_failed_returns_the_next_failure(stage: Stage) -> None:
    stage.driver.then(unreachable("nobody listens"), None)
    waiting = asyncio.ensure_future(stage.session.connected_or_failed())
    await stage.declare()
    assert waiting.result() == Failure(reason=Reason.CONNECTION_REFUSED, message="nobody listens")


# R5.7
async def test_connected_or_failed_returns_the_next_connection(stage: Stage) -> None:
    stage.driver.then(unreachable(), None)
    await stage.declare()
    waiting = asyncio.ensure_future(stage.session.connected_or_failed())
    await stage.clock.settle()
    assert not waiting.done(), "the failure was before"
    await stage.clock.advance(10.0)
    assert waiting.result() is stage.driver.connection


# R5.7
async def test_connected_or_failed_is_refused_on_close(stage: Stage) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    waiting = asyncio.ensure_future(stage.session.connected_or_failed())
    await stage.clock.settle()
    await stage.close()
    await stage.clock.settle()
    assert isinstance(waiting.exception(), SessionClosedError)
    with pytest.raises(SessionClosedError):
        await stage.clock.result(stage.session.connected_or_failed())


# R5.7
async def test_a_declaration_that_cannot_be_used_is_a_result(stage: Stage) -> None:
    waiting = asyncio.ensure_future(stage.session.connected_or_failed())
    await stage.clock.settle()
    stage.session.declare(Unusable(generation=1, problem=INVALID))
    await stage.clock.settle()
    assert waiting.result() == INVALID


# R5.7
async def test_suspending_is_a_result(stage: Stage) -> None:
    stage.driver.then(SILENCE)
    await stage.declare()
    waiting = asyncio.ensure_future(stage.session.connected_or_failed())
    await stage.declare(generation=2, suspend=True)
    result = waiting.result()
    assert isinstance(result, Failure)
    assert result.reason is Reason.SUSPENDED


# R5.7
async def test_a_failure_that_stands_is_told_at_once(stage: Stage) -> None:
    """No result will come before somebody changes the declaration."""
    stage.driver.otherwise = terminal()
    await stage.declare()
    result = await stage.clock.result(stage.session.connected_or_failed())
    assert isinstance(result, Failure)
    assert result.reason is Reason.NO_AUTHENTICATION_MECHANISM


# --- the current connection


# R5.8
async def test_the_current_connection_is_readable_at_any_time(stage: Stage) -> None:
    assert stage.connection() is None
    connection = await stage.connect()
    assert stage.connection() is connection
    stage.driver.then(SILENCE)
    connection.end(transport_close())
    await stage.clock.settle()
    assert stage.connection() is None
    await stage.clock.advance(10.0)
    stage.driver.release()
    await stage.clock.settle()
    assert stage.connection() is stage.driver.connections[1]
    await stage.close()
    assert stage.connection() is None


# --- waiters


async def test_a_waiter_that_was_told_is_not_told_again(clock: FakeClock) -> None:
    waiters: Waiters[int] = Waiters()
    waiting = asyncio.ensure_future(waiters.wait())
    await asyncio.sleep(0)
    waiters.tell(1)
    waiters.tell(2)
    waiters.refuse(RuntimeError())
    await clock.settle()
    assert waiting.result() == 1


async def test_those_who_come_later_wait_for_the_next_value(clock: FakeClock) -> None:
    waiters: Waiters[int] = Waiters()
    waiters.tell(1)
    waiting = asyncio.ensure_future(waiters.wait())
    await clock.settle()
    assert not waiting.done()
    waiters.tell(2)
    await clock.settle()
    assert waiting.result() == 2
