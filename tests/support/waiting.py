"""Wait for what a test expects, with a deadline, instead of sleeping and hoping."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

__all__ = ["eventually"]

T = TypeVar("T")

_POLL_SECONDS = 0.01


async def eventually(predicate: Callable[[], T], *, timeout: float = 10.0, what: str = "") -> T:
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
