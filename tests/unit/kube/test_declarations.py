"""What objects there are and what they mean, in whatever order their events come."""

import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from springline.api.meta import Identity
from springline.core.state import Phase
from springline.core.values import SessionKey
from springline.kube import declarations as module
from springline.kube.declarations import Declarations, identify
from springline.kube.requests import Request
from springline.kube.stored import StoredStatus
from springline.reasons import Reason
from support.fake_clock import FakeClock
from support.fleet import Fleet, running
from support.statuses import (
    CLUSTER_RABBIT,
    ORDERS,
    RABBIT_BROKER,
    a_broker,
    a_connection,
    stamped,
)


class FakeStatuses:
    """Remembers what it is told, as `kube.declarations.Statuses`."""

    def __init__(self) -> None:
        self.told: list[tuple[Any, ...]] = []
        self.requests: dict[Identity, dict[Request, str]] = {}

    def declared(self, identity: Identity, *, generation: int, stored: StoredStatus) -> None:
        self.told.append(("declared", identity, stored.uid, generation, dict(stored.status)))

    def shown(self, identity: Identity, stored: StoredStatus) -> None:
        self.told.append(("shown", identity, stored.uid, stored.version, dict(stored.status)))

    def unusable(self, identity: Identity, problem: str | None) -> None:
        self.told.append(("unusable", identity, problem))

    def last_handled(self, identity: Identity, request: Request) -> str | None:
        return self.requests.get(identity, {}).get(request)

    def handled(self, identity: Identity, request: Request, value: str) -> None:
        self.requests.setdefault(identity, {})[request] = value

    def gone(self, identity: Identity) -> None:
        self.told.append(("gone", identity))


class Scene:
    """A manager among fakes, and what is declared to it."""

    def __init__(self, fleet: Fleet) -> None:
        self.fleet = fleet
        self.statuses = FakeStatuses()
        self.declarations = Declarations(fleet.manager, self.statuses)

    async def show(self, *documents: Mapping[str, Any]) -> None:
        for document in documents:
            self.declarations.appeared(document)
        await self.fleet.clock.settle()

    async def vanish(self, identity: Identity = ORDERS, *, uid: str = "connection-1") -> None:
        self.declarations.vanished(identity, uid=uid)
        await self.fleet.clock.settle()


@pytest.fixture
async def scene(clock: FakeClock) -> AsyncIterator[Scene]:
    """Nothing is declared yet."""
    async with running(clock) as fleet:
        yield Scene(fleet)


@pytest.fixture
async def connected(scene: Scene) -> Scene:
    """A broker and an open connection."""
    await scene.show(a_broker(), a_connection())
    assert scene.fleet.phase() is Phase.CONNECTED
    scene.statuses.told.clear()
    return scene


# --- appearing


async def test_objects_become_sessions(connected: Scene) -> None:
    assert ORDERS in connected.declarations
    assert connected.declarations.uids() == {
        RABBIT_BROKER: "broker-1",
        ORDERS: "connection-1",
    }
    assert connected.declarations.uid(ORDERS) == "connection-1"
    assert connected.declarations.uid(CLUSTER_RABBIT) is None
    assert connected.declarations.count("BrokerConnection") == 1
    assert connected.declarations.count("ClusterBroker") == 0


async def test_the_status_that_an_object_has_is_handed_on(scene: Scene) -> None:
    await scene.show(a_connection(status={"attempts": 3}, generation=5))
    assert ("declared", ORDERS, "connection-1", 5, {"attempts": 3}) in scene.statuses.told


async def test_the_echo_of_a_status_write_changes_nothing(connected: Scene) -> None:
    connection = connected.fleet.session().connection
    await connected.show(a_connection(status={"attempts": 3}), a_broker(status={"server": {}}))
    assert connected.fleet.session().connection is connection
    assert len(connected.fleet.driver.requests) == 1


async def test_a_new_generation_reaches_the_session(connected: Scene) -> None:
    await connected.show(a_connection(generation=2, virtualHost="other"))
    assert connected.fleet.driver.requests[-1].parameters.virtual_host == "other"
    assert connected.fleet.session().view.generation == 2


async def test_an_old_event_is_overlooked(connected: Scene) -> None:
    await connected.show(a_connection(generation=3, virtualHost="new"))
    await connected.show(a_connection(generation=2, virtualHost="old"))
    assert connected.fleet.driver.requests[-1].parameters.virtual_host == "new"


async def test_what_the_api_server_adds_is_accepted(scene: Scene) -> None:
    """Fields of newer CustomResourceDefinitions, too."""
    await scene.show(a_broker(sparkle=True, tls={"enabled": False, "glitter": 1}))
    await scene.show(a_connection(sparkle={"much": True}))
    assert scene.fleet.phase() is Phase.CONNECTED


# --- going


async def test_a_deleted_connection_is_closed(connected: Scene) -> None:
    await connected.vanish()
    assert not connected.fleet.open_connections
    assert ORDERS not in connected.declarations
    assert connected.statuses.told == [("gone", ORDERS)]
    await connected.vanish()
    assert connected.statuses.told == [("gone", ORDERS)]


async def test_a_deleted_broker_is_missing(connected: Scene) -> None:
    await connected.vanish(RABBIT_BROKER, uid="broker-1")
    assert connected.fleet.reason() is Reason.BROKER_NOT_FOUND
    assert connected.statuses.told == [("gone", RABBIT_BROKER)]


async def test_what_is_being_deleted_counts_as_gone(connected: Scene) -> None:
    """Somebody's finalizer may keep it for a long time."""
    await connected.show(stamped(a_connection()))
    assert not connected.fleet.open_connections
    assert ORDERS not in connected.declarations
    await connected.show(stamped(a_connection(generation=2)))
    assert ORDERS not in connected.declarations
    assert connected.statuses.told == [("gone", ORDERS)]


async def test_what_is_being_deleted_from_the_start_is_never_declared(scene: Scene) -> None:
    await scene.show(a_broker(), stamped(a_connection()))
    assert not scene.fleet.driver.requests
    assert ORDERS not in scene.declarations


# --- created anew under the same name


async def test_the_end_of_a_predecessor_does_not_end_its_successor(connected: Scene) -> None:
    await connected.show(a_connection(uid="connection-2"))
    await connected.vanish(uid="connection-1")
    assert connected.declarations.uid(ORDERS) == "connection-2"
    assert len(connected.fleet.open_connections) == 1


async def test_late_events_of_a_predecessor_are_overlooked(connected: Scene) -> None:
    """Each object has a queue of its own, so the queues may overtake each other."""
    await connected.show(a_connection(uid="connection-2", virtualHost="new"))
    await connected.show(a_connection(uid="connection-1", generation=9, virtualHost="old"))
    await connected.show(stamped(a_connection(uid="connection-1", generation=10)))
    await connected.vanish(uid="connection-1")
    assert connected.declarations.uid(ORDERS) == "connection-2"
    assert connected.fleet.driver.requests[-1].parameters.virtual_host == "new"
    assert len(connected.fleet.open_connections) == 1


async def test_late_events_of_several_predecessors_are_overlooked(connected: Scene) -> None:
    for number in (2, 3):
        await connected.show(a_connection(uid=f"connection-{number}"))
    for number in (1, 2):
        await connected.show(a_connection(uid=f"connection-{number}", generation=9))
    assert connected.declarations.uid(ORDERS) == "connection-3"


async def test_a_successor_has_a_session_of_its_own(connected: Scene) -> None:
    """As if the end of the old one had been told first."""
    before = connected.fleet.session()
    await connected.show(a_connection(uid="connection-2"))
    assert connected.fleet.session() is not before
    assert before.is_closed
    assert len(connected.fleet.open_connections) == 1


async def test_a_successor_of_a_broker_keeps_the_sessions(connected: Scene) -> None:
    connection = connected.fleet.session().connection
    await connected.show(a_broker(uid="broker-2"))
    await connected.vanish(RABBIT_BROKER, uid="broker-1")
    assert connected.fleet.session().connection is connection
    assert connected.fleet.phase() is Phase.CONNECTED


async def test_a_successor_with_a_lower_generation_is_news(connected: Scene) -> None:
    await connected.show(a_connection(generation=5))
    await connected.show(a_connection(uid="connection-2", generation=1, virtualHost="new"))
    assert connected.fleet.driver.requests[-1].parameters.virtual_host == "new"
    assert connected.fleet.session().view.generation == 1


# --- declarations that cannot be used


async def test_a_connection_that_cannot_be_used_says_why(
    connected: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, logger=module.__name__)
    await connected.show(a_connection(generation=2, heartbeat="a while"))
    assert connected.fleet.reason() is Reason.INVALID_SPEC
    assert not connected.fleet.open_connections
    assert connected.fleet.session().view.generation == 2
    [record] = caplog.records
    assert "spec.heartbeat" in str(record.__dict__["problem"])
    assert record.__dict__["object"] == "BrokerConnection/apps/orders"
    await connected.show(a_connection(generation=3))
    assert connected.fleet.phase() is Phase.CONNECTED


async def test_a_broker_that_cannot_be_used_stays_what_it_was(connected: Scene) -> None:
    connection = connected.fleet.session().connection
    await connected.show(a_broker(generation=2, endpoints=[]))
    assert connected.fleet.session().connection is connection
    [_, (name, identity, problem)] = connected.statuses.told
    assert (name, identity) == ("unusable", RABBIT_BROKER)
    assert "spec.endpoints" in problem
    await connected.show(a_broker(generation=3))
    assert connected.statuses.told[-1] == ("unusable", RABBIT_BROKER, None)


# --- requests

RECONNECT, RENEW = (each.annotation for each in Request)


async def test_a_new_request_for_a_fresh_connection_is_acted_on_once(connected: Scene) -> None:
    asked = a_connection(annotations={RECONNECT: "now"})
    await connected.show(asked, asked)
    assert connected.statuses.requests == {ORDERS: {Request.RECONNECT: "now"}}
    assert len(connected.fleet.driver.requests) == 2
    await connected.show(a_connection())
    await connected.show(asked)
    assert len(connected.fleet.driver.requests) == 2
    await connected.show(a_connection(annotations={RECONNECT: "again"}))
    assert len(connected.fleet.driver.requests) == 3


@pytest.fixture
def renewed(connected: Scene, monkeypatch: pytest.MonkeyPatch) -> list[SessionKey]:
    """The sessions that were asked to renew their credential."""
    asked: list[SessionKey] = []
    monkeypatch.setattr(connected.fleet.manager, "renew", asked.append)
    return asked


async def test_a_new_request_for_a_renewal_is_acted_on_once(
    connected: Scene, renewed: list[SessionKey]
) -> None:
    """And the connection is not closed for it."""
    asked = a_connection(annotations={RENEW: "now"})
    await connected.show(asked, asked)
    assert connected.statuses.requests == {ORDERS: {Request.RENEW: "now"}}
    assert renewed == [SessionKey("apps", "orders")]
    await connected.show(a_connection())
    await connected.show(asked)
    assert len(renewed) == 1
    await connected.show(a_connection(annotations={RENEW: "again"}))
    assert len(renewed) == 2
    assert len(connected.fleet.driver.requests) == 1


async def test_each_request_has_a_memory_of_its_own(
    connected: Scene, renewed: list[SessionKey]
) -> None:
    """The same value under the other annotation is another request."""
    await connected.show(a_connection(annotations={RENEW: "now"}))
    await connected.show(a_connection(annotations={RENEW: "now", RECONNECT: "now"}))
    assert connected.statuses.requests == {ORDERS: {Request.RECONNECT: "now", Request.RENEW: "now"}}
    assert len(renewed) == 1
    assert len(connected.fleet.driver.requests) == 2


@pytest.mark.parametrize("request_", Request)
async def test_a_request_is_not_acted_on_again_after_a_restart(
    scene: Scene, request_: Request
) -> None:
    scene.statuses.requests[ORDERS] = {request_: "now"}
    annotations = {request_.annotation: "now"}
    await scene.show(a_broker(), a_connection(annotations=annotations))
    await scene.show(a_connection(annotations=annotations, generation=2))
    assert len(scene.fleet.driver.requests) == 1


@pytest.mark.parametrize("request_", Request)
async def test_a_request_that_came_with_the_object_is_met_by_its_session(
    scene: Scene, request_: Request
) -> None:
    await scene.show(a_broker(), a_connection(annotations={request_.annotation: "now"}))
    assert scene.statuses.requests == {ORDERS: {request_: "now"}}
    assert len(scene.fleet.driver.requests) == 1


async def test_a_request_is_cut_to_what_fits_a_time(connected: Scene) -> None:
    await connected.show(a_connection(annotations={RECONNECT: "x" * 10_000}))
    assert connected.statuses.requests == {ORDERS: {Request.RECONNECT: "x" * 64}}


@pytest.mark.parametrize("request_", Request)
async def test_a_request_on_a_broker_is_nobodys(scene: Scene, request_: Request) -> None:
    broker = a_broker()
    broker["metadata"]["annotations"] = {request_.annotation: "now"}
    await scene.show(broker)
    assert scene.statuses.requests == {}


# --- shutting down


async def test_frozen_nothing_is_taken_in(connected: Scene) -> None:
    connected.declarations.freeze()
    await connected.show(a_connection("billing", uid="connection-2"))
    await connected.vanish()
    assert connected.declarations.uids() == {RABBIT_BROKER: "broker-1", ORDERS: "connection-1"}
    assert len(connected.fleet.open_connections) == 1
    assert connected.statuses.told == []


def test_an_object_is_identified_by_its_document_or_its_metadata() -> None:
    assert identify(a_connection()) == ORDERS
    assert identify(a_broker(CLUSTER_RABBIT)) == CLUSTER_RABBIT


async def test_a_status_that_is_shown_goes_on_as_it_is(connected: Scene) -> None:
    """Whatever else the object says: that is declared by other events, which may come later."""
    connected.statuses.told.clear()
    document = a_connection(generation=7, status={"state": "Fine"}, suspend=True)
    connected.declarations.status_shown(document)
    connected.declarations.freeze()
    connected.declarations.status_shown(document)
    await connected.fleet.clock.settle()
    told = ("shown", ORDERS, "connection-1", "4711", {"state": "Fine"})
    assert connected.statuses.told == [told, told]
    assert connected.fleet.session(SessionKey("apps", "orders")).view.state.phase is (
        Phase.CONNECTED
    )
