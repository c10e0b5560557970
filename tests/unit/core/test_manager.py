"""From the declared set to running sessions."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core import ports
from springline.core.desired import SessionSpec
from springline.core.environment import Environment
from springline.core.events import Event, EventType
from springline.core.manager import Manager
from springline.core.session import Session
from springline.core.state import Phase
from springline.core.values import SessionKey
from springline.reasons import Reason
from support.builders import BROKER, RABBIT, a_credential, unreachable
from support.fake_clock import FakeClock, FixedRandom
from support.fakes import (
    SILENCE,
    FakeConnection,
    FakeCredentialSource,
    FakeDriver,
    FakeResolver,
    FakeTLSSource,
    RecordingEvents,
)

OTHER_BROKER = Identity("Broker", "apps", "other")
ORDERS, BILLING = SessionKey("apps", "orders"), SessionKey("apps", "billing")


class Sources:
    """Gives every session one credential source of its own."""

    def __init__(self) -> None:
        self.credential_sources: dict[SessionKey, FakeCredentialSource] = {}

    def credentials(self, spec: SessionSpec) -> ports.CredentialSource:
        return self.credential_sources.setdefault(spec.key, FakeCredentialSource())

    def tls(self, spec: SessionSpec) -> ports.TLSSource:
        return FakeTLSSource()


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
                drivers={"amqp091": self.driver},
                resolver=FakeResolver(),
                clock=clock,
                rng=FixedRandom(),
                events=self.events,
            ),
            self.sources,
            on_change=self.changed.append,
        )
        self.task: asyncio.Task[None] | None = None

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
        api_version=v1alpha1.API_VERSION,
        metadata=v1alpha1.ObjectMeta(name=name, namespace="apps"),
        spec=v1alpha1.BrokerConnectionSpec(**fields),
    )


@pytest.fixture
async def fleet(clock: FakeClock) -> AsyncIterator[Fleet]:
    """A manager that runs; afterwards nothing of it may be left."""
    before = asyncio.all_tasks()
    fleet = Fleet(clock)
    await fleet.start()
    yield fleet
    assert fleet.task is not None
    fleet.task.cancel()
    await clock.settle()
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert not left
    assert not fleet.open_connections


# --- declared


async def test_a_declared_connection_is_opened(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", generation=3)
    assert fleet.phase() is Phase.CONNECTED
    assert fleet.session().view.generation == 3
    assert fleet.changed[-1] is fleet.session()


async def test_the_order_of_declarations_does_not_matter(fleet: Fleet) -> None:
    await fleet.put("orders")
    assert fleet.reason() is Reason.BROKER_NOT_FOUND
    await fleet.put_broker()
    assert fleet.phase() is Phase.CONNECTED


async def test_what_was_declared_before_the_start_is_opened_at_the_start(
    clock: FakeClock,
) -> None:
    fleet = Fleet(clock)
    await fleet.put_broker()
    await fleet.put("orders")
    assert not fleet.driver.requests
    await fleet.start()
    assert fleet.phase() is Phase.CONNECTED
    fleet.manager.stop()
    await clock.settle()


async def test_a_changed_connection_changes_its_own_session_only(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    billing = fleet.session(BILLING).connection
    await fleet.put("orders", generation=2, virtual_host="other")
    assert fleet.driver.requests[-1].parameters.virtual_host == "other"
    assert fleet.session(BILLING).connection is billing
    assert len(fleet.driver.requests) == 3


async def test_a_document_that_cannot_be_used_shows_why(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    fleet.manager.put_unusable(ORDERS, "spec.heartbeat: must be a duration", generation=2)
    await fleet.clock.settle()
    assert not fleet.open_connections
    view = fleet.session().view
    assert view.generation == 2
    assert view.state.failure is not None
    assert view.state.failure.reason is Reason.INVALID_SPEC
    assert view.state.failure.message == "spec.heartbeat: must be a duration"
    assert fleet.manager.broker_of(fleet.session()) is None


async def test_a_document_that_was_never_usable_has_a_session_to_show_it(fleet: Fleet) -> None:
    fleet.manager.put_unusable(ORDERS, "no", generation=1)
    await fleet.clock.settle()
    assert fleet.phase() is Phase.REJECTED
    await fleet.put_broker()
    await fleet.put("orders", generation=2)
    assert fleet.phase() is Phase.CONNECTED


async def test_a_dropped_connection_is_closed_and_forgotten(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    session = fleet.session()
    fleet.manager.drop_connection(ORDERS)
    assert fleet.manager.session(ORDERS) is None
    await fleet.clock.settle()
    assert session.is_closed
    assert len(fleet.open_connections) == 1
    assert fleet.manager.sessions() == [fleet.session(BILLING)]
    assert fleet.manager.broker_of(session) is None


async def test_a_forgotten_session_tells_no_changes(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    fleet.manager.drop_connection(ORDERS)
    fleet.changed.clear()
    await fleet.clock.settle()
    assert not fleet.changed


async def test_a_connection_that_is_declared_again_gets_a_new_session(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    old = fleet.session()
    fleet.manager.drop_connection(ORDERS)
    await fleet.put("orders")
    assert fleet.session() is not old
    assert fleet.phase() is Phase.CONNECTED
    assert len(fleet.open_connections) == 1


async def test_dropping_what_is_not_there_does_nothing(fleet: Fleet) -> None:
    fleet.manager.drop_connection(ORDERS)
    fleet.manager.drop_broker(BROKER)
    fleet.manager.reconnect(ORDERS)
    fleet.manager.object_changed(Identity("Secret", "apps", "orders-amqp"))
    await fleet.clock.settle()
    assert fleet.manager.sessions() == []


async def test_before_the_start_a_connection_can_be_dropped(clock: FakeClock) -> None:
    fleet = Fleet(clock)
    await fleet.put("orders")
    fleet.manager.drop_connection(ORDERS)
    assert fleet.manager.sessions() == []


# --- brokers


async def test_a_changed_broker_reaches_the_sessions_that_use_it(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put_broker(OTHER_BROKER, host="other.example")
    await fleet.put("orders")
    await fleet.put("billing", broker="other")
    billing = fleet.session(BILLING).connection
    await fleet.put_broker(host="moved.example")
    connection = fleet.session().connection
    assert connection is not None
    assert connection.info.endpoint.host == "moved.example"
    assert fleet.session(BILLING).connection is billing


async def test_a_dropped_broker_closes_its_sessions_and_they_say_so(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put_broker(OTHER_BROKER)
    await fleet.put("orders")
    await fleet.put("billing", broker="other")
    fleet.manager.drop_broker(BROKER)
    await fleet.clock.settle()
    assert fleet.reason() is Reason.BROKER_NOT_FOUND
    assert fleet.phase(BILLING) is Phase.CONNECTED
    await fleet.put_broker()
    assert fleet.phase() is Phase.CONNECTED


async def test_sessions_are_found_by_their_broker(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    await fleet.put("billing", broker="other")
    assert fleet.manager.sessions(BROKER) == [fleet.session()]
    assert fleet.manager.sessions(OTHER_BROKER) == [fleet.session(BILLING)]
    assert len(fleet.manager.sessions()) == 2
    assert fleet.manager.broker_of(fleet.session()) == BROKER


# --- objects


async def test_a_changed_secret_reaches_only_the_sessions_that_read_it(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    sources = fleet.sources.credential_sources
    fetches = {key: source.fetches for key, source in sources.items()}
    fleet.manager.object_changed(Identity("Secret", "apps", "orders-amqp"))
    await fleet.clock.settle()
    assert sources[ORDERS].fetches == fetches[ORDERS] + 1
    assert sources[BILLING].fetches == fetches[BILLING]


@pytest.mark.parametrize(
    "identity",
    [
        pytest.param(Identity("Secret", "elsewhere", "orders-amqp"), id="of another namespace"),
        pytest.param(Identity("ConfigMap", "apps", "orders-amqp"), id="of another kind"),
        pytest.param(Identity("Secret", "apps", "something"), id="of another name"),
    ],
)
async def test_an_object_that_nobody_reads_reaches_nobody(
    fleet: Fleet, identity: Identity
) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    fetches = fleet.sources.credential_sources[ORDERS].fetches
    fleet.manager.object_changed(identity)
    await fleet.clock.settle()
    assert fleet.sources.credential_sources[ORDERS].fetches == fetches


async def test_what_a_session_reads_follows_its_declaration(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    other = v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name="other"))
    await fleet.put("orders", generation=2, credentials=other)
    fetches = fleet.sources.credential_sources[ORDERS].fetches
    fleet.manager.object_changed(Identity("Secret", "apps", "orders-amqp"))
    await fleet.clock.settle()
    assert fleet.sources.credential_sources[ORDERS].fetches == fetches
    fleet.manager.object_changed(Identity("Secret", "apps", "other"))
    await fleet.clock.settle()
    assert fleet.sources.credential_sources[ORDERS].fetches == fetches + 1


async def test_one_session_can_be_asked_to_reconnect(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    billing = fleet.session(BILLING).connection
    fleet.manager.reconnect(ORDERS)
    await fleet.clock.settle()
    assert len(fleet.driver.requests) == 3
    assert fleet.session(BILLING).connection is billing


# --- the connect limit


async def test_the_connect_limit_of_a_broker_is_never_exceeded(fleet: Fleet) -> None:
    fleet.driver.otherwise = SILENCE
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=2))
    await fleet.put(*(f"orders-{number}" for number in range(7)))
    assert fleet.driver.running == 2
    for _ in range(4):
        fleet.driver.release()
        await fleet.clock.settle()
    assert len(fleet.open_connections) == 7
    assert fleet.driver.most_running == 2


async def test_brokers_do_not_share_their_limits(fleet: Fleet) -> None:
    fleet.driver.otherwise = SILENCE
    one = v1alpha1.ConnectLimit(concurrent=1)
    await fleet.put_broker(connect_limit=one)
    await fleet.put_broker(OTHER_BROKER, connect_limit=one)
    await fleet.put("orders", "orders-2")
    await fleet.put("billing", "billing-2", broker="other")
    assert fleet.driver.running == 2


async def test_a_renewal_waits_for_its_turn_too(fleet: Fleet) -> None:
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=1))
    await fleet.put("orders")
    fleet.driver.then(SILENCE)
    await fleet.put("billing")
    fleet.sources.credential_sources[ORDERS].answer = a_credential("second")
    fleet.manager.object_changed(Identity("Secret", "apps", "orders-amqp"))
    await fleet.clock.settle()
    assert fleet.driver.running == 1
    assert fleet.driver.most_running == 1
    fleet.driver.release()
    await fleet.clock.settle()
    assert len(fleet.driver.requests) == 3


async def test_another_limit_counts_from_then_on(fleet: Fleet) -> None:
    fleet.driver.otherwise = SILENCE
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=1))
    await fleet.put("a", "b", "c")
    assert fleet.driver.running == 1
    await fleet.put_broker(connect_limit=v1alpha1.ConnectLimit(concurrent=2))
    assert fleet.driver.running == 2
    assert fleet.driver.most_running == 2


# --- stopping


async def test_stop_closes_every_session_in_an_orderly_way(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    fleet.driver.then(unreachable())
    await fleet.put("waiting")
    fleet.manager.stop()
    fleet.manager.stop()
    await fleet.clock.settle()
    assert fleet.task is not None
    assert fleet.task.done()
    assert fleet.task.exception() is None
    assert [connection.close_texts for connection in fleet.driver.connections] == [
        ["the session was ended"],
        ["the session was ended"],
    ]
    assert {session.view.state.phase for session in fleet.manager.sessions()} == {Phase.CLOSED}


async def test_stop_waits_until_everything_is_released(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    fleet.driver.connection.close_answer = SILENCE
    fleet.manager.stop()
    await fleet.clock.advance(2.9)
    assert fleet.task is not None
    assert not fleet.task.done()
    await fleet.clock.advance(0.1)
    assert fleet.task.done()


async def test_a_manager_without_sessions_stops_at_once(fleet: Fleet) -> None:
    fleet.manager.stop()
    await fleet.clock.settle()
    assert fleet.task is not None
    assert fleet.task.done()


# --- defects


class _Defect(Exception):
    pass


class _DefectiveSessions:
    """Makes the next change of a session end it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.armed = False

    def __call__(self, session: Session) -> None:
        if self.armed:
            self.armed = False
            raise _Defect("a defect")
        self.fleet.changed.append(session)


@pytest.fixture
def defect(fleet: Fleet) -> _DefectiveSessions:
    defect = _DefectiveSessions(fleet)
    fleet.manager._on_change = defect
    return defect


async def test_a_session_that_crashes_is_logged_and_restarted(
    fleet: Fleet, defect: _DefectiveSessions, caplog: pytest.LogCaptureFixture
) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    crashed, billing = fleet.session(), fleet.session(BILLING).connection
    defect.armed = True
    fleet.manager.reconnect(ORDERS)
    await fleet.clock.settle()
    assert "a defect" in caplog.text
    assert crashed.is_closed
    assert fleet.session(BILLING).connection is billing
    await fleet.clock.advance(10.0)
    assert fleet.session() is not crashed
    assert fleet.phase() is Phase.CONNECTED
    assert fleet.session(BILLING).connection is billing
    assert len(fleet.open_connections) == 2
    fleet.manager.reconnect(ORDERS)
    await fleet.clock.settle()
    assert fleet.changed[-1] is fleet.session()


async def test_a_crashed_session_is_restarted_with_what_is_declared_by_then(
    fleet: Fleet, defect: _DefectiveSessions
) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    defect.armed = True
    fleet.manager.reconnect(ORDERS)
    await fleet.clock.settle()
    await fleet.put("orders", generation=2, virtual_host="other")
    await fleet.clock.advance(10.0)
    assert fleet.session().view.generation == 2
    assert fleet.driver.requests[-1].parameters.virtual_host == "other"


async def test_a_crashed_session_that_is_dropped_is_not_restarted(
    fleet: Fleet, defect: _DefectiveSessions
) -> None:
    await fleet.put_broker()
    await fleet.put("orders")
    defect.armed = True
    fleet.manager.reconnect(ORDERS)
    await fleet.clock.settle()
    fleet.manager.drop_connection(ORDERS)
    await fleet.clock.advance(60.0)
    assert fleet.manager.sessions() == []
    assert not fleet.open_connections


async def test_a_session_that_crashes_after_it_was_dropped_is_only_logged(
    fleet: Fleet, caplog: pytest.LogCaptureFixture
) -> None:
    await fleet.put_broker()
    await fleet.put("orders")

    async def break_down(**_: object) -> None:
        raise _Defect("a defect")

    fleet.driver.connection.close = break_down  # type: ignore[method-assign]  # a broken driver
    fleet.manager.drop_connection(ORDERS)
    await fleet.clock.advance(60.0)
    assert "a defect" in caplog.text
    assert fleet.manager.sessions() == []
    assert fleet.driver.connection.was_aborted


async def test_a_crashed_session_does_not_come_back_after_stop(
    fleet: Fleet, defect: _DefectiveSessions
) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    defect.armed = True
    fleet.manager.reconnect(ORDERS)
    await fleet.clock.settle()
    requests = len(fleet.driver.requests)
    fleet.manager.stop()
    await fleet.clock.advance(10.0)
    assert fleet.task is not None
    assert fleet.task.done()
    assert len(fleet.driver.requests) == requests
    assert not fleet.open_connections


async def test_a_failing_sink_does_not_stop_the_fleet(fleet: Fleet) -> None:
    fleet.events.failure = OSError("the disk is full")
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    assert len(fleet.open_connections) == 2


async def test_events_name_their_session(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    connected: list[Event] = fleet.events.of(EventType.CONNECTED)
    assert {event.key for event in connected} == {ORDERS, BILLING}
