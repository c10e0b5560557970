"""Timers of many sessions on one wheel."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springline import wheel
from support.fake_clock import FakeClock


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        yield clock


class Rung:
    """Notes what rang, and when."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.at: list[tuple[str, float]] = []

    def note(self, name: str) -> Callable[[], None]:
        return lambda: self.at.append((name, self._clock.elapsed))

    @property
    def names(self) -> list[str]:
        return [name for name, _ in self.at]


@pytest.fixture
def rung(clock: FakeClock) -> Rung:
    return Rung(clock)


def alarms() -> int:
    """Return how many timers the event loop has for us."""
    loop: Any = asyncio.get_running_loop()
    return sum(not handle.cancelled() for handle in loop._scheduled)


# --- when


async def test_a_timer_rings_once_when_it_is_time(clock: FakeClock, rung: Rung) -> None:
    timer = wheel.call_later(2, rung.note("a"))
    await clock.advance(1.99)
    assert rung.at == []
    assert timer.is_pending
    await clock.advance(10)
    assert rung.at == [("a", 2.0)]
    assert not timer.is_pending


async def test_a_time_between_two_ticks_rings_at_the_later_one(
    clock: FakeClock, rung: Rung
) -> None:
    wheel.call_later(0.3, rung.note("a"))
    await clock.advance(1)
    assert rung.at == [("a", 0.375)]


async def test_one_that_may_be_early_rings_at_the_tick_before(clock: FakeClock, rung: Rung) -> None:
    wheel.call_later(0.3, rung.note("a"), early=True)
    wheel.call_later(0.1, rung.note("at once"), early=True)
    await clock.advance(1)
    assert rung.at == [("at once", 0.0), ("a", 0.25)]


@pytest.mark.parametrize("seconds", [0.0, -5.0])
async def test_what_is_due_already_rings_at_once_and_not_within_the_call(
    clock: FakeClock, rung: Rung, seconds: float
) -> None:
    await clock.advance(0.1)
    wheel.call_later(seconds, rung.note("a"))
    assert rung.at == []
    await clock.settle()
    assert rung.names == ["a"]


async def test_timers_ring_in_the_order_of_their_times(clock: FakeClock, rung: Rung) -> None:
    """Also within one tick; those of the same time in the order in which they came."""
    for name, seconds in {"d": 9.0, "b": 0.55, "a": 0.51, "c": 0.55}.items():
        wheel.call_later(seconds, rung.note(name))
    await clock.advance(10)
    assert rung.names == ["a", "b", "c", "d"]


async def test_an_earlier_timer_than_all_others_rings_in_time(clock: FakeClock, rung: Rung) -> None:
    wheel.call_later(60, rung.note("late"))
    await clock.advance(5)
    wheel.call_later(1, rung.note("early"))
    await clock.advance(60)
    assert rung.at == [("early", 6.0), ("late", 60.0)]


async def test_a_time_of_the_event_loop_may_be_named(clock: FakeClock, rung: Rung) -> None:
    timer = wheel.call_at(asyncio.get_running_loop().time() + 3, rung.note("a"))
    assert timer.when == clock.monotonic() + 3
    await clock.advance(3)
    assert rung.at == [("a", 3.0)]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 30), st.booleans(), st.booleans()), max_size=30))
def test_none_is_early_unless_it_may_be_and_none_is_lost(
    timers: list[tuple[float, bool, bool]],
) -> None:
    async def main() -> None:
        clock = FakeClock()
        with clock.drives(asyncio.get_running_loop()):
            rung = Rung(clock)
            expected = {}
            for number, (seconds, early, is_cancelled) in enumerate(timers):
                timer = wheel.call_later(seconds, rung.note(str(number)), early=early)
                if is_cancelled:
                    timer.cancel()
                else:
                    expected[str(number)] = (seconds, early)
            await clock.advance(31)
            assert sorted(rung.names) == sorted(expected)
            for name, at in rung.at:
                seconds, early = expected[name]
                lateness = at - seconds
                # The clock began at 1000, whose fractions are coarser than those that are drawn.
                assert -1e-9 < lateness + early * wheel.TICK < wheel.TICK + 1e-9
            assert alarms() == 0

    asyncio.run(main())


# --- cancelled


async def test_a_cancelled_timer_does_not_ring(clock: FakeClock, rung: Rung) -> None:
    timer = wheel.call_later(1, rung.note("a"))
    wheel.call_later(1, rung.note("b"))
    timer.cancel()
    timer.cancel()
    assert not timer.is_pending
    await clock.advance(2)
    assert rung.names == ["b"]
    timer.cancel()


async def test_a_cancelled_timer_keeps_nothing(clock: FakeClock) -> None:
    class Owner:
        def ring(self) -> None: ...

    owner = Owner()
    gone = weakref.ref(owner)
    timer = wheel.call_later(1, owner.ring)
    wheel.call_later(1, lambda: None)
    timer.cancel()
    del owner
    assert gone() is None
    await clock.advance(1)


async def test_a_wheel_with_nothing_on_it_holds_no_timer(clock: FakeClock, rung: Rung) -> None:
    assert alarms() == 0
    first, second = wheel.call_later(1, rung.note("a")), wheel.call_later(5, rung.note("b"))
    assert alarms() == 1
    first.cancel()
    second.cancel()
    assert alarms() == 0
    wheel.call_later(1, rung.note("c"))
    await clock.advance(1)
    assert (rung.names, alarms()) == (["c"], 0)


async def test_what_is_cancelled_takes_no_room(clock: FakeClock, rung: Rung) -> None:
    """Though its time may be far away, and others stay."""
    wheel.call_later(10_000, rung.note("last"))
    for number in range(5000):
        wheel.call_later(1 + number, rung.note("none")).cancel()
    ours = wheel._wheel_of(asyncio.get_running_loop())
    assert len(ours._slots) == 1
    assert len(ours._ticks) < 100
    await clock.advance(10_000)
    assert rung.names == ["last"]


# --- many, and what they do to each other


async def test_ten_thousand_timers_take_one_of_the_event_loop(clock: FakeClock, rung: Rung) -> None:
    for number in range(10_000):
        wheel.call_later(number % 30 + number / 10_000, rung.note(str(number)))
    assert alarms() == 1
    await clock.advance(40)
    assert len(set(rung.names)) == 10_000
    times = [at for _, at in rung.at]
    assert times == sorted(times)


async def test_a_callback_may_add_others(clock: FakeClock, rung: Rung) -> None:
    def again() -> None:
        rung.note("again")()
        if len(rung.at) < 3:
            wheel.call_later(1, again)

    wheel.call_later(1, again)
    await clock.advance(10)
    assert rung.at == [("again", 1.0), ("again", 2.0), ("again", 3.0)]


async def test_a_callback_that_is_due_again_and_again_does_not_hold_up_the_loop(
    clock: FakeClock, rung: Rung
) -> None:
    def again() -> None:
        rung.note("again")()
        timers.append(wheel.call_later(0, again))

    timers = [wheel.call_later(1, again)]
    other = asyncio.ensure_future(asyncio.sleep(1))
    await clock.advance(1)
    assert other.done()
    assert len(rung.at) > 1
    timers[-1].cancel()


async def test_a_callback_may_cancel_those_that_ring_with_it(clock: FakeClock, rung: Rung) -> None:
    timers: list[wheel.Timer] = []

    def cancel_all() -> None:
        for timer in timers:
            timer.cancel()

    timers.append(wheel.call_later(1, cancel_all))
    timers.append(wheel.call_later(1, rung.note("same tick")))
    timers.append(wheel.call_later(2, rung.note("later")))
    await clock.advance(3)
    assert rung.at == []
    assert alarms() == 0


async def test_a_callback_that_raises_is_logged_and_stops_no_other(
    clock: FakeClock, rung: Rung, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> None:
        raise ValueError("planted")

    wheel.call_later(1, fail)
    wheel.call_later(1, rung.note("a"))
    wheel.call_later(2, rung.note("b"))
    with caplog.at_level(logging.ERROR):
        await clock.advance(2)
    assert rung.names == ["a", "b"]
    assert [str(each.exc_info[1]) for each in caplog.records if each.exc_info] == ["planted"]


def test_an_interrupt_ends_the_loop_and_the_rest_rings_when_it_goes_on() -> None:
    rung: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    async def first() -> None:
        wheel.call_later(0, interrupt)
        wheel.call_later(0, lambda: rung.append("a"))
        await asyncio.sleep(60)

    loop = asyncio.new_event_loop()
    try:
        task = loop.create_task(first())
        with pytest.raises(KeyboardInterrupt):
            loop.run_until_complete(task)
        loop.run_until_complete(asyncio.sleep(wheel.TICK))
        assert rung == ["a"]
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            loop.run_until_complete(task)
    finally:
        loop.close()


# --- the clock jumps


async def test_after_a_jump_everything_that_is_due_rings_in_its_order(
    clock: FakeClock, rung: Rung
) -> None:
    """The loop may have been held up, or the machine."""
    for name, seconds in {"b": 2.0, "a": 1.0, "c": 500.0}.items():
        wheel.call_later(seconds, rung.note(name))
    clock._monotonic += 100.0
    await clock.advance(0)
    clock._timers.clear()
    await asyncio.sleep(0)
    assert rung.names == ["a", "b"]


async def test_an_event_loop_that_calls_too_early_gets_nothing_rung(rung: Rung) -> None:
    loop: Any = asyncio.get_running_loop()
    wheel.call_later(3, rung.note("a"))
    ours = wheel._wheel_of(loop)
    assert ours._alarm is not None
    ours._alarm.cancel()
    ours._ring(loop)
    assert rung.at == []
    assert alarms() == 1


# --- event loops


def test_each_event_loop_has_a_wheel_of_its_own_and_none_outlives_its_loop() -> None:
    rung: list[str] = []

    async def main(name: str) -> wheel.Timer:
        wheel.call_later(0, lambda: rung.append(name))
        await asyncio.sleep(0.01)
        return wheel.call_later(60, lambda: rung.append("never"))

    left = asyncio.run(main("a"))
    asyncio.run(main("b"))
    assert rung == ["a", "b"]
    left.cancel()  # its loop is closed
    asyncio.run(main("c"))
    gc.collect()
    assert sum(loop.is_closed() for loop in wheel._wheels) <= 1


def test_without_a_running_loop_there_is_no_timer() -> None:
    with pytest.raises(RuntimeError):
        wheel.call_later(1, lambda: None)


# --- waits


async def test_sleep_returns_when_it_is_time(clock: FakeClock) -> None:
    sleeping = asyncio.ensure_future(wheel.sleep(2))
    await clock.advance(1.9)
    assert not sleeping.done()
    await clock.advance(0.1)
    assert sleeping.done()
    assert alarms() == 0


async def test_a_cancelled_sleep_leaves_no_timer(clock: FakeClock) -> None:
    sleeping = asyncio.ensure_future(wheel.sleep(2))
    await clock.settle()
    sleeping.cancel()
    await clock.settle()
    assert sleeping.cancelled()
    assert alarms() == 0


async def test_within_returns_the_answer(clock: FakeClock) -> None:
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(wheel.within(answer, 5))
    await clock.advance(4)
    answer.set_result(7)
    assert await waiting == 7
    assert alarms() == 0


async def test_within_has_no_timer_for_what_is_there(clock: FakeClock) -> None:
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    answer.set_result(7)
    assert await wheel.within(answer, 0) == 7
    assert clock._timers == []


async def test_within_raises_when_time_is_over(clock: FakeClock) -> None:
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(wheel.within(answer, 5))
    await clock.advance(5)
    with pytest.raises(TimeoutError):
        await waiting
    assert answer.done()


async def test_within_passes_on_what_the_future_raises(clock: FakeClock) -> None:
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(wheel.within(answer, 5))
    await clock.advance(1)
    answer.set_exception(OSError("planted"))
    with pytest.raises(OSError, match="planted"):
        await waiting


async def test_within_is_cancelled_with_its_future(clock: FakeClock) -> None:
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    waiting = asyncio.ensure_future(wheel.within(answer, 5))
    await clock.settle()
    waiting.cancel()
    await clock.settle()
    assert waiting.cancelled()
    assert answer.cancelled()
    assert alarms() == 0


# --- limits


async def test_what_is_over_in_time_has_met_no_limit(clock: FakeClock) -> None:
    async with wheel.limit(5):
        await asyncio.sleep(0)
    assert alarms() == 0
    await clock.advance(10)


async def test_a_limit_ends_what_is_in_it(clock: FakeClock) -> None:
    async def body() -> None:
        async with wheel.limit(5):
            await asyncio.sleep(60)

    waiting = asyncio.ensure_future(body())
    await clock.advance(4.9)
    assert not waiting.done()
    await clock.advance(0.1)
    with pytest.raises(TimeoutError):
        await waiting


async def test_no_limit_is_no_limit(clock: FakeClock) -> None:
    async with wheel.limit(None):
        assert alarms() == 0
    await clock.settle()


async def test_a_task_that_is_cancelled_hears_of_no_time_out(clock: FakeClock) -> None:
    """Also if both come together."""

    async def body() -> None:
        async with wheel.limit(5):
            await asyncio.sleep(60)

    waiting = asyncio.ensure_future(body())
    await clock.settle()
    wheel.call_later(4.9, waiting.cancel)
    await clock.advance(6)
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_what_the_body_raises_is_passed_on_though_time_is_over(clock: FakeClock) -> None:
    async def body() -> None:
        async with wheel.limit(5):
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                raise OSError("planted") from None

    waiting = asyncio.ensure_future(body())
    await clock.advance(6)
    with pytest.raises(OSError, match="planted"):
        await waiting
    assert waiting.cancelling() == 0


async def test_the_inner_of_two_limits_ends_alone(clock: FakeClock) -> None:
    async def body() -> str:
        async with wheel.limit(9):
            try:
                async with wheel.limit(3):
                    await asyncio.sleep(60)
            except TimeoutError:
                await asyncio.sleep(1)
                return f"after {clock.elapsed:g} s"
        return "never"

    assert await clock.result(body(), within=20) == "after 4 s"
