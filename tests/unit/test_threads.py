"""Calls that may never return, and what they may not hold up."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

import pytest

from springline.threads import Threads
from support import leaks
from support.waiting import eventually


class Hanging:
    """A call that hangs until the test lets it go."""

    def __init__(self) -> None:
        self.started = threading.Event()
        self.go_on = threading.Event()

    def __call__(self) -> str:
        self.started.set()
        assert self.go_on.wait(60), "nobody let it go"
        return "late"


@pytest.fixture
def hanging() -> Iterator[Hanging]:
    call = Hanging()
    yield call
    call.go_on.set()


async def test_what_the_call_returns_or_raises_is_passed_on() -> None:
    threads = Threads(at_once=1, name="test")
    assert await threads.run(lambda: 5) == 5
    with pytest.raises(ZeroDivisionError):
        await threads.run(lambda: 1 // 0)
    assert await threads.run(lambda: 6) == 6


async def test_call_that_hangs_holds_up_neither_the_loop_nor_others(hanging: Hanging) -> None:
    threads = Threads(at_once=2, name="test")
    first = asyncio.ensure_future(threads.run(hanging))
    await eventually(hanging.started.is_set)
    assert await threads.run(lambda: 5) == 5
    assert not first.done()
    hanging.go_on.set()
    assert await first == "late"


async def test_call_that_nobody_waits_for_any_more_keeps_its_turn(hanging: Hanging) -> None:
    """A file system that is gone takes so many threads, however often it is asked."""
    threads = Threads(at_once=1, name="test")
    async with leaks.checked():
        first = asyncio.ensure_future(threads.run(hanging))
        await eventually(hanging.started.is_set)
        first.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await first
        second = asyncio.ensure_future(threads.run(lambda: 5))
        await asyncio.sleep(0)
        assert not second.done()
        hanging.go_on.set()
        assert await second == 5


def test_call_that_outlives_the_event_loop_keeps_no_process_from_ending(hanging: Hanging) -> None:
    async def give_up() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.01):
                await Threads(at_once=1, name="outliving").run(hanging)

    asyncio.run(give_up())
    (left,) = [each for each in threading.enumerate() if each.name == "outliving"]
    assert left.daemon
    hanging.go_on.set()
    left.join()
