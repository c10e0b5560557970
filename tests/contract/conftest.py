"""Every test of the contract suite runs once for each driver."""

from collections.abc import AsyncIterator

import pytest

from support import leaks
from support.harness import Amqp091Harness, Harness

HARNESSES = {"amqp091": Amqp091Harness}


@pytest.fixture(params=HARNESSES)
async def harness(request: pytest.FixtureRequest) -> AsyncIterator[Harness]:
    """One driver with its peer; the test fails if it leaves a task or a socket behind."""
    async with leaks.checked():
        yield HARNESSES[request.param]()
