"""Whose turn it is, and how fast turns may follow each other.

Nothing here writes or knows what a turn is for: whoever takes a turn does.
"""

import asyncio
import contextlib
import heapq
import itertools
from collections.abc import Callable
from typing import Final

from springline.api.meta import Identity
from springline.core import ports

__all__ = ["Pace", "Queue", "Turns"]

_SLACK = 1000
"""Entries of the heap that may be out of date before they are looked for."""

_CONCURRENT = 16
"""Writes in flight together; more do not make an API server faster."""

_PAUSES: Final = (0.5, 1.0, 2.0, 5.0)
"""Seconds between tries while the API server does not answer; the last one again and again."""

_LONGEST_PAUSE = 120.0
"""However long the API server asks to wait."""


class Turns:
    """Objects and when their turn comes. An object has at most one turn: the soonest it was given.

    The soonest turn is found at once however many there are, and an object that is given turns
    all the time takes no more room than one that is not.
    """

    def __init__(self) -> None:
        self._at: dict[Identity, float] = {}
        self._heap: list[tuple[float, int, Identity]] = []
        """Every turn, and turns that have been taken, dropped or moved since."""
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._at)

    def put(self, identity: Identity, *, at: float) -> bool:
        """Give the object a turn at that time, unless it has a sooner one.

        Return whether it is the next of all now.
        """
        known = self._at.get(identity)
        if known is not None and known <= at:
            return False
        self._at[identity] = at
        heapq.heappush(self._heap, (at, next(self._numbers), identity))
        if len(self._heap) > 2 * len(self._at) + _SLACK:
            self._heap = [each for each in self._heap if self._is_current(each)]
            heapq.heapify(self._heap)
        return self._heap[0][2] == identity

    def drop(self, identity: Identity) -> None:
        """Take the object's turn away. Idempotent."""
        self._at.pop(identity, None)

    @property
    def next_at(self) -> float | None:
        """When the next turn comes; None if there is none."""
        while self._heap and not self._is_current(self._heap[0]):
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, *, now: float) -> Identity | None:
        """Take the next turn if its time has come."""
        at = self.next_at
        if at is None or at > now:
            return None
        _, _, identity = heapq.heappop(self._heap)
        del self._at[identity]
        return identity

    def _is_current(self, turn: tuple[float, int, Identity]) -> bool:
        at, _, identity = turn
        return self._at.get(identity) == at


class Pace:
    """How fast writes may follow each other, by how the last ones went.

    While the API server does not answer, one after the other is tried, with a pause in between; as
    soon as it answers, all that has gathered follows.
    """

    def __init__(self, clock: ports.Clock) -> None:
        self._clock = clock
        self._failures = 0
        self.resume_at = float("-inf")
        """Until when nothing may be tried."""
        self.failing_since: float | None = None
        """When the first of the failures in a row came; None while there are none."""

    def has_room(self, *, in_flight: int) -> bool:
        """Whether one more may be in flight."""
        return in_flight < (1 if self._failures else _CONCURRENT)

    def failed(self, *, retry_after: float | None = None) -> float:
        """Note that there was no answer, and return for how many seconds to pause.

        `retry_after` is what the API server asked for.
        """
        now = self._clock.monotonic()
        if self.failing_since is None:
            self.failing_since = now
        if now >= self.resume_at:  # those that were in flight together count once
            pause = _PAUSES[min(self._failures, len(_PAUSES) - 1)]
            self._failures += 1
            self.resume_at = now + pause
        if retry_after is not None:
            self.resume_at = max(self.resume_at, now + min(retry_after, _LONGEST_PAUSE))
        return self.resume_at - now

    def answered(self) -> None:
        """Note that the API server answers."""
        self._failures = 0
        self.resume_at = float("-inf")
        self.failing_since = None


class Queue:
    """Turns as they come and as the pace allows, for one task that waits for them."""

    def __init__(self, clock: ports.Clock, *, in_flight: Callable[[], int]) -> None:
        """`in_flight` says how many turns have been taken that are not over; see `ended`."""
        self._clock = clock
        self._in_flight = in_flight
        self._turns = Turns()
        self._wake = asyncio.Event()
        self.pace = Pace(clock)

    def put(self, identity: Identity, *, at: float) -> None:
        """Give the object a turn at that time, unless it has a sooner one."""
        if self._turns.put(identity, at=at):
            self._wake.set()

    def drop(self, identity: Identity) -> None:
        """Take the object's turn away. Idempotent."""
        self._turns.drop(identity)

    def ended(self) -> None:
        """Note that a turn is over, so that there may be room for another one."""
        self._wake.set()

    async def until_due(self) -> None:
        """Return when the next turn has come and there is room for it."""
        while True:
            self._wake.clear()
            at = self._turns.next_at
            if at is None or not self._has_room:
                await self._wake.wait()
                continue
            seconds = max(at, self.pace.resume_at) - self._clock.monotonic()
            if seconds <= 0:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._wake.wait()

    def take(self) -> Identity | None:
        """Take the next turn, if it has come and there is room for it."""
        now = self._clock.monotonic()
        if now < self.pace.resume_at or not self._has_room:
            return None
        return self._turns.take(now=now)

    @property
    def _has_room(self) -> bool:
        return self.pace.has_room(in_flight=self._in_flight())
