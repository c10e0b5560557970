"""The composition root without a cluster: parts, their tasks, start and shutdown.

The operator has its own root in operator_app; what connects only once is in checking. The order of
a shutdown is always the same: stop taking in changes, close every session with a goodbye to its
broker, write the last status, leave.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, TextIO

from springline import logs, shutdown
from springline.adapters import adapters
from springline.clock import SystemClock
from springline.core import metering, ports
from springline.core.addresses import LOOPBACK, AddressPolicy, Network
from springline.core.event_bus import EventBus
from springline.core.events import EventSink
from springline.core.manager import Manager
from springline.core.session import Environment, Session
from springline.core.signals import Signal
from springline.credentials.token_files import DirectoryOfTokens
from springline.outlets import Output
from springline.resolver import LookupPool, SystemResolver
from springline.settings import RunSettings
from springline.sources import DeclaredSources
from springline.standalone import watcher
from springline.standalone.binding import BindingFiles, NoBindings
from springline.standalone.display import Display, LineDisplay, TableDisplay, log_unread
from springline.standalone.loader import Manifests
from springline.standalone.reconciler import ManifestReader, Reconciler
from springline.standalone.report import Report
from springline.standalone.services import NoServices
from springline.standalone.tokens import NoTokens

if TYPE_CHECKING:
    from springline.metrics import Metrics

__all__ = ["Standalone", "run"]

logger = logging.getLogger(__name__)

_LAST_STATUS_SECONDS = 5.0
"""How long the last files of status may take, beside the time of the sessions to close."""


class Standalone:
    """The parts of standalone mode, wired. Run `manager`, `report` and `bindings` side by side.

    `watch_token_files` beside them tells sessions of changed files.
    """

    def __init__(
        self,
        events: EventSink,
        *,
        status_dir: Path | None = None,
        token_dir: Path | None = None,
        binding_dir: Path | None = None,
        allow_addresses: Iterable[Network] = (),
        meter: ports.Meter = metering.NO_METER,
    ) -> None:
        self.events = EventBus(events)
        clock = SystemClock()
        rng = Random()  # noqa: S311 - it spreads times, and hides nothing
        self.lookups = LookupPool()
        resolver = SystemResolver(rng, pool=self.lookups)
        # Whoever writes the manifests runs this, too, and most try it with a broker of their own.
        addresses = AddressPolicy((*LOOPBACK, *allow_addresses))
        self.environment = Environment(
            adapters=adapters(),
            resolver=resolver,
            clock=clock,
            rng=rng,
            events=self.events,
            addresses=addresses,
            meter=meter,
        )
        self.clock = clock
        self.reader = ManifestReader()
        self._token_files = DirectoryOfTokens(token_dir)
        self.sources = DeclaredSources(
            self.reader,
            clock=clock,
            resolver=resolver,
            addresses=addresses,
            services=NoServices(),
            tokens=NoTokens(),
            token_files=self._token_files,
        )
        self.changes = Signal[Session]()
        """Tells of each session that is not what it was."""
        published = Signal[Session]()
        self.manager = Manager(self.environment, self.sources, on_change=self.changes.tell)
        self.reconciler = Reconciler(self.manager, self.reader)
        self.bindings: BindingFiles | None = None
        if binding_dir is not None:
            self.bindings = BindingFiles(
                binding_dir,
                self.manager,
                clock,
                reader=self.reader,
                events=self.events,
                on_change=published.tell,
            )
            self.changes.follow(self.bindings.session_changed)
        self.report = Report(
            self.manager,
            clock,
            status_dir=status_dir,
            generation=self.reconciler.generation,
            publications=self.bindings or NoBindings(),
        )
        self.changes.follow(self.report.session_changed)
        published.follow(self.report.session_changed)

    async def watch_token_files(self) -> None:
        """Bring changed files of tokens to the sessions that read them. Ends when cancelled."""
        await self._token_files.watch(
            self.clock, is_read=self.manager.is_read, on_change=self.manager.object_changed
        )

    def apply(self, manifests: Manifests) -> None:
        """Make sessions follow the manifests."""
        self.reconciler.apply(manifests)
        self.report.declare(
            manifests.objects.keys() | manifests.unusable.keys(), unusable=manifests.unusable
        )
        if self.bindings is not None:
            self.bindings.declare(manifests)


async def run(settings: RunSettings, out: TextIO) -> None:
    """Hold the sessions that a directory declares until SIGTERM or SIGINT.

    A second signal drops the sessions without waiting for their brokers. Nothing waits for whoever
    reads `out`.
    """
    output = Output(out, name="output", told=_missing, on_broken=log_unread)
    try:
        await _hold(settings, output)
    finally:
        output.finish()


def _missing(count: int) -> str:
    """Say in the output and in the log how many lines are missing."""
    logger.warning("output read again", extra={"dropped": count})
    return f"{count} line(s) are missing here, because nothing read them in time"


async def _hold(settings: RunSettings, output: Output) -> None:
    display: Display
    if settings.table:
        display = TableDisplay(
            SystemClock(),
            output.as_file(),
            steps=settings.steps,
            is_seen=lambda: output.is_idle,
        )
    else:
        display = LineDisplay(
            SystemClock(), output.line, steps=settings.steps, json_lines=settings.json_lines
        )
    metrics = _metrics() if settings.listen_port is not None else None
    parts = Standalone(
        display,
        status_dir=settings.status_dir,
        token_dir=settings.token_dir,
        binding_dir=settings.binding_dir,
        allow_addresses=settings.allow_addresses,
        meter=metrics or metering.NO_METER,
    )
    course = _Course(settings.manifests)

    async with (
        _serving(settings, parts, metrics, course) if metrics is not None else _NOWHERE,
        asyncio.TaskGroup() as tasks,
    ):
        with shutdown.on_signal(asyncio.Event()) as stopping:
            showing = tasks.create_task(display.run(parts.report), name="display")
            reporting = tasks.create_task(parts.report.run(), name="report")
            managing = tasks.create_task(parts.manager.run(), name="manager")
            following = tasks.create_task(
                _follow(settings.manifests, parts, display, course), name="manifests"
            )
            beside = [tasks.create_task(parts.watch_token_files(), name="token-files")]
            if metrics is not None:
                beside.append(tasks.create_task(metrics.pulse.run(), name="pulse"))
            if parts.bindings is not None:
                beside.append(tasks.create_task(parts.bindings.run(), name="bindings"))
            await stopping.wait()
            course.is_stopping = True
            following.cancel()
            for task in beside:
                task.cancel()
            await shutdown.close_sessions(
                parts.manager,
                managing,
                limit=settings.shutdown_seconds,
                hurry=stopping,
                note=display.note,
            )
            reporting.cancel()
            await parts.report.finish(limit=_LAST_STATUS_SECONDS)
            showing.cancel()


async def _follow(directory: Path, parts: Standalone, display: Display, course: "_Course") -> None:
    is_started = False
    async for manifests in watcher.follow(directory):
        if not is_started:
            display.note(f"watching {directory}: {_connections(manifests)}")
            is_started = True
        display.problems(manifests.problems)
        parts.apply(manifests)
        course.is_read = course.is_read or manifests.is_listed


def _connections(manifests: Manifests) -> str:
    declared = manifests.objects.keys() | manifests.unusable.keys()
    count = sum(identity.kind == "BrokerConnection" for identity in declared)
    return f"{count or 'no'} connection{'' if count == 1 else 's'}"


# --- health and metrics, whose libraries are not loaded without need


class _Course:
    """How far the process is, as checks of readiness."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.is_read = False
        self.is_stopping = False

    def unread(self) -> str | None:
        return None if self.is_read else f"{self._directory} has not been read yet"

    def stopped(self) -> str | None:
        return "Springline is being stopped" if self.is_stopping else None


_NOWHERE = contextlib.nullcontext()


def _metrics() -> "Metrics":
    from springline.metrics import Metrics  # noqa: PLC0415

    return Metrics(SystemClock())


@contextlib.asynccontextmanager
async def _serving(
    settings: RunSettings, parts: Standalone, metrics: "Metrics", course: _Course
) -> AsyncIterator[None]:
    from springline.metrics import Collector  # noqa: PLC0415
    from springline.web import Health, ListenAddress, serve  # noqa: PLC0415

    collector = Collector(
        metrics,
        parts.manager.views,
        per_object=True,
        lookups=parts.lookups,
        dropped_lines=logs.dropped,
    )
    health = Health(
        live={"pulse": metrics.pulse.problem},
        ready={"manifests": course.unread, "stopping": course.stopped},
    )
    address = ListenAddress(settings.listen_host, settings.listen_port or 0)
    async with serve(address, health, collector, dropped=metrics.http_dropped):
        yield
