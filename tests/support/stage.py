"""One session among fakes, ready to be declared and watched."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from random import Random
from typing import Any

from springline.core import metering, ports
from springline.core.desired import SessionSpec
from springline.core.environment import Environment
from springline.core.event_bus import EventBus
from springline.core.limits import Limits
from springline.core.session import Desired, Session
from springline.core.state import Failure, SessionState
from springline.core.view import SessionView
from springline.drivers.amqp091.adapter import Amqp091Adapter
from support import builders
from support.fake_clock import FakeClock, FixedRandom
from support.fakes import (
    FakeConnection,
    FakeCredentialSource,
    FakeDriver,
    FakeEndpointSource,
    FakeResolver,
    FakeTLSSource,
    RecordingEvents,
)

__all__ = ["Stage", "staged"]

_MIDDLE = FixedRandom()


class Stage:
    """A session and everything it plays with."""

    def __init__(
        self,
        clock: FakeClock,
        *,
        rng: Random | None = _MIDDLE,
        drivers: Mapping[str, ports.Driver] | None = None,
        meter: ports.Meter = metering.NO_METER,
        limits: Limits | None = None,
    ) -> None:
        self.clock = clock
        self._set_at = clock.monotonic()
        self.journal: list[str] = []
        self.driver = FakeDriver(self.journal)
        self.resolver = FakeResolver(self.journal)
        self.credentials = FakeCredentialSource(self.journal)
        self.tls = FakeTLSSource()
        self.endpoints = FakeEndpointSource()
        self.events = RecordingEvents(self.journal)
        self.bus = EventBus(self.events)
        self.limit = asyncio.Semaphore(50)
        self.rng = rng
        self.changes: list[SessionView] = []
        """What could be shown after every change."""
        self.environment = Environment(
            adapters={
                name: Amqp091Adapter(driver)
                for name, driver in {"amqp091": self.driver, **(drivers or {})}.items()
            },
            resolver=self.resolver,
            clock=clock,
            rng=self.rng,
            events=self.bus,
            meter=meter,
            limits=limits or Limits(),
        )
        self.session = Session(builders.KEY, self.environment, on_change=self._changed)
        self.task: asyncio.Task[None] | None = None

    def _changed(self, session: Session) -> None:
        self.changes.append(session.view)

    @property
    def starts(self) -> list[float]:
        """When the attempts reached the driver, in seconds since the stage was set."""
        return [time - self._set_at for time in self.driver.times]

    @property
    def view(self) -> SessionView:
        return self.session.view

    # Calls, because a type checker takes what it has once seen in an attribute for settled.

    def state(self) -> SessionState:
        return self.session.view.state

    def failure(self) -> Failure:
        """What keeps the session from being connected."""
        failure = self.state().failure
        assert failure is not None
        return failure

    def connection(self) -> ports.Connection | None:
        return self.session.connection

    def is_closed(self) -> bool:
        return self.session.is_closed

    def desired(self, spec: SessionSpec | None = None, **changes: Any) -> Desired:
        spec = spec if spec is not None else builders.a_spec(**changes)
        if spec.target.endpoints:
            self.endpoints.declare(*spec.target.endpoints)
        return Desired(
            spec=spec,
            credentials=self.credentials,
            tls=self.tls,
            endpoints=self.endpoints,
            limit=self.limit,
        )

    async def declare(self, **changes: Any) -> None:
        """Declare the session so, and let it go on as far as it can."""
        self.session.declare(self.desired(**changes))
        await self.clock.settle()

    async def connect(self, **changes: Any) -> FakeConnection:
        """Declare the session so, and return its open connection."""
        await self.declare(**changes)
        assert self.session.connection is self.driver.connection
        return self.driver.connection

    async def change_credential(self, secret: str = "second", *, username: str = "app") -> None:
        """Put another credential into the source, and say so."""
        self.credentials.answer = builders.a_credential(secret, username=username, version="2")
        self.session.credential_changed()
        await self.clock.settle()

    async def close(self) -> None:
        await self.clock.result(self.session.close())

    def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.session.run(), name="session")


@contextlib.asynccontextmanager
async def staged(clock: FakeClock, **options: Any) -> AsyncIterator[Stage]:
    """Run a session among fakes; afterwards no task and no connection of it may be left."""
    before = asyncio.all_tasks()
    stage = Stage(clock, **options)
    stage.start()
    assert stage.task is not None
    try:
        yield stage
    finally:
        stage.task.cancel()
        await clock.settle()
        left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
        for task in left:
            task.cancel()
    assert not left, f"left behind: {left}"
    assert not stage.driver.open_connections
