"""What a scrape is answered: what was counted, and what there is now.

A scrape has two halves: `Collector.collect` reads the state and belongs on the event loop,
`Snapshot.render` makes series of it and writes them, and may run in a thread.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Protocol

from prometheus_client import Metric

from springline.core.view import SessionView
from springline.metrics import each
from springline.metrics.exposition import Snapshot
from springline.metrics.families import LookedUp, State, Unwritten, families
from springline.metrics.registry import Metrics

__all__ = ["Backlog", "Collector", "Comparison", "Lookups"]


class Backlog(Protocol):
    """Knows what status is still to be written."""

    @property
    def waiting(self) -> int:
        """How many objects have a status that is not written yet."""

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest change has waited; 0 if there is none."""

    @property
    def held_elsewhere(self) -> int:
        """How many objects another live replica holds."""


class Comparison(Protocol):
    """Knows how the API server's definitions compare with those of this version."""

    @property
    def missing(self) -> Mapping[tuple[str, str], int]:
        """How many fields they lack, by kind and part of its objects; only of what was read."""


class Lookups(Protocol):
    """Knows how name lookups go."""

    @property
    def running(self) -> int:
        """How many have a thread."""

    @property
    def waiting(self) -> int:
        """How many wait for one."""

    @property
    def not_started(self) -> int:
        """How often one was given up that got none."""


class Collector:
    """All metrics of a process: its counters, and what its parts say at a scrape."""

    def __init__(
        self,
        metrics: Metrics,
        sessions: Callable[[], Iterable[SessionView]],
        *,
        per_object: bool,
        statuses: Backlog | None = None,
        definitions: Comparison | None = None,
        lookups: Lookups | None = None,
        dropped_lines: Callable[[], int] = lambda: 0,
    ) -> None:
        """`sessions` gives what there is at a scrape, `dropped_lines` what the log lacks.

        `statuses` is the writer of status and `definitions` the comparison of definitions, where
        there is an API server; `lookups` are those of names.
        """
        self._metrics = metrics
        self._sessions = sessions
        self._per_object = per_object
        self._statuses = statuses
        self._definitions = definitions
        self._lookups = lookups
        self._dropped_lines = dropped_lines

    def collect(self) -> Snapshot:
        """Read everything as it is now. Call it from the event loop that the sessions run on.

        Series are made of it only later: that takes longer than the loop has time for.
        """
        state = State(
            views=tuple(self._sessions()),
            lag_seconds=self._metrics.pulse.lag(),
            dropped_lines=self._dropped_lines(),
            tasks=len(asyncio.all_tasks()),
            unwritten=self._unwritten(),
            lookups=self._looked_up(),
            missing=self._definitions.missing if self._definitions is not None else None,
        )
        return Snapshot(
            lambda: self._families(state), before=lambda is_open: self._each(state, is_open=is_open)
        )

    def render(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics and their content type for what an Accept header asks for."""
        return self.collect().render(accept)

    def _unwritten(self) -> Unwritten | None:
        statuses = self._statuses
        if statuses is None:
            return None
        return Unwritten(
            objects=statuses.waiting,
            oldest_seconds=statuses.oldest_seconds,
            held_elsewhere=statuses.held_elsewhere,
        )

    def _looked_up(self) -> LookedUp | None:
        lookups = self._lookups
        if lookups is None:
            return None
        return LookedUp(
            running=lookups.running, waiting=lookups.waiting, not_started=lookups.not_started
        )

    def _families(self, state: State) -> Iterator[Metric]:
        yield from families(state)
        yield from self._metrics.families()

    def _each(self, state: State, *, is_open: bool) -> bytes:
        return each.written(state.views, is_open=is_open) if self._per_object else b""
