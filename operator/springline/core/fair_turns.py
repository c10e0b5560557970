"""How many do something at once, in all and of one namespace, so that none waits for another's.

Turns are given in the order in which they are asked for, but that of a namespace which has all that
it may have: whoever is of another goes first.
"""

import asyncio
from collections import Counter, deque

__all__ = ["FairTurns", "Share"]


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

    def turn(self, namespace: str) -> "Share":
        """Return the turns of one namespace: `async with` waits for one, and gives it back."""
        return Share(self, namespace)

    async def take(self, namespace: str) -> None:
        """Wait for a turn, to be given back. Safe to cancel."""
        if self._may(namespace):
            self._take(namespace)
        else:
            await self._wait(namespace)

    async def _wait(self, namespace: str) -> None:
        given: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        place = (namespace, given)
        self._waiting.append(place)
        try:
            await given
        except asyncio.CancelledError:
            if given.done() and not given.cancelled():
                self.give_back(namespace)  # it came just then
            else:
                self._waiting.remove(place)
            raise

    def _may(self, namespace: str) -> bool:
        return self._free > 0 and self._taken[namespace] < self._most

    def _take(self, namespace: str) -> None:
        self._free -= 1
        self._taken[namespace] += 1

    def give_back(self, namespace: str) -> None:
        """Give a turn back that was taken."""
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


class Share:
    """The turns that one namespace has; `async with` takes one, in any number of tasks."""

    __slots__ = ("_namespace", "_turns")

    def __init__(self, turns: FairTurns, namespace: str) -> None:
        self._turns = turns
        self._namespace = namespace

    async def __aenter__(self) -> None:
        await self._turns.take(self._namespace)

    async def __aexit__(self, *_: object) -> None:
        self._turns.give_back(self._namespace)
