"""The helpers of a session: a task while there is something to do, a timer in between."""

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest

from springline.core.helpers import Helpers, Role, Turns
from springline.core.inbox import Inbox
from springline.core.messages import Message, TimerRang
from springline.core.pauses import Pause
from springline.core.values import SessionKey
from support.fake_clock import FakeClock

KEY = SessionKey("apps", "orders")


class Helped:
    """Helpers with their task group and inbox."""

    def __init__(self, clock: FakeClock, group: asyncio.TaskGroup) -> None:
        self.inbox: Inbox[Message] = Inbox()
        self.helpers = Helpers(KEY, clock, group, self.inbox)

    @property
    def numbers(self) -> list[int]:
        """Return what has come since the last look."""
        return [each.number for each in self.inbox.drain() if isinstance(each, TimerRang)]


@pytest.fixture
async def helped(clock: FakeClock) -> AsyncIterator[Helped]:
    async with asyncio.TaskGroup() as group:
        helped = Helped(clock, group)
        yield helped
        await helped.helpers.drop_all()


class Counting(Turns):
    """Each turn waits for a second; there are as many as are wanted."""

    def __init__(self, turns: int) -> None:
        self.left = turns

    async def turn(self) -> AsyncIterator[Message]:
        await asyncio.sleep(1)
        self.left -= 1
        yield TimerRang(self.left)

    def pause(self) -> Pause | None:
        return Pause(10) if self.left else None


def schedule() -> Iterator[Message | Pause]:
    yield Pause(60)
    yield TimerRang(1)
    yield TimerRang(2)
    yield Pause(60)
    yield TimerRang(3)


async def messages() -> AsyncIterator[Message]:
    yield TimerRang(1)
    await asyncio.sleep(5)
    yield TimerRang(2)


def tasks() -> list[str]:
    """Return the names of the tasks of helpers."""
    return [name for task in asyncio.all_tasks() if "apps/orders" in (name := task.get_name())]


async def test_a_stream_is_a_task_to_its_end(clock: FakeClock, helped: Helped) -> None:
    await helped.helpers.start(Role.ATTEMPT, messages())
    await clock.settle()
    assert (helped.numbers, tasks()) == ([1], ["attempt/apps/orders"])
    await clock.advance(5)
    assert (helped.numbers, tasks()) == ([2], [])
    assert not helped.helpers.is_at_work(Role.ATTEMPT)


async def test_a_schedule_has_no_task_in_its_pauses(clock: FakeClock, helped: Helped) -> None:
    await helped.helpers.start(Role.AGE, schedule())
    await clock.advance(59)
    assert (helped.numbers, tasks()) == ([], [])
    assert helped.helpers.is_at_work(Role.AGE)
    await clock.advance(1)
    assert (helped.numbers, tasks()) == ([1, 2], [])
    await clock.advance(60)
    assert helped.numbers == [3]
    assert not helped.helpers.is_at_work(Role.AGE)


async def test_what_works_by_turns_has_a_task_in_each(clock: FakeClock, helped: Helped) -> None:
    await helped.helpers.start(Role.PROBER, Counting(2))
    await clock.settle()
    assert tasks() == ["prober/apps/orders"]
    await clock.advance(1)
    assert (helped.numbers, tasks()) == ([1], [])
    assert helped.helpers.is_at_work(Role.PROBER)
    await clock.advance(10)
    assert tasks() == ["prober/apps/orders"]
    await clock.advance(1)
    assert (helped.numbers, tasks()) == ([0], [])
    assert not helped.helpers.is_at_work(Role.PROBER)


@pytest.mark.parametrize("seconds", [0.5, 5.0], ids=["in a turn", "in a pause"])
async def test_who_is_dropped_does_nothing_more(
    clock: FakeClock, helped: Helped, seconds: float
) -> None:
    await helped.helpers.start(Role.PROBER, Counting(2))
    await clock.advance(seconds)
    helped.inbox.drain()
    await helped.helpers.drop(Role.PROBER)
    assert (tasks(), helped.helpers.is_at_work(Role.PROBER)) == ([], False)
    await clock.advance(60)
    assert helped.numbers == []


async def test_the_next_of_a_role_takes_the_place_of_the_last(
    clock: FakeClock, helped: Helped
) -> None:
    await helped.helpers.start(Role.AGE, schedule())
    await clock.advance(30)
    await helped.helpers.start(Role.AGE, schedule())
    await clock.advance(59)
    assert helped.numbers == []
    await clock.advance(1)
    assert helped.numbers == [1, 2]
    await helped.helpers.start(Role.AGE, None)
    await clock.advance(600)
    assert helped.numbers == []


async def test_a_schedule_that_fails_ends_the_session(clock: FakeClock) -> None:
    """As a task that fails does, and not only itself."""

    def failing() -> Iterator[Message | Pause]:
        yield Pause(60)
        raise ValueError("planted")

    async def session() -> None:
        async with asyncio.TaskGroup() as group:
            helped = Helped(clock, group)
            await helped.helpers.start(Role.AGE, failing())
            await clock.advance(61)

    with pytest.raises(ExceptionGroup) as caught:
        await session()
    assert "planted" in str(caught.value.exceptions)


async def test_stopped_timers_begin_nothing(clock: FakeClock) -> None:
    """A task group that comes to its end takes no more tasks."""
    async with asyncio.TaskGroup() as group:
        helped = Helped(clock, group)
        await helped.helpers.start(Role.PROBER, Counting(2))
        await clock.advance(5)
        helped.helpers.stop_timers()
    await clock.advance(60)
    assert tasks() == []
