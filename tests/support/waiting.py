"""Wait for what a test expects, with a deadline, instead of sleeping and hoping."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "eventually"]

T = TypeVar("T")

PATIENCE = 60.0
"""Seconds that a test waits for what it expects. A failure may cost them; a success is faster.

It is many times what an idle machine takes, because a machine that others load takes many times as
long. A test that shortens it states a limit of its own, and says so.
"""

_POLL_SECONDS = 0.01


async def eventually(predicate: Callable[[], T], *, timeout: float = PATIENCE, what: str = "") -> T:
    """Return the first true value of `predicate`, asked again and again on this event loop.

    Raises `AssertionError` naming `what` after `timeout` seconds.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + timeout
    while not (value := predicate()):
        if loop.time() > deadline:
            raise AssertionError(f"not within {timeout:g} s: {what or predicate}; last: {value!r}")
        await asyncio.sleep(_POLL_SECONDS)
    return value
