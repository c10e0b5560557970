"""Every test of the contract suite runs once for each protocol of the table."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from springline.protocols import PROTOCOLS
from support import leaks
from support.harness import Harness, harness_of

HARNESSES = {name: harness_of(name) for name in PROTOCOLS}


@contextlib.asynccontextmanager
async def _used(protocol: str) -> AsyncIterator[Harness]:
    async with leaks.checked():
        yield HARNESSES[protocol]()


@pytest.fixture(params=HARNESSES)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """One driver with its peer; the test fails if it leaves a task or a socket behind."""
    async with _used(request.param) as harness:
        yield harness


@pytest.fixture(params=[name for name, make in HARNESSES.items() if make().renews])
async def renewing(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """The same, of the protocols whose connections can be renewed in place."""
    async with _used(request.param) as harness:
        yield harness


@pytest.fixture(params=[name for name, make in HARNESSES.items() if make().confirms_renewals])
async def confirming(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """The same, of the protocols whose peers say yes or no to a renewal."""
    async with _used(request.param) as harness:
        yield harness
