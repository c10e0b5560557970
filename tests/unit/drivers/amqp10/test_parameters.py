"""What is declared for a connection over AMQP 1.0: what counts, and what applications are told."""

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from springline.api import v1alpha1
from springline.drivers.amqp10.adapter import ADAPTER
from springline.drivers.amqp10.parameters import (
    Amqp10Parameters,
    LinkParameters,
    ProbeParameters,
    SourceParameters,
    TargetParameters,
)
from springline.drivers.amqp10.terms import Delivery, Distribution, Durability, Expiry, Role
from springline.errors import TerminalError
from springline.reasons import Reason

NAME = "springline/orders/main"


def declared(*, broker: dict[str, Any] | None = None, **spec: Any) -> Amqp10Parameters:
    found = ADAPTER.parameters(
        v1alpha1.BrokerConnectionSpec.model_validate(
            {"brokerRef": {"name": "queues"}, "credentials": {"secretRef": {"name": "ann"}}, **spec}
        ),
        v1alpha1.BrokerSpec.model_validate(
            {"protocol": "amqp10", "endpoints": [{"host": "queues"}], **(broker or {})}
        ),
        name=NAME,
    )
    assert isinstance(found, Amqp10Parameters)
    return found


def test_what_is_not_declared_is_as_amqp_has_it() -> None:
    found = declared()
    assert (found.virtual_host, found.container_id, found.connection_name) == ("", NAME, NAME)
    assert (found.heartbeat_seconds, found.frame_max, found.channel_max) == (60, 131072, 2047)
    assert (found.incoming_capacity, found.outgoing_window) == (1024 * 1024, 2048)
    assert (found.sole_connection, found.links, found.probe) == (False, (), None)
    assert (found.locales, found.alpn) == ((), ())


def test_what_is_declared_becomes_parameters() -> None:
    found = declared(
        virtualHost="orders",
        heartbeat="0s",
        frameMax=8192,
        channelMax=7,
        clientProperties={"team": "orders"},
        amqp10={
            "containerID": "orders-1",
            "session": {"incomingCapacity": "64Ki", "outgoingWindow": 16},
            "soleConnection": True,
            "probe": {"address": "/queues/probe", "receive": True},
        },
    )
    assert (found.virtual_host, found.container_id) == ("orders", "orders-1")
    assert (found.heartbeat_seconds, found.frame_max, found.channel_max) == (0, 8192, 7)
    assert (found.incoming_capacity, found.outgoing_window) == (65536, 16)
    assert found.sole_connection
    assert found.probe == ProbeParameters(address="/queues/probe", receive=True)
    assert found.client_properties == {"team": "orders"}


def test_a_link_becomes_parameters() -> None:
    """R4.8, R4.12: source and target apart, each with its settings."""
    links = [
        {
            "name": "in",
            "role": "Receiver",
            "source": {
                "address": "/queues/orders",
                "durability": "Configuration",
                "expiry": "ConnectionClose",
                "timeout": "90s",
                "filter": {"b": "2", "a": "1"},
                "distribution": "Copy",
            },
            "target": {"address": "here"},
            "delivery": "AtMostOnce",
        },
        {"name": "out", "role": "Sender", "target": {"dynamic": True, "expiry": "LinkDetach"}},
    ]
    assert declared(amqp10={"links": links}).links == (
        LinkParameters(
            name="in",
            role=Role.RECEIVER,
            source=SourceParameters(
                address="/queues/orders",
                durability=Durability.CONFIGURATION,
                expiry=Expiry.CONNECTION_CLOSE,
                timeout_seconds=90,
                filters=(("a", "1"), ("b", "2")),
                distribution=Distribution.COPY,
            ),
            target=TargetParameters(address="here"),
            delivery=Delivery.AT_MOST_ONCE,
        ),
        LinkParameters(
            name="out",
            role=Role.SENDER,
            target=TargetParameters(dynamic=True, expiry=Expiry.LINK_DETACH),
            keep=True,
        ),
    )


def test_a_durable_subscription_names_its_link_and_outlives_it() -> None:
    """R4.13."""
    link = {
        "name": "in",
        "role": "Receiver",
        "source": {"address": "/topics/orders", "durability": "None", "expiry": "SessionEnd"},
        "durableSubscription": "all orders",
    }
    [found] = declared(amqp10={"links": [link]}).links
    assert (found.name, found.wire_name) == ("in", "all orders")
    assert found.source.durability is Durability.UNSETTLED_STATE
    assert found.source.expiry is Expiry.NEVER
    [usual] = declared(amqp10={"links": [link | {"durableSubscription": None}]}).links
    assert usual.wire_name == "in"


@pytest.mark.parametrize(
    ("locale", "tags"),
    [
        ({}, ()),
        ({"prefer": "de_AT"}, ("de-AT",)),
        ({"select": ["de_AT.UTF-8", "de_AT@euro", "en_US"]}, ("de-AT", "en-US")),
        ({"select": ["@euro", "fr"]}, ("fr",)),
    ],
)
def test_locales_are_sent_as_languages(locale: dict[str, Any], tags: tuple[str, ...]) -> None:
    """AMQP 1.0 §2.8.17: an IETF language tag."""
    assert declared(broker={"locale": locale}).locales == tags


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"probe": {"exchange": "x"}}, "spec.probe.exchange"),
        ({"probe": {"routingKey": "x"}}, "spec.probe.routingKey"),
        ({"probe": {"mode": "OwnQueue"}}, "spec.probe.mode"),
        ({"broker": {"sasl": {"mechanisms": ["AMQPLAIN"]}}}, "sasl.mechanisms"),
    ],
)
def test_what_has_no_meaning_is_refused_by_its_name(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(TerminalError) as caught:
        declared(**changes)
    assert caught.value.reason is Reason.INVALID_SPEC
    assert caught.value.message.startswith(f"{field}: ")


def test_the_password_goes_in_clear_text_last_of_all() -> None:
    assert declared().sasl.mechanisms == (
        *("EXTERNAL", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN", "ANONYMOUS"),
    )
    named = declared(broker={"sasl": {"mechanisms": ["PLAIN"]}})
    assert named.sasl.mechanisms == ("PLAIN",)


LINKS = [{"name": "in", "role": "Receiver", "source": {"address": "a"}}]


@pytest.mark.parametrize("own", [{}, {"containerID": "orders-1"}])
def test_a_verification_is_a_container_of_its_own_without_links(own: dict[str, Any]) -> None:
    """A broker must not take it for the session, and no subscription of its may stay behind."""
    session = declared(amqp10={"links": LINKS, **own})
    other = session.with_name(f"{NAME} (verification)")
    assert other.connection_name == f"{NAME} (verification)"
    assert other.container_id == f"{session.container_id} (verification)"
    assert other.links == ()
    assert other.acceptance == session.acceptance
    assert session.with_name(NAME) == session
    assert session.with_name("another").container_id == f"{session.container_id} another"


@pytest.mark.parametrize(
    "changes",
    [
        {"virtualHost": "orders"},
        {"frameMax": 8192},
        {"channelMax": 7},
        {"amqp10": {"soleConnection": True}},
        {"broker": {"sasl": {"mechanisms": ["PLAIN"]}}},
    ],
)
def test_a_verification_of_one_thing_does_not_answer_for_another(changes: dict[str, Any]) -> None:
    assert declared(**changes).acceptance != declared().acceptance


@pytest.mark.parametrize(
    "changes",
    [
        {"heartbeat": "10s"},
        {"clientProperties": {"a": "b"}},
        {"amqp10": {"containerID": "orders-1"}},
        {"amqp10": {"links": LINKS}},
        {"amqp10": {"probe": {"address": "a"}}},
    ],
)
def test_what_no_broker_refuses_a_login_for_needs_no_other_verification(
    changes: dict[str, Any],
) -> None:
    found = declared(**changes)
    assert found.acceptance == declared().acceptance
    assert hash(found.acceptance) == hash(declared().acceptance)
    assert found != declared()


def test_every_parameter_counts_unless_it_is_named() -> None:
    """So that a new one is not left out of what a verification answers for."""
    fields = {each.name for each in dataclasses.fields(Amqp10Parameters)}
    acceptance = declared().acceptance
    assert isinstance(acceptance, tuple)
    assert len(fields) - len(acceptance) == 6


@pytest.mark.parametrize(("spec", "shown"), [({}, "/"), ({"virtualHost": "orders"}, "orders")])
def test_the_place_is_a_virtual_host(spec: dict[str, Any], shown: str) -> None:
    assert str(declared(**spec).place) == f'virtual host "{shown}"'


@pytest.mark.parametrize("provider", ["rabbitmq", ""])
def test_applications_are_told_of_a_virtual_host_only_where_there_is_one(provider: str) -> None:
    offer = declared().offer(provider=provider, tls=True)
    assert (offer.type, offer.scheme, offer.path, offer.entries) == ("amqp", "amqps", "", {})
    offer = declared(virtualHost="orders").offer(provider=provider, tls=False)
    assert (offer.type, offer.scheme, offer.path) == ("amqp", "amqp", "orders")
    assert offer.entries == {"vhost": "orders"}
    assert offer.has_login


def test_nothing_but_connecting_needs_the_library() -> None:
    """It is not installed everywhere, and takes its time to import."""
    code = (
        "import sys; from springline.adapters import adapters; adapters();"
        " import springline.drivers.amqp10.negotiated;"
        " sys.exit(any(name.split('.')[0] in ('proton', 'cproton') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
