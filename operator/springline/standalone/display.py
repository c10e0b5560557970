"""What standalone mode shows while it runs: a live table on a terminal, lines everywhere else."""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Sequence
from typing import Protocol, TextIO

from rich.console import Console, RenderableType
from rich.live import Live

from springline.api.texts import printable
from springline.core import event_texts, ports
from springline.core.events import Event, EventType
from springline.standalone import table
from springline.standalone.report import Report

__all__ = ["Display", "LineDisplay", "TableDisplay", "line", "log_unread"]

logger = logging.getLogger(__name__)

_REFRESH_SECONDS = 0.25
_SHARE_FOR_DRAWING = 0.1
"""Of the time of a process with very many sessions; they matter more than a smooth picture."""

_RECENT_EVENTS = 8

_STEPS = frozenset({EventType.ATTEMPTING, EventType.OBTAINED_ADDRESS})
"""Events that tell how an attempt proceeds; shown only on demand."""


class Display(Protocol):
    """Shows events and problems as they come."""

    async def report(self, event: Event) -> None:
        """Show an event, as `core.events.EventSink`."""

    def problems(self, problems: Sequence[str]) -> None:
        """Show what is wrong with the manifests now."""

    def note(self, text: str) -> None:
        """Show a sentence about the process itself."""

    async def run(self, report: Report) -> None:
        """Keep what is shown of the sessions up to date until cancelled."""


def line(event: Event) -> str:
    """Return an event as one line: when, which session, what, why."""
    return printable(  # brokers may write line breaks or worse
        f"{event.at:%Y-%m-%dT%H:%M:%SZ}  {event.key!s:<28}  {event_texts.reason_of(event):<20}  "
        f"{event_texts.message_of(event)}"
    )


def log_unread(error: OSError) -> None:
    """Say in the log that nobody will see what is shown any more; sessions go on without that."""
    logger.warning("output not written any more", extra={"error": error.strerror})


class LineDisplay:
    """One line for each event: for pipes, files and logs.

    When nobody reads the output any more, sessions go on without it.
    """

    def __init__(self, write: Callable[[str], None], *, steps: bool = False) -> None:
        self._write = write
        self._steps = steps
        self._known: frozenset[str] = frozenset()
        self._is_read = True

    async def report(self, event: Event) -> None:
        if self._steps or event.type not in _STEPS:
            self.note(line(event))

    def problems(self, problems: Sequence[str]) -> None:
        for problem in problems:
            if problem not in self._known:
                self.note(f"problem: {problem}")
        self._known = frozenset(problems)

    def note(self, text: str) -> None:
        if not self._is_read:
            return
        try:
            self._write(text)
        except OSError as error:
            self._is_read = False
            log_unread(error)

    async def run(self, report: Report) -> None:  # noqa: ARG002 - events say it all
        await asyncio.Event().wait()


class TableDisplay:
    """A table that follows the sessions, with problems and the last events below it."""

    def __init__(
        self,
        clock: ports.Clock,
        out: TextIO,
        *,
        steps: bool = False,
        is_seen: Callable[[], bool] = lambda: True,
    ) -> None:
        """A picture is drawn only if the one before `is_seen`: nobody needs the old ones."""
        self._clock = clock
        self._out = out
        self._is_seen = is_seen
        self._steps = steps
        self._problems: Sequence[str] = ()
        self._recent: deque[str] = deque(maxlen=_RECENT_EVENTS)

    async def report(self, event: Event) -> None:
        if self._steps or event.type not in _STEPS:
            self._recent.append(line(event))

    def problems(self, problems: Sequence[str]) -> None:
        self._problems = problems

    def note(self, text: str) -> None:
        self._recent.append(text)

    async def run(self, report: Report) -> None:
        console = Console(file=self._out)
        live = Live(
            console=console,
            auto_refresh=False,
            vertical_overflow="crop",
            redirect_stdout=False,
            # On a terminal, logs go above the table; into a file, they go into the file.
            redirect_stderr=sys.stderr.isatty(),
        )
        with live:
            try:
                while True:
                    started = self._clock.monotonic()
                    if self._is_seen():
                        live.update(self._picture(report, console.height), refresh=True)
                    spent = self._clock.monotonic() - started
                    await asyncio.sleep(max(_REFRESH_SECONDS, spent / _SHARE_FOR_DRAWING))
            finally:
                live.update(self._picture(report, console.height), refresh=True)

    def _picture(self, report: Report, height: int) -> RenderableType:
        return table.for_terminal(
            report.current(),
            now=self._clock.now(),
            height=height,
            problems=self._problems,
            recent=tuple(self._recent),
        )
