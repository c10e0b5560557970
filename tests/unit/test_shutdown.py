"""How a process comes to its end."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator

import pytest

from springline import shutdown
from springline.early_end import SIGNALS
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


async def test_afterwards_the_signals_mean_what_they_meant_before() -> None:
    """Those of a program that listened from its start still end it in an orderly way."""
    before = [signal.getsignal(number) for number in SIGNALS]
    with shutdown.on_signal(asyncio.Event()):
        assert [signal.getsignal(number) for number in SIGNALS] != before
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert not signal.pthread_sigmask(signal.SIG_BLOCK, []) & set(SIGNALS)


async def test_work_that_nothing_interrupts_is_returned() -> None:
    assert await shutdown.unless_signalled(asyncio.sleep(0, "done")) == "done"


async def test_signalled_work_is_cancelled_and_closes_what_it_has_open() -> None:
    started, closed = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # a goodbye
            closed.set()
            raise

    waiting = asyncio.ensure_future(shutdown.unless_signalled(work()))
    await started.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    with pytest.raises(shutdown.SignalledError) as signalled:
        await waiting
    assert signalled.value.number == signal.SIGTERM
    assert closed.is_set()


async def test_a_second_signal_does_not_wait_for_work_to_close() -> None:
    started, closing = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            closing.set()
            await asyncio.Event().wait()  # a broker that answers no goodbye

    waiting = asyncio.ensure_future(shutdown.unless_signalled(work()))
    await started.wait()
    os.kill(os.getpid(), signal.SIGTERM)
    await closing.wait()
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(shutdown.SignalledError):
        await waiting


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
