"""How a process comes to its end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from springline import shutdown
from support.fake_clock import FakeClock
from support.fakes import SILENCE
from support.fleet import Fleet, running
from support.waiting import eventually


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    """A clock that stands still, and the event loop with it."""
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        yield clock


@pytest.fixture
async def fleet(clock: FakeClock) -> AsyncIterator[Fleet]:
    """Two open sessions."""
    async with running(clock) as fleet:
        await fleet.put_broker()
        await fleet.put("orders", "billing")
        assert len(fleet.open_connections) == 2
        yield fleet


class Ending:
    """A shutdown under way."""

    def __init__(self, fleet: Fleet, *, limit: float = 20.0) -> None:
        assert fleet.task is not None
        self.hurry = asyncio.Event()
        self.hurry.set()  # the signal that has begun it
        self.notes: list[str] = []
        self.task = asyncio.get_running_loop().create_task(
            shutdown.close_sessions(
                fleet.manager, fleet.task, limit=limit, hurry=self.hurry, note=self.notes.append
            )
        )


# --- signals


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_each_signal_asks_for_the_end(number: signal.Signals) -> None:
    stopping = asyncio.Event()
    with shutdown.on_signal(stopping):
        os.kill(os.getpid(), number)
        await eventually(stopping.is_set)


async def test_afterwards_the_signals_do_what_they_do_to_any_program() -> None:
    with shutdown.on_signal(asyncio.Event()):
        assert signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_DFL


async def test_whoever_listened_last_is_told() -> None:
    """Libraries put up handlers of their own."""
    loop = asyncio.get_running_loop()
    stopping, theirs = asyncio.Event(), asyncio.Event()
    with shutdown.on_signal(stopping):
        loop.add_signal_handler(signal.SIGTERM, theirs.set)
        shutdown.listen(stopping)
        os.kill(os.getpid(), signal.SIGTERM)
        await eventually(stopping.is_set)
    assert not theirs.is_set()


# --- sessions


async def test_every_session_is_closed_in_an_orderly_way(fleet: Fleet) -> None:
    ending = Ending(fleet)
    await fleet.clock.result(ending.task)
    assert fleet.task is not None
    assert fleet.task.done()
    assert [connection.close_texts for connection in fleet.driver.connections] == [
        ["the session was ended"],
        ["the session was ended"],
    ]
    assert not any(connection.was_aborted for connection in fleet.driver.connections)
    assert ending.notes == ["closing 2 session(s); a second signal drops them at once"]


async def test_what_does_not_close_in_time_is_dropped(fleet: Fleet) -> None:
    fleet.driver.connection.close_answer = SILENCE
    ending = Ending(fleet, limit=1.0)
    await fleet.clock.advance(0.9)
    assert not ending.task.done()
    await fleet.clock.result(ending.task, within=0.1)
    assert fleet.driver.connection.was_aborted
    assert not fleet.open_connections
    assert ending.notes[-1] == "dropping the sessions that have not closed yet"


async def test_a_second_signal_drops_them_at_once(fleet: Fleet) -> None:
    fleet.driver.connection.close_answer = SILENCE
    ending = Ending(fleet)
    await fleet.clock.settle()
    assert not ending.task.done(), "the first signal does not count twice"
    ending.hurry.set()
    await fleet.clock.result(ending.task)
    assert fleet.driver.connection.was_aborted


async def test_without_open_sessions_nothing_is_said(fleet: Fleet) -> None:
    fleet.driver.otherwise = SILENCE
    for connection in fleet.open_connections:
        connection.abort()
    await fleet.clock.settle()
    ending = Ending(fleet)
    await fleet.clock.result(ending.task)
    assert ending.notes == []


async def test_cancelled_it_leaves_nothing_behind(fleet: Fleet) -> None:
    fleet.driver.connection.close_answer = SILENCE
    ending = Ending(fleet)
    await fleet.clock.settle()
    ending.task.cancel()
    await fleet.clock.settle()
    assert ending.task.cancelled()
