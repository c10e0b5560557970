"""Blocking lookups in threads: a bounded number, each question once at a time, in fair turns.

A lookup that gets no answer keeps its thread until the system gives up, long after those who asked
have gone. So threads are scarce: who asks what is being asked already waits for that answer, and a
namespace gets one more thread only while it holds fewer than are free. However many names of one
namespace are never answered, threads remain for those of the others. What is asked is the
business of `system`.
"""

import asyncio
import contextlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

__all__ = ["MOST_LOOKUPS", "LookupNotStartedError", "LookupPool"]

T = TypeVar("T")

MOST_LOOKUPS: Final = 64
"""Threads at once. Names that are answered within 5 ms come to 12,000 a second."""

MOST_SECONDS_TO_WAIT: Final = 5.0
"""How long a lookup waits for its turn."""


class LookupNotStartedError(Exception):
    """A lookup did not get a thread; says why."""

    def __init__(self, why: str) -> None:
        super().__init__(why)
        self.why = why


@dataclass(slots=True, eq=False)
class _Lookup:
    """One question, for all who ask it."""

    question: Hashable
    call: Callable[[], Any]
    askers: set[asyncio.Future[Any]] = field(default_factory=set)
    namespaces: set[str] = field(default_factory=set)
    """Whose queue it is in."""
    is_running: bool = False


class LookupPool:
    """Runs lookups for the tasks of one event loop."""

    def __init__(self, *, most: int = MOST_LOOKUPS) -> None:
        """`most` is how many threads there are at once."""
        self._most = most
        self._lookups: dict[Hashable, _Lookup] = {}
        self._queues: dict[str, deque[_Lookup]] = {}
        """Lookups that wait for a thread, by namespace; whose turn it is comes first."""
        self._held: Counter[str] = Counter()
        """Threads by the namespace for which they were started."""
        self._not_started = 0

    @property
    def running(self) -> int:
        """How many lookups have a thread, whether anybody still waits for them or not."""
        return self._held.total()

    @property
    def waiting(self) -> int:
        """How many lookups wait for a thread."""
        return len(self._lookups) - self.running

    @property
    def not_started(self) -> int:
        """How many times somebody was told that a lookup got no thread."""
        return self._not_started

    async def ask(self, question: Hashable, call: Callable[[], T], *, namespace: str) -> T:
        """Return what `call` returns, or raise what it raises.

        Equal questions share one call. Raises `LookupNotStartedError` if there is no thread for it
        within `MOST_SECONDS_TO_WAIT`. Safe to cancel: a call that has begun goes on, and who asks
        the same meanwhile gets its answer.
        """
        lookup = self._lookups.get(question)
        if lookup is None:
            lookup = self._lookups[question] = _Lookup(question, call)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        lookup.askers.add(answer)
        if not lookup.is_running and namespace not in lookup.namespaces:
            lookup.namespaces.add(namespace)
            self._queues.setdefault(namespace, deque()).append(lookup)
            self._start_next()
        timer = loop.call_later(MOST_SECONDS_TO_WAIT, self._give_up, lookup, answer)
        try:
            return await answer
        finally:
            timer.cancel()
            lookup.askers.discard(answer)
            if not lookup.askers and not lookup.is_running:
                self._forget(lookup)

    def _give_up(self, lookup: _Lookup, answer: asyncio.Future[Any]) -> None:
        if lookup.is_running or answer.done():
            return
        self._not_started += 1
        answer.set_exception(
            LookupNotStartedError(
                f"waited {MOST_SECONDS_TO_WAIT:g} s for its turn; other lookups without an answer:"
                f" {self.running}"
            )
        )

    def _start_next(self) -> None:
        """Start what may be started now, one of each namespace in turn."""
        while (lookup := self._next()) is not None:
            try:
                self._start(*lookup)
            except RuntimeError:  # the system has no more threads
                self._forget(lookup[0])
                self._not_started += len(lookup[0].askers)
                failure = LookupNotStartedError("found no thread: the system has no more")
                _tell(lookup[0], None, failure)

    def _next(self) -> tuple[_Lookup, str] | None:
        free = self._most - self.running
        for namespace, queue in self._queues.items():
            if self._held[namespace] < free:
                lookup = queue.popleft()
                del self._queues[namespace]
                if queue:
                    self._queues[namespace] = queue  # behind the others
                self._leave_queues(lookup, beside=namespace)
                return lookup, namespace
        return None

    def _start(self, lookup: _Lookup, namespace: str) -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            result, failure = None, None
            try:
                result = lookup.call()
            except Exception as error:  # noqa: BLE001 - the top of a thread: who asked is told
                failure = error
            with contextlib.suppress(RuntimeError):  # the loop has ended, and all who asked
                loop.call_soon_threadsafe(self._ended, lookup, namespace, result, failure)

        # A daemon, because the process must not wait for a name server that never answers.
        threading.Thread(target=work, name="name-lookup", daemon=True).start()
        lookup.is_running = True
        self._held[namespace] += 1

    def _ended(
        self, lookup: _Lookup, namespace: str, result: Any, failure: Exception | None
    ) -> None:
        self._held[namespace] -= 1
        if not self._held[namespace]:
            del self._held[namespace]
        self._lookups.pop(lookup.question, None)
        _tell(lookup, result, failure)
        self._start_next()

    def _forget(self, lookup: _Lookup) -> None:
        if self._lookups.get(lookup.question) is lookup:
            del self._lookups[lookup.question]
        self._leave_queues(lookup)

    def _leave_queues(self, lookup: _Lookup, *, beside: str | None = None) -> None:
        """Take a lookup out of the queues that it waits in, but for one that it has left."""
        for namespace in lookup.namespaces - {beside}:
            if (queue := self._queues.get(namespace)) is None:
                continue
            queue.remove(lookup)
            if not queue:
                del self._queues[namespace]
        lookup.namespaces.clear()


def _tell(lookup: _Lookup, result: Any, failure: Exception | None) -> None:
    for answer in lookup.askers:
        if answer.done():
            continue
        if failure is not None:
            answer.set_exception(failure)
        else:
            answer.set_result(result)
