"""The composition root: builds the parts, owns the task group, orders the shutdown.

Each mode of the program is one function here. The order of a shutdown is always the same: stop
taking in changes, close every session with a goodbye to its broker, write the last status, leave.
"""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, TextIO

import click

from springline.clock import SystemClock
from springline.core import ports
from springline.core.events import Event, EventSink
from springline.core.manager import Manager
from springline.core.session import Environment, Session
from springline.core.state import NOT_PROBED, Phase
from springline.core.view import SessionView
from springline.credentials.sources import DeclaredSources
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.errors import ManifestError
from springline.resolver import SystemResolver
from springline.settings import CheckSettings, RunSettings
from springline.standalone import loader, watcher
from springline.standalone.display import Display, LineDisplay, TableDisplay
from springline.standalone.loader import Manifests
from springline.standalone.reconciler import ManifestReader, Reconciler
from springline.standalone.report import Report, Shown

__all__ = ["Checked", "Standalone", "check", "run"]


class Standalone:
    """The parts of standalone mode, wired. Run its `manager` and its `report` side by side."""

    def __init__(self, events: EventSink, *, status_dir: Path | None = None) -> None:
        clock = SystemClock()
        rng: Random = SystemRandom()
        drivers: Mapping[str, ports.Driver] = {"amqp091": Amqp091Driver()}
        environment = Environment(
            drivers=drivers,
            resolver=SystemResolver(rng),
            clock=clock,
            rng=rng,
            events=events,
        )
        self.clock = clock
        self.reader = ManifestReader()
        self.manager = Manager(
            environment, DeclaredSources(self.reader), on_change=self._session_changed
        )
        self.reconciler = Reconciler(self.manager, self.reader)
        self.report = Report(
            self.manager, clock, status_dir=status_dir, generation=self.reconciler.generation
        )
        self.changed: Callable[[Session], None] = lambda _: None

    def _session_changed(self, session: Session) -> None:
        self.report.session_changed(session)
        self.changed(session)

    def apply(self, manifests: Manifests) -> None:
        """Make sessions follow the manifests."""
        self.reconciler.apply(manifests)
        self.report.declare(manifests.objects.keys() | manifests.unusable.keys())


# --- run


async def run(settings: RunSettings, out: TextIO) -> None:
    """Hold the sessions that a directory declares until SIGTERM or SIGINT.

    A second signal drops the sessions without waiting for their brokers.
    """
    display: Display
    if settings.table:
        display = TableDisplay(lambda: parts.report, SystemClock(), out, steps=settings.steps)
    else:
        display = LineDisplay(lambda text: click.echo(text, file=out), steps=settings.steps)
    parts = Standalone(display, status_dir=settings.status_dir)

    async with asyncio.TaskGroup() as tasks:
        with _on_signal() as stopping:
            showing = tasks.create_task(display.run(), name="display")
            reporting = tasks.create_task(parts.report.run(), name="report")
            managing = tasks.create_task(parts.manager.run(), name="manager")
            following = tasks.create_task(
                _follow(settings.manifests, parts, display), name="manifests"
            )
            await stopping.wait()
            following.cancel()
            await _shut_down(parts.manager, managing, settings.shutdown_seconds, display, stopping)
            parts.report.flush()
            reporting.cancel()
            showing.cancel()


async def _follow(directory: Path, parts: Standalone, display: Display) -> None:
    async for manifests in watcher.follow(directory):
        display.problems([str(problem) for problem in manifests.problems])
        parts.apply(manifests)


async def _shut_down(
    manager: Manager,
    managing: asyncio.Task[None],
    limit: float,
    display: Display,
    stopping: asyncio.Event,
) -> None:
    count = sum(session.connection is not None for session in manager.sessions())
    if count:
        display.note(f"closing {count} session(s); a second signal drops them at once")
    stopping.clear()
    manager.stop()
    impatient = asyncio.ensure_future(stopping.wait())
    try:
        await asyncio.wait(
            {managing, impatient}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        impatient.cancel()
    if not managing.done():
        display.note("dropping the sessions that have not closed yet")
        managing.cancel()
        await asyncio.wait({managing})


@contextlib.contextmanager
def _on_signal() -> Iterator[asyncio.Event]:
    """Give an event that SIGTERM, SIGINT, and the end of the terminal set."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    numbers = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, stopping.set)
    try:
        yield stopping
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


# --- check


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one round of connecting found."""

    shown: Sequence[Shown]
    documents: Sequence[dict[str, Any]]
    """The same as BrokerConnections with `status`."""
    ignored: Sequence[str]
    """What the files also hold, and others read."""
    at: datetime

    @property
    def all_ready(self) -> bool:
        return all(shown.is_ready for shown in self.shown)


class _Quiet:
    """`check` shows results, not what happened on the way."""

    async def report(self, event: Event) -> None:
        pass


async def check(settings: CheckSettings) -> Checked:
    """Open each declared connection once, note what its status would be, and close it again.

    Every wait is bounded by the connectTimeout and probe.timeout of what is checked. Raises
    `ManifestError` if a file cannot be used or declares no connection.
    """
    paths: list[Path] = []
    for path in settings.files:
        paths.extend(loader.manifest_files(path) if path.is_dir() else [path])
    manifests = loader.load(paths)
    mistakes = [str(problem) for problem in manifests.problems if not problem.is_foreign]
    if mistakes:
        raise ManifestError(mistakes)
    if not any(identity.kind == "BrokerConnection" for identity in manifests.objects):
        raise ManifestError(["there is no BrokerConnection to check"])

    parts = Standalone(_Quiet())
    news = asyncio.Event()
    parts.changed = lambda _: news.set()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(parts.manager.run(), name="manager")
        parts.apply(manifests)
        while not all(_has_result(session.view) for session in parts.manager.sessions()):
            await news.wait()
            news.clear()
        parts.report.flush()
        # Noted while the sessions are open; closing them is not part of the result.
        shown = tuple(parts.report.shown.values())
        documents = [parts.report.connection_document(each.view.key) for each in shown]
        parts.manager.stop()
    ignored = [str(problem) for problem in manifests.problems]
    return Checked(shown=shown, documents=documents, ignored=ignored, at=parts.clock.now())


def _has_result(view: SessionView) -> bool:
    """Whether an attempt has ended, and for an open session the first probe too."""
    if view.state.phase is Phase.CONNECTED:
        return view.state.blocked != NOT_PROBED
    return view.state.failure is not None
