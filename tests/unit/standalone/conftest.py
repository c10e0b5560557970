"""Every test here decides what time it is, unless it needs the real one."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support.fake_clock import FakeClock
from support.standalone import Scene, playing


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    """A clock that stands still, and the event loop with it."""
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        yield clock


@pytest.fixture
async def scene(clock: FakeClock, tmp_path: Path) -> AsyncIterator[Scene]:
    """Standalone mode with a status directory and a broker that the test plays."""
    status_dir = tmp_path / "status"
    status_dir.mkdir()
    async with playing(clock, status_dir) as scene:
        yield scene
