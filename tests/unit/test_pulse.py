"""The event loop's pulse."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from springline.pulse import Pulse
from support.fake_clock import FakeClock


class HeldUp(FakeClock):
    """A clock whose sleepers wake late."""

    def __init__(self) -> None:
        super().__init__()
        self.late = 0.0

    async def sleep(self, seconds: float) -> None:
        await super().sleep(seconds + self.late)


@pytest.fixture
async def clock() -> AsyncIterator[HeldUp]:
    clock = HeldUp()
    with clock.drives(asyncio.get_running_loop()):
        yield clock


@pytest.fixture
async def pulse(clock: HeldUp) -> AsyncIterator[Pulse]:
    pulse = Pulse(clock)
    running = asyncio.get_running_loop().create_task(pulse.run())
    await clock.settle()
    yield pulse
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running


async def test_a_loop_that_comes_round_in_time_has_no_lag(clock: HeldUp, pulse: Pulse) -> None:
    await clock.advance(90.5)
    assert pulse.lag() == 0.0
    assert pulse.problem() is None


async def test_the_longest_lag_is_remembered_for_a_minute(clock: HeldUp, pulse: Pulse) -> None:
    clock.late = 2.5
    await clock.advance(4.0)
    clock.late = 0.0
    await clock.advance(40.0)
    assert pulse.lag() == 2.5
    await clock.advance(30.0)
    assert pulse.lag() == 0.0


async def test_a_loop_that_is_late_now_shows_it_at_once(clock: HeldUp, pulse: Pulse) -> None:
    clock.late = 100.0
    await clock.advance(21.0)
    assert 19.0 <= pulse.lag() <= 20.0
    assert pulse.problem() is None


async def test_a_loop_that_does_not_come_round_is_a_problem(clock: HeldUp, pulse: Pulse) -> None:
    """Until it does."""
    clock.late = 100.0
    await clock.advance(51.0)
    problem = pulse.problem()
    assert problem is not None
    assert "has not come round" in problem
    clock.late = 0.0
    await clock.advance(60.0)
    assert pulse.problem() is None


def test_nothing_is_wrong_before_it_is_felt() -> None:
    pulse = Pulse(FakeClock())
    assert pulse.lag() == 0.0
    assert pulse.problem() is None
