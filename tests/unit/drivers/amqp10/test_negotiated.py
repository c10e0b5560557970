"""What status shows of a connection over AMQP 1.0: all of it, and nothing without an end."""

import json
from datetime import timedelta
from typing import Any

import pytest

from springline.api.status import BrokerConnectionStatus, as_document
from springline.core.values import TLSInfo
from springline.drivers.amqp10.negotiated import (
    Amqp10Negotiated,
    LinkInfo,
    SessionWindows,
    TerminusInfo,
)
from springline.drivers.amqp10.terms import (
    Distribution,
    Durability,
    Expiry,
    LinkState,
    ReceiverSettle,
    Role,
    SenderSettle,
)


def negotiated(**fields: Any) -> Amqp10Negotiated:
    required: dict[str, Any] = {
        "mechanism": "SCRAM-SHA-256",
        "heartbeat_seconds": 60,
        "container_id": "springline/orders/main",
        "max_frame_size": 131072,
        "peer_max_frame_size": 65536,
        "channel_max": 2047,
        "peer_channel_max": 255,
        "session": SessionWindows(incoming=8, outgoing=2048, peer_incoming=400, peer_outgoing=65),
    }
    return Amqp10Negotiated(**required | fields)


def shown(found: Amqp10Negotiated) -> dict[str, Any]:
    """What stands in the document."""
    status = BrokerConnectionStatus(
        observed_generation=1, state="Connected", conditions=(), negotiated=found.as_status()
    )
    document: dict[str, Any] = as_document(status)["negotiated"]
    assert json.loads(json.dumps(document)) == document
    return document


def test_what_the_peer_does_not_say_is_left_out() -> None:
    assert shown(negotiated()) == {
        "mechanism": "SCRAM-SHA-256",
        "heartbeat": "60s",
        "amqp10": {
            "containerID": "springline/orders/main",
            "idleTimeout": "0s",
            "peerIdleTimeout": "0s",
            "maxFrameSize": 131072,
            "peerMaxFrameSize": 65536,
            "channelMax": 2047,
            "peerChannelMax": 255,
            "session": {
                "incomingWindow": 8,
                "outgoingWindow": 2048,
                "peerIncomingWindow": 400,
                "peerOutgoingWindow": 65,
            },
        },
    }


def test_everything_is_shown() -> None:
    """R4.3, R4.6, R4.11."""
    found = shown(
        negotiated(
            tls=TLSInfo(version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384"),
            client_properties={"product": "Springline"},
            hostname="vhost:orders",
            user="ann",
            peer_container_id="rabbit@one",
            idle_timeout=timedelta(seconds=120),
            peer_idle_timeout=timedelta(milliseconds=2500),
            offered_capabilities=("LINK_PAIR_V1_0",),
            desired_capabilities=("x",),
            peer_properties={"product": "RabbitMQ"},
        )
    )
    assert found["clientProperties"] == {"product": "Springline"}
    assert found["tls"]["version"] == "TLSv1.3"
    own = found["amqp10"]
    assert (own["hostname"], own["user"], own["peerContainerID"]) == (
        "vhost:orders",
        "ann",
        "rabbit@one",
    )
    assert (own["idleTimeout"], own["peerIdleTimeout"]) == ("2m", "2.5s")
    assert own["offeredCapabilities"] == ["LINK_PAIR_V1_0"]
    assert own["desiredCapabilities"] == ["x"]
    assert own["peerProperties"] == {"product": "RabbitMQ"}


RECEIVER = LinkInfo(
    name="in",
    role=Role.RECEIVER,
    state=LinkState.ATTACHED,
    source=TerminusInfo(
        address="/queues/orders",
        durability=Durability.UNSETTLED_STATE,
        expiry=Expiry.NEVER,
        timeout=timedelta(minutes=5),
        filters=("apache.org:selector-filter:string",),
        distribution=Distribution.MOVE,
    ),
    target=TerminusInfo(),
    sender_settle=SenderSettle.UNSETTLED,
    receiver_settle=ReceiverSettle.FIRST,
    credit=0,
    max_message_size=0,
    durable_subscription="all orders",
    kept=True,
)


def test_a_link_is_shown_with_all_its_settings() -> None:
    """R4.8, R4.12, as the peer confirmed them."""
    assert shown(negotiated(links=(RECEIVER,)))["amqp10"]["links"] == [
        {
            "name": "in",
            "role": "Receiver",
            "state": "Attached",
            "address": "/queues/orders",
            "source": {
                "durability": "UnsettledState",
                "expiry": "Never",
                "timeout": "5m",
                "dynamic": False,
                "filter": ["apache.org:selector-filter:string"],
                "distribution": "Move",
            },
            "target": {
                "durability": "None",
                "expiry": "SessionEnd",
                "timeout": "0s",
                "dynamic": False,
            },
            "senderSettle": "Unsettled",
            "receiverSettle": "First",
            "credit": 0,
            "maxMessageSize": 0,
            "durableSubscription": "all orders",
            "kept": True,
        }
    ]


def test_a_refused_link_says_why_and_nothing_that_is_not_known() -> None:
    refused = LinkInfo(
        name="out", role=Role.SENDER, state=LinkState.REFUSED, kept=True, message="amqp:not-found"
    )
    assert shown(negotiated(links=(refused,)))["amqp10"]["links"] == [
        {
            "name": "out",
            "role": "Sender",
            "state": "Refused",
            "kept": True,
            "message": "amqp:not-found",
        }
    ]


@pytest.mark.parametrize(
    ("role", "address"), [(Role.SENDER, "at the target"), (Role.RECEIVER, "at the source")]
)
def test_the_address_is_that_of_the_brokers_end(role: Role, address: str) -> None:
    link = LinkInfo(
        name="a",
        role=role,
        state=LinkState.ATTACHED,
        source=TerminusInfo(address="at the source"),
        target=TerminusInfo(address="at the target"),
    )
    assert link.address == address


def test_a_peer_cannot_grow_a_status() -> None:
    """Whatever it says, and how often."""
    long = "\x1b[31m" + "x" * 100_000
    many = tuple(f"{number}{long}" for number in range(1000))
    link = LinkInfo(
        name="in",
        role=Role.RECEIVER,
        state=LinkState.DETACHED,
        source=TerminusInfo(address=long, filters=many),
        durable_subscription=long,
        message=long,
    )
    found = shown(
        negotiated(
            hostname=long,
            user=long,
            peer_container_id=long,
            offered_capabilities=many,
            desired_capabilities=many,
            peer_properties=dict.fromkeys(many, long),
            links=(link,),
        )
    )
    own = found["amqp10"]
    for names, most in (
        (own["offeredCapabilities"], 32),
        (own["desiredCapabilities"], 32),
        (own["peerProperties"], 32),
        (own["links"][0]["source"]["filter"], 8),
    ):
        assert len(names) == most
        assert max(len(each.encode()) for each in names) <= 255
    assert len(own["links"][0]["address"].encode()) <= 1024
    assert len(own["links"][0]["message"].encode()) <= 1024
    assert len(json.dumps(found)) < 64 * 1024
    assert "\x1b" not in json.dumps(found, ensure_ascii=False)
