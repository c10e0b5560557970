"""How many do something at once, in all and of one namespace, so that none waits for another's.

Turns are given in the order in which they are asked for, but that of a namespace which has all that
it may have: whoever is of another goes first.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import AsyncIterator

__all__ = ["FairTurns"]


class FairTurns:
    """Turns for tasks of one event loop."""

    def __init__(self, at_once: int, *, share: float = 0.5) -> None:
        """`at_once` is how many there are in all, of which one namespace has `share` at most."""
        self._free = at_once
        self._most = max(int(at_once * share), 1)
        self._taken: Counter[str] = Counter()
        self._waiting: deque[tuple[str, asyncio.Future[None]]] = deque()

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    @contextlib.asynccontextmanager
    async def turn(self, namespace: str) -> AsyncIterator[None]:
        """Wait for a turn, and give it back at the end. Safe to cancel."""
        if self._may(namespace):
            self._take(namespace)
        else:
            await self._wait(namespace)
        try:
            yield
        finally:
            self._give_back(namespace)

    async def _wait(self, namespace: str) -> None:
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (namespace, given)
        self._waiting.append(place)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self._give_back(namespace)  # it came just then
            else:
                self._waiting.remove(place)
            raise

    def _may(self, namespace: str) -> bool:
        return self._free > 0 and self._taken[namespace] < self._most

    def _take(self, namespace: str) -> None:
        self._free -= 1
        self._taken[namespace] += 1

    def _give_back(self, namespace: str) -> None:
        self._free += 1
        self._taken[namespace] -= 1
        if not self._taken[namespace]:
            del self._taken[namespace]
        self._hand_out()

    def _hand_out(self) -> None:
        """Give the turn that is free to the first who may have it."""
        for position, (namespace, given) in enumerate(self._waiting):
            if not self._free:
                return
            if self._may(namespace) and not given.done():
                del self._waiting[position]
                self._take(namespace)
                given.set_result(None)
                return
