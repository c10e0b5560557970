"""Calls that block, in threads that have ended when the one who waits for them goes on."""

import asyncio
from collections.abc import Callable
from typing import ParamSpec, TypeVar

__all__ = ["to_its_end"]

P = ParamSpec("P")
T = TypeVar("T")


async def to_its_end(call: Callable[P, T], *given: P.args, **named: P.kwargs) -> T:
    """Call in a thread and return what it returns.

    A thread cannot be cancelled. Cancelled, this waits until the call has ended, so that a server
    that was just being started is there for the one who stops it. A second cancellation waits for
    nothing.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call, *given, **named))
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait({work})
        if not work.cancelled():
            work.exception()  # the cancellation is what counts; this one is looked at, too
        raise
