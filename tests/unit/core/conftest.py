"""Every test here decides what time it is."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from support.fake_clock import FakeClock
from support.stage import Stage, staged


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    """A clock that stands still, and the event loop with it."""
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        yield clock


@pytest.fixture
async def stage(clock: FakeClock) -> AsyncIterator[Stage]:
    """A running session that nothing has been declared for yet."""
    async with staged(clock) as stage:
        yield stage
