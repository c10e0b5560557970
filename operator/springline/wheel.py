"""Timers of many sessions on one wheel: one timer of the event loop at a time, whatever waits.

Time goes in ticks, and what falls into one tick rings in one turn of the event loop. So a timer is
up to a tick late, and never early unless it may be. Use it for waits that are long, or over before
their limit almost always. `asyncio.timeout` is for what needs precision; each of its limits costs a
heap operation and a handle in the event loop.

Each event loop has a wheel of its own, made when it is first needed. All functions belong to the
thread of the running loop.
"""

import asyncio
import functools
import heapq
import itertools
import logging
import math
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self, TypeVar

__all__ = ["TICK", "Limit", "Timer", "call_at", "call_later", "limit", "sleep", "within"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

TICK: Final = 0.125
"""In seconds. A power of two, so that whole seconds are ticks too."""

_MOST_STALE: Final = 64
"""How many ticks with nothing on them the heap may hold, beside as many as are in use."""


class Timer:
    """One callback that is to come. It is over when that has begun, or when it is cancelled."""

    __slots__ = ("_callback", "_slot", "when")

    def __init__(self, when: float, callback: Callable[[], object], slot: "_Slot") -> None:
        self.when = when
        """The time that was asked for, by the event loop's clock."""
        self._callback: Callable[[], object] | None = callback
        self._slot: _Slot | None = slot

    @property
    def is_pending(self) -> bool:
        """Whether it is still to come."""
        return self._slot is not None

    def cancel(self) -> None:
        """Have nothing called. Idempotent, and without effect once it is over."""
        slot = self._slot
        if slot is not None:
            self._slot = self._callback = None
            del slot[self]
            if not slot:
                slot.wheel.drop(slot)

    def ring(self) -> None:
        """Call what is to be called, unless that is over; only the wheel does it."""
        callback, slot = self._callback, self._slot
        if callback is None or slot is None:
            return  # cancelled by a callback that came before
        self._slot = self._callback = None
        del slot[self]
        try:
            callback()
        except Exception:  # a defect of one does not stop the others
            logger.exception("timer failed unexpectedly")


class _Slot(dict[Timer, None]):
    """The timers of one tick, in the order in which they came."""

    __slots__ = ("tick", "wheel")

    def __init__(self, tick: int, wheel: "_Wheel") -> None:
        super().__init__()
        self.tick = tick
        self.wheel = wheel


class _Wheel:
    """The timers of one event loop."""

    __slots__ = ("_alarm", "_alarm_tick", "_slots", "_ticks")

    def __init__(self) -> None:
        self._slots: dict[int, _Slot] = {}
        self._ticks: list[int] = []
        """A heap with the tick of each slot, and some of slots that are gone."""
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_tick = 0

    def add(
        self,
        loop: asyncio.AbstractEventLoop,
        when: float,
        now: float,
        callback: Callable[[], object],
        *,
        early: bool,
    ) -> Timer:
        """Have `callback` called at that time."""
        if when <= now:
            tick = math.floor(now / TICK)  # what is due need not wait for the next tick
        else:
            tick = math.floor(when / TICK) if early else math.ceil(when / TICK)
        slot = self._slots.get(tick)
        if slot is None:
            slot = self._slots[tick] = _Slot(tick, self)
            heapq.heappush(self._ticks, tick)
            if self._alarm is None or tick < self._alarm_tick:
                self._arm(loop)
        timer = Timer(when, callback, slot)
        slot[timer] = None
        return timer

    def drop(self, slot: _Slot) -> None:
        """Forget a slot that has nothing on it any more."""
        if self._slots.get(slot.tick) is not slot:
            return  # it was forgotten before
        del self._slots[slot.tick]
        if not self._slots:
            self._ticks.clear()
            self._disarm()
        elif len(self._ticks) > 2 * len(self._slots) + _MOST_STALE:
            self._ticks = list(self._slots)
            heapq.heapify(self._ticks)

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        """Have the event loop call at the first tick on which there is something."""
        while self._ticks and self._ticks[0] not in self._slots:
            heapq.heappop(self._ticks)
        if self._alarm is not None and self._ticks and self._ticks[0] == self._alarm_tick:
            return
        self._disarm()
        if self._ticks:
            self._alarm_tick = self._ticks[0]
            self._alarm = loop.call_at(self._alarm_tick * TICK, self._ring, loop)

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        """Call everything whose tick has come."""
        self._alarm = None
        # The event loop may call a little early, and late by any time.
        due = math.floor(loop.time() / TICK)
        slots: list[_Slot] = []
        while self._ticks and self._ticks[0] <= due:
            slot = self._slots.get(heapq.heappop(self._ticks))
            if slot is not None:
                slots.append(slot)
        timers = sorted(itertools.chain.from_iterable(slots), key=_when)
        try:
            for timer in timers:
                timer.ring()
        finally:
            self._tidy(slots)
            self._arm(loop)

    def _tidy(self, slots: list[_Slot]) -> None:
        """Forget slots that have rung, but for what came to them meanwhile."""
        for slot in slots:
            if slot:
                heapq.heappush(self._ticks, slot.tick)
            else:
                self.drop(slot)


def _when(timer: Timer) -> float:
    return timer.when


_wheels: dict[asyncio.AbstractEventLoop, _Wheel] = {}
"""By event loop. Those of closed loops go when the next one is made."""


def _wheel_of(loop: asyncio.AbstractEventLoop) -> _Wheel:
    wheel = _wheels.get(loop)
    if wheel is None:
        for each in tuple(_wheels):
            if each.is_closed():
                _wheels.pop(each, None)
        wheel = _wheels[loop] = _Wheel()
    return wheel


def call_at(when: float, callback: Callable[[], object], *, early: bool = False) -> Timer:
    """Call back once when the running event loop's clock comes to `when`, or up to a tick later.

    With `early` it is up to a tick before that, and not later. What is due already is called in a
    later turn of the event loop. Timers of one tick are called in the order of their times. What
    `callback` raises is logged. It takes as much time to add or to cancel one as it takes among a
    thousand.
    """
    loop = asyncio.get_running_loop()
    return _wheel_of(loop).add(loop, when, loop.time(), callback, early=early)


def call_later(seconds: float, callback: Callable[[], object], *, early: bool = False) -> Timer:
    """Call back once after so many seconds; else as `call_at`."""
    loop = asyncio.get_running_loop()
    now = loop.time()
    return _wheel_of(loop).add(loop, now + seconds, now, callback, early=early)


async def sleep(seconds: float, *, early: bool = False) -> None:
    """Return after so many seconds; else as `call_at`. Safe to cancel."""
    over: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    timer = call_later(seconds, functools.partial(_wake, over), early=early)
    try:
        await over
    finally:
        timer.cancel()


async def within(answer: "asyncio.Future[T]", seconds: float) -> T:
    """Return what comes of a future, or raise `TimeoutError` after so many seconds.

    The future is the caller's own: it gets the `TimeoutError` itself, and is cancelled with the
    wait. It costs no timer where it is done already. Safe to cancel.
    """
    if answer.done():
        return answer.result()
    timer = call_later(seconds, functools.partial(_expire, answer))
    try:
        return await answer
    finally:
        timer.cancel()


def _wake(over: "asyncio.Future[None]") -> None:
    if not over.done():
        over.set_result(None)


def _expire(answer: "asyncio.Future[T]") -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


class Limit:
    """An asynchronous context manager that ends what is in it, as `asyncio.timeout` does."""

    __slots__ = ("_cancelling", "_has_expired", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float | None) -> None:
        self._seconds = seconds
        self._task: asyncio.Task[object] | None = None
        self._timer: Timer | None = None
        self._cancelling = 0
        self._has_expired = False

    async def __aenter__(self) -> Self:
        if self._seconds is not None:
            task = asyncio.current_task()
            if task is None:
                raise RuntimeError("a limit needs a task")
            self._task, self._cancelling = task, task.cancelling()
            self._timer = call_later(self._seconds, self._expire)
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        task, timer = self._task, self._timer
        self._task = self._timer = None
        if timer is None or task is None:
            return
        timer.cancel()
        # Whoever else cancels the task wants it to end, not to hear of a time-out.
        is_ours = self._has_expired and task.uncancel() <= self._cancelling
        if is_ours and exc_type is asyncio.CancelledError:
            raise TimeoutError from exc

    def _expire(self) -> None:
        if self._task is not None:
            self._has_expired = True
            self._task.cancel()


def limit(seconds: float | None) -> Limit:
    """Return a context manager whose body has so many seconds, None for as many as it takes.

    After that the task is cancelled in it, and the context manager raises `TimeoutError`, up to a
    tick late.
    """
    return Limit(seconds)
