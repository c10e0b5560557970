"""Standalone mode between real documents and a broker that the test plays, on the test's clock."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar

import yaml

from springline.api import documents
from springline.api.meta import Identity
from springline.clock import SystemClock
from springline.core.addresses import AddressPolicy
from springline.core.environment import Environment
from springline.core.manager import Manager
from springline.core.session import Session
from springline.core.values import SessionKey
from springline.credentials.token_files import DirectoryOfTokens
from springline.drivers.amqp091.adapter import Amqp091Adapter
from springline.positions import Position
from springline.sources import DeclaredSources
from springline.standalone.binding import BindingFiles, NoBindings
from springline.standalone.loader import Manifests, Problem
from springline.standalone.reconciler import ManifestReader, Reconciler
from springline.standalone.report import Report, Shown
from springline.standalone.services import NoServices
from springline.standalone.tokens import NoTokens
from support.fake_clock import FakeClock, FixedRandom
from support.fakes import FakeDriver, FakeResolver, RecordingEvents

__all__ = ["AtOnce", "Scene", "playing"]

T = TypeVar("T")


class AtOnce:
    """Makes calls at once, as `springline.threads.OffLoop`: the test's time waits for no thread."""

    def __init__(self) -> None:
        self.disk = asyncio.Event()
        """Clear it to have the disk not answer."""
        self.disk.set()

    async def run(self, call: Callable[[], T]) -> T:
        await self.disk.wait()
        return call()


class Scene:
    """The manager, the reconciler and the report, wired as the program wires them."""

    def __init__(
        self,
        clock: FakeClock,
        status_dir: Path | None = None,
        *,
        binding_dir: Path | None = None,
    ) -> None:
        self.clock = clock
        self.off_loop = AtOnce()
        self.status_dir = status_dir
        self.driver = FakeDriver()
        self.events = RecordingEvents()
        self.reader = ManifestReader()
        resolver = FakeResolver()
        self.manager = Manager(
            Environment(
                adapters={"amqp091": Amqp091Adapter(self.driver)},
                resolver=resolver,
                clock=clock,
                rng=FixedRandom(),
                events=self.events,
            ),
            DeclaredSources(
                self.reader,
                clock=SystemClock(),
                resolver=resolver,
                addresses=AddressPolicy(),
                services=NoServices(),
                tokens=NoTokens(),
                token_files=DirectoryOfTokens(None),
            ),
            on_change=self._session_changed,
        )
        self.reconciler = Reconciler(self.manager, self.reader)
        self.bindings: BindingFiles | None = None
        if binding_dir is not None:
            self.bindings = BindingFiles(
                binding_dir,
                self.manager,
                clock,
                reader=self.reader,
                events=self.events,
                on_change=lambda session: self.report.session_changed(session),  # noqa: PLW0108 - made below
                off_loop=self.off_loop,
            )
        self.report = self.new_report()

    def _session_changed(self, session: Session) -> None:
        if self.bindings is not None:
            self.bindings.session_changed(session)
        self.report.session_changed(session)

    def new_report(self) -> Report:
        """Return a report that knows nothing yet, as after a start."""
        return Report(
            self.manager,
            self.clock,
            status_dir=self.status_dir,
            generation=self.reconciler.generation,
            publications=self.bindings or NoBindings(),
            off_loop=self.off_loop,
        )

    async def apply(
        self, *written: dict[str, Any], unusable: dict[Identity, str] | None = None
    ) -> None:
        """Declare these documents and no others, and let everything come of it."""
        parsed = [documents.parse(each) for each in written]
        problems = (
            Problem(Position(Path("a.yaml"), 1), text, identity)
            for identity, text in (unusable or {}).items()
        )
        manifests = Manifests(
            objects={each.identity: each for each in parsed}, problems=tuple(problems)
        )
        self.reconciler.apply(manifests)
        self.report.declare(
            manifests.objects.keys() | manifests.unusable.keys(), unusable=manifests.unusable
        )
        if self.bindings is not None:
            self.bindings.declare(manifests)
        await self.clock.advance(1)

    def shown(self, name: str) -> Shown:
        """What is shown of a connection of the default namespace."""
        return self.report.shown[SessionKey("default", name)]

    @property
    def files(self) -> set[str]:
        """The files in the status directory, hidden ones too."""
        assert self.status_dir is not None
        return {path.name for path in self.status_dir.iterdir()}

    def written(self, name: str) -> dict[str, Any]:
        """The document in a status file."""
        assert self.status_dir is not None
        text = (self.status_dir / name).read_text(encoding="utf-8")
        document = yaml.safe_load(text)
        assert isinstance(document, dict)
        return document


@contextlib.asynccontextmanager
async def playing(
    clock: FakeClock, status_dir: Path | None = None, *, binding_dir: Path | None = None
) -> AsyncIterator[Scene]:
    """Run a scene; the event loop is driven by `clock`."""
    scene = Scene(clock, status_dir, binding_dir=binding_dir)
    async with asyncio.TaskGroup() as tasks:
        managing = tasks.create_task(scene.manager.run())
        beside = [tasks.create_task(scene.report.run())]
        if scene.bindings is not None:
            beside.append(tasks.create_task(scene.bindings.run()))
        try:
            yield scene
        finally:
            scene.manager.stop()
            await clock.advance(5)
            assert managing.done()
            for task in beside:
                task.cancel()
