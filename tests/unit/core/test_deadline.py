"""Times that count by two clocks: near by the first of them, over by the monotonic one alone."""

from datetime import datetime, timedelta

import pytest

from springline.core import deadline
from springline.core.deadline import Deadline
from support.fake_clock import EIGHT, FakeClock

MINUTE = timedelta(minutes=1)


def at_nine(clock: FakeClock) -> Deadline:
    """A deadline in an hour, as it is read now."""
    return Deadline.of(EIGHT + 60 * MINUTE, counted_from=deadline.instant(clock))


@pytest.mark.parametrize(
    ("ahead", "passed", "near", "over"),
    [
        pytest.param(0, 59, False, False, id="before it"),
        pytest.param(0, 60, True, True, id="at it"),
        pytest.param(60, 0, True, False, id="the wall clock was set forward to it"),
        pytest.param(-60, 60, True, True, id="the wall clock was set back from it"),
        pytest.param(-60, 59, False, False, id="the wall clock was set back before it"),
        pytest.param(-(10**6), 59, False, False, id="the wall clock was set back by years"),
    ],
)
async def test_what_either_clock_says(
    clock: FakeClock, ahead: int, passed: int, near: bool, over: bool
) -> None:
    """All in minutes."""
    ends = at_nine(clock)
    clock.ahead = ahead * MINUTE
    await clock.advance(passed * 60.0)
    assert (ends.is_near(clock), ends.is_over(clock)) == (near, over)


async def test_seconds_are_left_by_the_first_clock_and_by_the_monotonic_one(
    clock: FakeClock,
) -> None:
    ends = at_nine(clock)
    clock.ahead = 10 * MINUTE
    await clock.advance(60.0)
    assert (ends.until_near(clock), ends.until_over(clock)) == (49 * 60.0, 59 * 60.0)


async def test_a_margin_makes_it_near_earlier(clock: FakeClock) -> None:
    ends = at_nine(clock)
    await clock.advance(50 * 60.0)
    assert not ends.is_near(clock, margin=9 * MINUTE)
    assert ends.is_near(clock, margin=10 * MINUTE)


@pytest.mark.parametrize("at", [EIGHT - 60 * MINUTE, EIGHT], ids=["long ago", "now"])
async def test_what_was_over_when_it_was_read_is_over(clock: FakeClock, at: datetime) -> None:
    ends = Deadline.of(at, counted_from=deadline.instant(clock))
    assert ends.is_over(clock)


async def test_what_nobody_received_counts_by_the_wall_clock_alone(clock: FakeClock) -> None:
    ends = Deadline.of(EIGHT + 60 * MINUTE, counted_from=None)
    clock.ahead = 60 * MINUTE
    assert ends.is_near(clock)
    assert ends.is_over(clock)
