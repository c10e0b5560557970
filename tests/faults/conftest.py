"""Whatever a peer does, nothing is left behind."""

from collections.abc import AsyncIterator

import pytest

from support import leaks


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task or a socket behind; a module may allow another time."""
    async with leaks.checked():
        yield
