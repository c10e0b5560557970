"""A manager and its sessions among fakes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core import ports
from springline.core.desired import SessionSpec
from springline.core.environment import Environment
from springline.core.manager import Manager
from springline.core.session import Session
from springline.core.state import Phase
from springline.core.values import SessionKey
from springline.drivers.amqp091.adapter import Amqp091Adapter
from springline.reasons import Reason
from support.builders import BROKER, RABBIT
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

__all__ = [
    "BILLING",
    "ORDERS",
    "OTHER_BROKER",
    "Fleet",
    "Sources",
    "a_broker",
    "a_connection",
    "running",
]

OTHER_BROKER = Identity("Broker", "apps", "other")
ORDERS, BILLING = SessionKey("apps", "orders"), SessionKey("apps", "billing")


class Sources:
    """Gives every session sources of its own."""

    def __init__(self) -> None:
        self.credential_sources: dict[SessionKey, FakeCredentialSource] = {}
        self.tls_sources: dict[SessionKey, FakeTLSSource] = {}
        self.endpoint_sources: dict[SessionKey, FakeEndpointSource] = {}

    def credentials(self, spec: SessionSpec) -> ports.CredentialSource:
        return self.credential_sources.setdefault(spec.key, FakeCredentialSource())

    def tls(self, spec: SessionSpec) -> ports.TLSSource:
        return self.tls_sources.setdefault(spec.key, FakeTLSSource())

    def endpoints(self, spec: SessionSpec) -> ports.EndpointSource:
        source = self.endpoint_sources.setdefault(spec.key, FakeEndpointSource())
        source.declare(*spec.target.endpoints)
        return source


class Fleet:
    """A manager among fakes."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.driver = FakeDriver()
        self.events = RecordingEvents()
        self.sources = Sources()
        self.changed: list[Session] = []
        self.manager = Manager(
            Environment(
                adapters={"amqp091": Amqp091Adapter(self.driver)},
                resolver=FakeResolver(),
                clock=clock,
                rng=FixedRandom(),
                events=self.events,
            ),
            self.sources,
            on_change=self._session_changed,
        )
        self.task: asyncio.Task[None] | None = None
        self.defect: Exception | None = None
        """Raised in the next session that changes, once."""

    def _session_changed(self, session: Session) -> None:
        if self.defect is not None:
            defect, self.defect = self.defect, None
            raise defect
        self.changed.append(session)

    async def crash(self, key: SessionKey = ORDERS) -> None:
        """Have a defect end a session."""
        self.defect = ZeroDivisionError("a defect")
        self.manager.reconnect(key)
        await self.clock.settle()

    async def start(self) -> None:
        self.task = asyncio.get_running_loop().create_task(self.manager.run())
        await self.clock.settle()

    async def put_broker(self, identity: Identity = BROKER, **spec: Any) -> None:
        self.manager.put_broker(identity, a_broker(**spec))
        await self.clock.settle()

    async def put(self, *names: str, generation: int = 1, **spec: Any) -> None:
        for name in names:
            self.manager.put_connection(a_connection(name, **spec), generation=generation)
        await self.clock.settle()

    def session(self, key: SessionKey = ORDERS) -> Session:
        session = self.manager.session(key)
        assert session is not None
        return session

    def phase(self, key: SessionKey = ORDERS) -> Phase:
        return self.session(key).view.state.phase

    def reason(self, key: SessionKey = ORDERS) -> Reason | None:
        failure = self.session(key).view.state.failure
        return failure.reason if failure is not None else None

    @property
    def open_connections(self) -> list[FakeConnection]:
        return self.driver.open_connections


def a_broker(host: str = RABBIT.host, **spec: Any) -> v1alpha1.BrokerSpec:
    return v1alpha1.BrokerSpec(endpoints=(v1alpha1.Endpoint(host=host),), **spec)


def a_connection(
    name: str = "orders", *, broker: str = "rabbit", **spec: Any
) -> v1alpha1.BrokerConnection:
    fields: dict[str, Any] = {
        "broker_ref": v1alpha1.BrokerReference(name=broker),
        "credentials": v1alpha1.Credentials(
            secret_ref=v1alpha1.SecretReference(name=f"{name}-amqp")
        ),
        "probe": v1alpha1.Probe(mode="None"),
    }
    fields |= spec
    return v1alpha1.BrokerConnection(
        metadata=v1alpha1.ObjectMeta(name=name, namespace="apps"),
        spec=v1alpha1.BrokerConnectionSpec(**fields),
    )


@contextlib.asynccontextmanager
async def running(clock: FakeClock) -> AsyncIterator[Fleet]:
    """Run a manager; afterwards nothing of it may be left."""
    before = asyncio.all_tasks()
    fleet = Fleet(clock)
    await fleet.start()
    assert fleet.task is not None
    try:
        yield fleet
    finally:
        fleet.task.cancel()
        await clock.settle()
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert not left, f"left behind: {left}"
    assert not fleet.open_connections
