"""Real time. The core is given this one; tests give it another."""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime

from springline import wheel

__all__ = ["SystemClock"]

# Linux has one that also counts the time for which the machine was suspended: tokens age meanwhile.
_AGEING = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class SystemClock:
    """The process's clock, as `core.ports.Clock`."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.clock_gettime(_AGEING)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def call_later(
        self, seconds: float, callback: Callable[[], object], *, early: bool = False
    ) -> wheel.Timer:
        return wheel.call_later(seconds, callback, early=early)
