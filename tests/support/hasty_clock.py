"""A clock for tests with real sockets: it never lets anybody wait.

`FakeClock` drives the event loop's timers, which real input and output need for themselves.
"""

import asyncio
from collections.abc import Callable
from datetime import datetime

from support.fake_clock import EIGHT

__all__ = ["HastyClock"]


class HastyClock:
    """Its sleeps are over at once. Time passes only by sleeping."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.now_monotonic = 1000.0

    def now(self) -> datetime:
        return EIGHT

    def monotonic(self) -> float:
        return self.now_monotonic

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_monotonic += seconds
        await asyncio.sleep(0)

    def call_later(
        self,
        seconds: float,
        callback: Callable[[], object],
        *,
        early: bool = False,  # noqa: ARG002 - it is early in any case
    ) -> asyncio.TimerHandle:
        self.slept.append(seconds)
        self.now_monotonic += seconds
        return asyncio.get_running_loop().call_later(0.0, callback)
