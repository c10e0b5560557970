"""What standalone mode shows while it runs: a live table on a terminal, lines everywhere else."""

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Protocol, TextIO

from rich.console import Console, RenderableType
from rich.live import Live

from springline import logs
from springline.api.texts import printable
from springline.core import event_texts, logged_events, ports
from springline.core.events import Event, EventType
from springline.standalone import table
from springline.standalone.loader import Problem
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

    def problems(self, problems: Sequence[Problem]) -> None:
        """Show what is wrong with the manifests now, and what is so no longer."""

    def note(self, text: str) -> None:
        """Show a sentence about the process itself."""

    async def run(self, report: Report) -> None:
        """Keep what is shown of the sessions up to date until cancelled."""


def line(event: Event) -> str:
    """Return an event as one line: when, which session, what, why."""
    return _timed(
        event.at,
        f"{event.key!s:<28}  {event_texts.reason_of(event):<20}  {event_texts.message_of(event)}",
    )


def _timed(at: datetime, text: str) -> str:
    return printable(f"{at:%Y-%m-%dT%H:%M:%SZ}  {text}")  # brokers may write line breaks or worse


class _Problems:
    """What is wrong with the manifests, from one look to the next."""

    def __init__(self) -> None:
        self._known: Mapping[tuple[object, ...], Problem] = {}

    def changed(self, problems: Sequence[Problem]) -> tuple[list[Problem], list[Problem]]:
        """Return what is wrong now and was not before, and what was and is no longer.

        A problem that has only moved to another line is neither.
        """
        before, now = self._known, {each.apart_from_its_line: each for each in problems}
        self._known = now
        come = [each for key, each in now.items() if key not in before]
        gone = [each for key, each in before.items() if key not in now]
        return come, gone


def log_unread(error: OSError) -> None:
    """Say in the log that nobody will see what is shown any more; sessions go on without that."""
    logger.warning("output not written any more", extra={"error": error.strerror})


class LineDisplay:
    """One line for each event, with its time: for pipes, files and logs.

    When nobody reads the output any more, sessions go on without it.
    """

    def __init__(
        self,
        clock: ports.Clock,
        write: Callable[[str], None],
        *,
        steps: bool = False,
        json_lines: bool = False,
    ) -> None:
        """With `json_lines` each line is an object, with the keys that lines of the log have."""
        self._clock = clock
        self._write = write
        self._steps = steps
        self._json_lines = json_lines
        self._problems = _Problems()
        self._is_read = True

    async def report(self, event: Event) -> None:
        if event.type in _STEPS and not self._steps:
            return
        if self._json_lines:
            self._say_json(
                logged_events.MESSAGES[event.type],
                at=event.at,
                level=max(logged_events.level_of(event), logging.INFO),
                fields=logged_events.fields_of(event),
            )
        else:
            self._put(line(event))

    def problems(self, problems: Sequence[Problem]) -> None:
        come, gone = self._problems.changed(problems)
        for each in gone:
            self._say("solved", about=each)
        for each in come:
            self._say("problem", about=each, level=logging.WARNING)

    def note(self, text: str) -> None:
        self._say(text)

    def _say(self, text: str, *, about: Problem | None = None, level: int = logging.INFO) -> None:
        if self._json_lines:
            fields = {"detail": str(about)} if about is not None else {}
            self._say_json(text, at=self._clock.now(), level=level, fields=fields)
        else:
            self._put(_timed(self._clock.now(), text if about is None else f"{text}: {about}"))

    def _say_json(
        self,
        message: str,
        *,
        at: datetime,
        level: int,
        fields: Mapping[str, object] = MappingProxyType({}),
    ) -> None:
        name = logging.getLevelName(level)
        self._put(logs.json_line(message, at=at, level=name, logger=__name__, fields=fields))

    def _put(self, text: str) -> None:
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
        self._problems: Sequence[Problem] = ()
        self._changes = _Problems()
        self._recent: deque[str] = deque(maxlen=_RECENT_EVENTS)

    async def report(self, event: Event) -> None:
        if self._steps or event.type not in _STEPS:
            self._recent.append(line(event))

    def problems(self, problems: Sequence[Problem]) -> None:
        self._problems = problems
        come, gone = self._changes.changed(problems)
        for each in gone:
            self.note(f"solved: {each}")
        for each in come:
            self.note(f"problem: {each}")

    def note(self, text: str) -> None:
        self._recent.append(_timed(self._clock.now(), text))

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
            problems=[str(problem) for problem in self._problems],
            recent=tuple(self._recent),
        )
