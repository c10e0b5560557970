"""Real time, as the core is given it."""

import asyncio
import sys
import time

import pytest

from springline.clock import SystemClock


def test_monotonic_clock_never_goes_back() -> None:
    clock = SystemClock()
    times = [clock.monotonic() for _ in range(1000)]
    assert times == sorted(times)


@pytest.mark.skipif(sys.platform != "linux", reason="the clock that counts suspension is Linux'")
def test_monotonic_clock_counts_the_time_for_which_the_machine_was_suspended() -> None:
    """Tokens age meanwhile. Python's own monotonic clock stands still."""
    before = time.clock_gettime(time.CLOCK_BOOTTIME)
    assert before <= SystemClock().monotonic() <= time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_a_callback_comes_after_its_time_and_not_before() -> None:
    clock, rung = SystemClock(), asyncio.Event()
    before = time.monotonic()
    clock.call_later(0.01, rung.set)
    clock.call_later(0.01, rung.clear).cancel()
    await rung.wait()
    assert time.monotonic() - before >= 0.01
