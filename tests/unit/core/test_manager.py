"""From the declared set to running sessions."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from springline.api import v1alpha1
from springline.api.meta import Identity
from springline.core.events import Event, EventType
from springline.core.session import Session
from springline.core.state import Phase
from springline.reasons import Reason
from support.builders import BROKER, RABBIT
from support.fake_clock import FakeClock
from support.fleet import BILLING, ORDERS, OTHER_BROKER, Fleet, running


@pytest.fixture
async def fleet(clock: FakeClock) -> AsyncIterator[Fleet]:
    async with running(clock) as fleet:
        yield fleet


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
async def test_an_object_that_nobody_reads_reaches_nobody(fleet: Fleet, identity: Identity) -> None:
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


ORDERS_SECRET = Identity("Secret", "apps", "orders-amqp")


async def test_an_object_is_read_as_long_as_a_connection_refers_to_it(fleet: Fleet) -> None:
    """Whatever watches objects asks before it looks closer."""
    shared = v1alpha1.Credentials(secret_ref=v1alpha1.SecretReference(name="orders-amqp"))
    await fleet.put_broker()
    assert not fleet.manager.is_read(ORDERS_SECRET)
    await fleet.put("orders", "billing", credentials=shared)
    assert fleet.manager.is_read(ORDERS_SECRET)
    assert not fleet.manager.is_read(Identity("Secret", "apps", "billing-amqp"))
    fleet.manager.drop_connection(ORDERS)
    assert fleet.manager.is_read(ORDERS_SECRET), "the other one still does"
    await fleet.put("billing", generation=2)
    assert not fleet.manager.is_read(ORDERS_SECRET)
    assert fleet.manager.is_read(Identity("Secret", "apps", "billing-amqp"))


async def test_a_suspended_connection_reads_and_one_that_cannot_be_used_does_not(
    fleet: Fleet,
) -> None:
    await fleet.put_broker()
    await fleet.put("orders", suspend=True)
    assert fleet.manager.is_read(ORDERS_SECRET)
    fleet.manager.put_unusable(ORDERS, "spec.heartbeat: must be a duration", generation=2)
    assert not fleet.manager.is_read(ORDERS_SECRET)
    await fleet.put("orders", generation=3)
    assert fleet.manager.is_read(ORDERS_SECRET)
    fleet.manager.drop_broker(BROKER)
    assert not fleet.manager.is_read(ORDERS_SECRET)


async def test_a_secret_with_the_endpoints_of_a_broker_reaches_its_sessions(fleet: Fleet) -> None:
    reference = v1alpha1.EndpointsSecretReference(name="rabbit-default-user")
    fleet.manager.put_broker(
        BROKER,
        v1alpha1.BrokerSpec(endpoints_from=v1alpha1.EndpointsFrom(secret_ref=reference)),
    )
    await fleet.put("orders")
    fleet.sources.endpoint_sources[ORDERS].declare(RABBIT)
    fleet.manager.object_changed(Identity("Secret", "apps", "rabbit-default-user"))
    await fleet.clock.settle()
    assert fleet.phase() is Phase.CONNECTED


# --- namespaces

SHARED = Identity("ClusterBroker", "", "shared")
TO_SHARED = v1alpha1.BrokerReference(kind="ClusterBroker", name="shared")


def for_shops(**selector: Any) -> v1alpha1.ClusterBrokerSpec:
    return v1alpha1.ClusterBrokerSpec(
        endpoints=(v1alpha1.Endpoint(host=RABBIT.host),),
        allowed_namespaces=v1alpha1.AllowedNamespaces(
            from_="Selector",
            selector=v1alpha1.LabelSelector(**(selector or {"match_labels": {"team": "shop"}})),
        ),
    )


async def test_a_namespace_that_gets_the_labels_may_connect_and_one_that_loses_them_may_not(
    fleet: Fleet,
) -> None:
    fleet.manager.put_broker(SHARED, for_shops())
    await fleet.put("orders", broker_ref=TO_SHARED)
    assert fleet.reason() is Reason.NAMESPACE_NOT_ALLOWED
    assert not fleet.manager.is_read(ORDERS_SECRET), "nor are its Secrets read"
    fleet.manager.put_namespace("apps", {"team": "shop"})
    await fleet.clock.settle()
    assert fleet.phase() is Phase.CONNECTED
    fleet.manager.put_namespace("apps", {"team": "books"})
    await fleet.clock.settle()
    assert fleet.reason() is Reason.NAMESPACE_NOT_ALLOWED
    assert not fleet.open_connections


async def test_labels_that_came_first_are_known(fleet: Fleet) -> None:
    fleet.manager.put_namespace("apps", {"team": "shop"})
    fleet.manager.put_broker(SHARED, for_shops())
    await fleet.put("orders", broker_ref=TO_SHARED)
    assert fleet.phase() is Phase.CONNECTED
    fleet.manager.drop_namespace("apps")
    await fleet.clock.settle()
    assert fleet.reason() is Reason.NAMESPACE_NOT_ALLOWED


async def test_a_namespace_that_nobody_described_has_the_label_with_its_name(fleet: Fleet) -> None:
    by_name = for_shops(match_labels={"kubernetes.io/metadata.name": "apps"})
    fleet.manager.put_broker(SHARED, by_name)
    await fleet.put("orders", broker_ref=TO_SHARED)
    assert fleet.phase() is Phase.CONNECTED


async def test_a_selector_that_changes_is_asked_again(fleet: Fleet) -> None:
    fleet.manager.put_namespace("apps", {"team": "books"})
    fleet.manager.put_broker(SHARED, for_shops())
    await fleet.put("orders", broker_ref=TO_SHARED)
    fleet.manager.put_broker(SHARED, for_shops(match_labels={"team": "books"}))
    await fleet.clock.settle()
    assert fleet.phase() is Phase.CONNECTED


@pytest.mark.parametrize(
    ("namespace", "labels", "declared"),
    [
        pytest.param("other", {"team": "books"}, 0, id="of another namespace"),
        pytest.param("apps", {"team": "shop"}, 0, id="the same labels again"),
        pytest.param("apps", {"team": "shop", "x": "y"}, 1, id="of those who are asked for them"),
    ],
)
async def test_labels_reach_only_those_who_are_asked_for_them(
    fleet: Fleet,
    monkeypatch: pytest.MonkeyPatch,
    namespace: str,
    labels: dict[str, str],
    declared: int,
) -> None:
    """A Broker, and a ClusterBroker for all, do not care."""
    for_all = Identity("ClusterBroker", "", "all")
    await fleet.put_broker()
    fleet.manager.put_broker(SHARED, for_shops())
    fleet.manager.put_broker(
        for_all, v1alpha1.ClusterBrokerSpec(endpoints=(v1alpha1.Endpoint(host=RABBIT.host),))
    )
    fleet.manager.put_namespace("apps", {"team": "shop"})
    await fleet.put("orders", broker_ref=TO_SHARED)
    await fleet.put("billing")
    reference = v1alpha1.BrokerReference(kind="ClusterBroker", name="all")
    await fleet.put("invoices", broker_ref=reference)
    assert len(fleet.open_connections) == 3
    seen: list[object] = []
    monkeypatch.setattr(Session, "declare", lambda _, desired: seen.append(desired))
    fleet.manager.put_namespace(namespace, labels)
    assert len(seen) == declared


# --- requests


async def test_one_session_can_be_asked_to_reconnect(fleet: Fleet) -> None:
    await fleet.put_broker()
    await fleet.put("orders", "billing")
    billing = fleet.session(BILLING).connection
    fleet.manager.reconnect(ORDERS)
    await fleet.clock.settle()
    assert len(fleet.driver.requests) == 3
    assert fleet.session(BILLING).connection is billing


# --- events


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
