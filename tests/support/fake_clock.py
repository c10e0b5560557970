"""Time and chance that a test decides."""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Final, TypeVar

from springline import wheel

__all__ = ["EIGHT", "FakeClock", "FixedRandom"]

T = TypeVar("T")

EIGHT: Final = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)

_MONOTONIC_AT_START = 1000.0  # not 0, so that a time is never mistaken for none
_ROUNDS = 100  # far more than the longest chain of tasks that wake each other


class FixedRandom(Random):
    """Draws the same share of every range: 0 its lower end, 0.5 its middle, 1 its upper end."""

    def __init__(self, share: float = 0.5) -> None:
        super().__init__(0)
        self.share = share

    def random(self) -> float:
        return self.share


class FakeClock:
    """`core.ports.Clock` that stands still until `advance`.

    While it drives an event loop, the loop's own timers follow it too: `asyncio.sleep` and
    `asyncio.timeout` end when the test says so, in the order of their times.
    """

    def __init__(self) -> None:
        self._monotonic = _MONOTONIC_AT_START
        self._timers: list[tuple[float, int, asyncio.TimerHandle]] = []
        self._order = itertools.count()
        self.ahead = timedelta()
        """By how much somebody has set the wall clock forward, or back."""

    def now(self) -> datetime:
        return EIGHT + timedelta(seconds=self._monotonic - _MONOTONIC_AT_START) + self.ahead

    def monotonic(self) -> float:
        return self._monotonic

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning of the test."""
        return self._monotonic - _MONOTONIC_AT_START

    async def sleep(self, seconds: float) -> None:
        if asyncio.get_running_loop().time() != self._monotonic:
            raise RuntimeError("this clock does not drive the running event loop")
        await asyncio.sleep(max(seconds, 0.0))

    def call_later(
        self, seconds: float, callback: Callable[[], object], *, early: bool = False
    ) -> asyncio.TimerHandle:
        """Call back at the exact time; with `early`, at the last tick until then."""
        now = self._monotonic
        if early:
            seconds = now + seconds - (now + seconds) % wheel.TICK - now
        return asyncio.get_running_loop().call_at(now + max(seconds, 0.0), callback)

    @contextlib.contextmanager
    def drives(self, loop: asyncio.AbstractEventLoop) -> Iterator[None]:
        """Put this clock in the place of the loop's own."""
        real_time, real_call_at = loop.time, loop.call_at

        def call_at(when: float, *args: Any, **kwargs: Any) -> asyncio.TimerHandle:
            handle = real_call_at(when, *args, **kwargs)
            heapq.heappush(self._timers, (when, next(self._order), handle))
            return handle

        loop.time = self.monotonic  # type: ignore[method-assign]  # there is no other way in
        loop.call_at = call_at  # type: ignore[method-assign, assignment]  # likewise
        try:
            yield
        finally:
            loop.time = real_time  # type: ignore[method-assign]  # likewise
            loop.call_at = real_call_at  # type: ignore[method-assign]  # likewise

    async def settle(self) -> None:
        """Let every task go on as far as it can without time passing."""
        for _ in range(_ROUNDS):
            await asyncio.sleep(0)

    async def advance(self, seconds: float) -> None:
        """Let so much time pass: what waits for it wakes in order, and each time tasks settle."""
        end = self._monotonic + seconds
        await self.settle()
        while self._timers and self._timers[0][0] <= end:
            when, _, handle = heapq.heappop(self._timers)
            if not handle.cancelled() and when > self._monotonic:
                self._monotonic = when
                await self.settle()
        self._monotonic = end
        await self.settle()

    async def result(self, awaitable: Awaitable[T], *, within: float = 0.0) -> T:
        """Return what comes of `awaitable` within so many seconds, or fail: never hang."""
        task = asyncio.ensure_future(awaitable)
        await self.advance(within)
        if not task.done():
            task.cancel()
            raise AssertionError(f"still waiting after {within:g} s: {task}")
        return task.result()
