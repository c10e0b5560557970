"""The bus that carries the events of all sessions to its sinks and to any number of readers.

A sink handles an event before the session takes its next step (events.py), so it must be quick. A
reader follows at its own pace, and nothing waits for it: its queue is bounded, and one that is too
slow learns at that place how many events it has missed. A sink that fails keeps nothing from the
others. The bus knows no Kubernetes, no terminal and no log.
"""

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from springline.core.events import Event, EventSink
from springline.core.values import SessionKey

__all__ = ["EventBus", "EventReader", "Missed"]

logger = logging.getLogger(__name__)

_LIMIT: Final = 1000
"""How many events may wait for one reader."""


@dataclass(frozen=True, slots=True)
class Missed:
    """So many events came here that the reader was too slow for; never 0."""

    count: int


class EventBus:
    """Hands every event on, as `core.events.EventSink`."""

    def __init__(self, *sinks: EventSink) -> None:
        """The sinks handle each event in this order, one after the other."""
        self._sinks = sinks
        self._readers: set[EventReader] = set()

    async def report(self, event: Event) -> None:
        """Put the event before every reader, which waits for none, and have each sink handle it."""
        for reader in self._readers:
            reader.put(event)
        for sink in self._sinks:
            try:
                await sink.report(event)
            except Exception:  # a sink's defect must keep nothing from the others
                logger.exception("event sink failed", extra={"session": event.key})

    def follow(self, key: SessionKey | None = None, *, limit: int = _LIMIT) -> "EventReader":
        """Return a reader of what happens from now on, to one session or to all.

        It joins as soon as it is there and leaves at the end of its `with` block, or by `close`. At
        most `limit` events wait for it, at least 1.
        """
        reader = EventReader(self._readers, key, limit=limit)
        self._readers.add(reader)
        return reader


class EventReader:
    """Follows a bus: `async for` gives what happened, in order, until it is closed. For one task.

    with bus.follow() as reader:
        async for event in reader:
            ...
    """

    __slots__ = ("_events", "_is_closed", "_key", "_limit", "_missed", "_readers", "_waiting")

    def __init__(self, readers: "set[EventReader]", key: SessionKey | None, *, limit: int) -> None:
        if limit < 1:
            raise ValueError(f"a reader needs room for at least one event, not for {limit}")
        self._readers = readers
        self._key = key
        self._limit = limit
        self._events: deque[Event] = deque()
        self._missed = 0
        self._is_closed = False
        self._waiting: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        """Have the event wait for the reader, in the place of the oldest if there is no room."""
        if self._is_closed or (self._key is not None and event.key != self._key):
            return
        if len(self._events) >= self._limit:
            self._events.popleft()
            self._missed += 1
        self._events.append(event)
        self._wake()

    def close(self) -> None:
        """Leave the bus. What waits can still be read; then the reading ends. Idempotent."""
        self._is_closed = True
        self._readers.discard(self)
        self._wake()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __aiter__(self) -> AsyncIterator[Event | Missed]:
        return self

    async def __anext__(self) -> Event | Missed:
        """Return the next event, once there is one. Safe to cancel: none is lost."""
        while not self._events:
            if self._is_closed:
                raise StopAsyncIteration
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        if self._missed:
            # All of them were older than what waits now.
            missed, self._missed = Missed(self._missed), 0
            return missed
        return self._events.popleft()

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
