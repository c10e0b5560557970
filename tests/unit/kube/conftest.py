"""A small API server of ours to talk HTTP to, which leaves nothing behind, and a clock."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from springline.kube.client import Client
from support import fake_apiserver, leaks
from support.fake_apiserver import FakeAPIServer
from support.fake_clock import FakeClock


@pytest.fixture
async def clock() -> AsyncIterator[FakeClock]:
    """A clock that stands still, and the event loop with it."""
    clock = FakeClock()
    with clock.drives(asyncio.get_running_loop()):
        yield clock


@pytest.fixture
async def server() -> AsyncIterator[FakeAPIServer]:
    """A running API server without objects."""
    async with leaks.checked(), fake_apiserver.serving() as server:
        yield server


@pytest.fixture
async def client(server: FakeAPIServer, tmp_path: Path) -> AsyncIterator[Client]:
    """A client of that server."""
    async with fake_apiserver.client_of(server, tmp_path) as client:
        yield client
