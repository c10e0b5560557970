"""The composition root without a cluster: parts, their tasks, start and shutdown.

`run` and `check` are one function each; the operator has its own root in operator_app. The order of
a shutdown is always the same: stop taking in changes, close every session with a goodbye to its
broker, write the last status, leave.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, TextIO

import click

from springline import shutdown
from springline.clock import SystemClock
from springline.core import ports
from springline.core.events import Event, EventSink
from springline.core.manager import Manager
from springline.core.session import Environment, Session
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.errors import ManifestError
from springline.resolver import SystemResolver
from springline.settings import CheckSettings, RunSettings
from springline.sources import DeclaredSources
from springline.standalone import loader, watcher
from springline.standalone.display import Display, LineDisplay, TableDisplay
from springline.standalone.loader import Manifests
from springline.standalone.reconciler import ManifestReader, Reconciler
from springline.standalone.report import Report, Shown
from springline.standalone.services import NoServices

__all__ = ["Checked", "Standalone", "check", "run"]


class Standalone:
    """The parts of standalone mode, wired. Run its `manager` and its `report` side by side."""

    def __init__(self, events: EventSink, *, status_dir: Path | None = None) -> None:
        clock = SystemClock()
        rng: Random = SystemRandom()
        drivers: Mapping[str, ports.Driver] = {"amqp091": Amqp091Driver()}
        resolver = SystemResolver(rng)
        environment = Environment(
            drivers=drivers,
            resolver=resolver,
            clock=clock,
            rng=rng,
            events=events,
        )
        self.clock = clock
        self.reader = ManifestReader()
        sources = DeclaredSources(self.reader, resolver=resolver, services=NoServices())
        self.manager = Manager(environment, sources, on_change=self._session_changed)
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
        with shutdown.on_signal(asyncio.Event()) as stopping:
            showing = tasks.create_task(display.run(), name="display")
            reporting = tasks.create_task(parts.report.run(), name="report")
            managing = tasks.create_task(parts.manager.run(), name="manager")
            following = tasks.create_task(
                _follow(settings.manifests, parts, display), name="manifests"
            )
            await stopping.wait()
            following.cancel()
            await shutdown.close_sessions(
                parts.manager,
                managing,
                limit=settings.shutdown_seconds,
                hurry=stopping,
                note=display.note,
            )
            parts.report.flush()
            reporting.cancel()
            showing.cancel()


async def _follow(directory: Path, parts: Standalone, display: Display) -> None:
    async for manifests in watcher.follow(directory):
        display.problems([str(problem) for problem in manifests.problems])
        parts.apply(manifests)


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
        while not all(session.view.has_result for session in parts.manager.sessions()):
            await news.wait()
            news.clear()
        parts.report.flush()
        # Noted while the sessions are open; closing them is not part of the result.
        shown = tuple(parts.report.shown.values())
        documents = [parts.report.connection_document(each.view.key) for each in shown]
        parts.manager.stop()
    ignored = [str(problem) for problem in manifests.problems]
    return Checked(shown=shown, documents=documents, ignored=ignored, at=parts.clock.now())
