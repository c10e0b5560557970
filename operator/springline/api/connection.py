"""`BrokerConnection`: a client connection that is kept open.

The fields are checked one by one here; rules over several of them are in `rules`.
"""

from datetime import timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, Field, Strict

from springline import protocols
from springline.api import places, problems
from springline.api.amqp10 import AMQP10
from springline.api.broker import BrokerSpec
from springline.api.credentials import Credentials
from springline.api.durations import Span
from springline.api.fields import (
    RESERVED,
    Between,
    Entries,
    HttpBlockedStatus,
    HttpPath,
    HttpStatus,
    ObjectName,
    Percentage,
    PlainText,
    PropertyName,
    ShortString,
    VirtualHostName,
    no_more_than,
)
from springline.api.meta import ApiModel, Declaration, Shared
from springline.api.texts import LONGEST_NAME

__all__ = [
    "HTTP",
    "Binding",
    "BrokerConnection",
    "BrokerConnectionSpec",
    "BrokerReference",
    "HTTPBlockedWhen",
    "Probe",
    "Rotation",
]


MOST_PROPERTIES: Final = 64
LONGEST_PROPERTIES: Final = 8192
"""Bytes of all names and values: more than that no RabbitMQ reads before a login, unless it is
configured to."""

_SHORTER_PLACES: Final = [
    f"{each.title} allows {each.longest_place} characters"
    for each in protocols.PROTOCOLS.values()
    if each.longest_place < LONGEST_NAME
]


def _not_too_many(properties: dict[str, str]) -> dict[str, str]:
    no_more_than(MOST_PROPERTIES, properties)
    size = sum(len(text.encode()) for pair in properties.items() for text in pair)
    if size > LONGEST_PROPERTIES:
        limit = f"{LONGEST_PROPERTIES} bytes, names and values together"
        raise problems.refused("", expected=f"must not have more than {limit}")
    return properties


PropertyText = Annotated[
    PlainText, Field(json_schema_extra={"maxLength": LONGEST_PROPERTIES})  # the API server needs it
]


class BrokerReference(ApiModel):
    """The broker to connect to."""

    kind: Literal["Broker", "ClusterBroker"] = Field(
        default="Broker", description="Broker for one in the same namespace, or ClusterBroker."
    )
    name: ObjectName = Field(description="Name of the broker.")


class Probe(ApiModel):
    """How Springline learns whether the broker has blocked the connection."""

    mode: Literal["Publish", "OwnQueue", "None"] = Field(
        default="Publish",
        description=(
            "Publish sends an empty message again and again, because a broker tells only those"
            " who publish that it has blocked them. It takes one channel. OwnQueue sends it into"
            " an exclusive queue of the connection's own, which holds one at most, so that none"
            " is counted as unroutable; the user needs permission to configure that queue. None"
            " sends nothing, and the condition Blocked stays Unknown until the broker says"
            " something."
        ),
    )
    interval: Annotated[timedelta, Span(minimum="1s", maximum="1h")] = Field(
        default=timedelta(seconds=15), description="Time between two messages."
    )
    timeout: Annotated[timedelta, Span(minimum="100ms", maximum="10m")] = Field(
        default=timedelta(seconds=5), description="How long to wait for the broker's confirmation."
    )
    exchange: ShortString = Field(
        default="",
        description=(
            "Exchange to publish to; empty for the default exchange. Not with mode OwnQueue."
        ),
    )
    routing_key: ShortString = Field(
        default="springline.probe",
        description=(
            "Routing key of the messages. With no queue bound to it they are dropped; in a queue"
            " they expire after half the interval. With mode OwnQueue the queue's name begins so,"
            " followed by a dot."
        ),
    )


def _statuses(*, maximum: int) -> Any:
    return Strict(strict=False), Entries(maximum, distinct=True)


class HTTPBlockedWhen(ApiModel):
    """What is asked beside, to learn that a broker takes nothing in."""

    path: HttpPath = Field(
        description="Path with query that is asked after each successful probe, by GET."
    )
    status: Annotated[tuple[HttpBlockedStatus, ...], *_statuses(maximum=16)] = Field(
        default=(503,),
        description="Answers that mean that the broker is blocked; 200 means that it is not.",
    )


class HTTP(ApiModel):
    """What only brokers that speak HTTP have."""

    path: HttpPath = Field(
        default="/",
        description=(
            "Path with query of the request that opens the session, and that each probe repeats."
        ),
    )
    method: Literal["GET", "HEAD", "OPTIONS"] = Field(
        default="GET", description="Method of that request."
    )
    expect_status: Annotated[tuple[HttpStatus, ...], *_statuses(maximum=16)] = Field(
        default=(200,),
        description="Answers to it that mean that all is well. No redirect is followed.",
    )
    version: Literal["Auto", "HTTP1", "HTTP2"] = Field(
        default="Auto",
        description=(
            "HTTP to speak. Auto leaves it to the TLS handshake, and is HTTP/1.1 without TLS; HTTP2"
            " without TLS needs a server that knows it beforehand."
        ),
    )
    persistent: bool | None = Field(
        default=None,
        description=(
            "False sends one request on each connection. True has several on the way before the"
            " first is answered. Default: one at first, and more once an answer has shown that the"
            " connection takes them."
        ),
    )
    blocked_when: HTTPBlockedWhen | None = Field(
        default=None,
        description=(
            "A second request that tells whether the broker is blocked, such as RabbitMQ's"
            " /api/health/checks/alarms."
        ),
    )


class Rotation(ApiModel):
    """How a changed credential gets to the open session."""

    verify: Literal["Handshake", "None"] = Field(
        default="Handshake",
        description=(
            "Handshake tries a new credential on a connection of its own, which is closed again,"
            " before the session gets it. None trusts it unseen: most brokers take any password"
            " in place, and a bad one shows only when the session is opened next."
        ),
    )
    when_limited: Literal["Wait", "UpdateUnverified", "CloseFirst"] = Field(
        default="Wait",
        description=(
            "What to do where the broker's connection limit leaves no room for one connection more,"
            " which trying a credential and replacing a session need. Wait keeps the session as it"
            " is, says so, and tries again. UpdateUnverified sends a new secret in place without"
            " trying it; what needs another connection waits. CloseFirst closes the session and"
            " opens it again with what is declared: if that fails, there is none."
        ),
    )
    renew_at: Percentage = Field(
        default="80%",
        description=(
            "Share of a token's lifetime after which it is renewed, or, where somebody else renews"
            " it, after which a warning says that this has not happened."
        ),
    )

    @property
    def share(self) -> float:
        """`renew_at` as a number between 0 and 1."""
        return int(self.renew_at.removesuffix("%")) / 100


class Binding(ApiModel):
    """A Secret for the applications, with a credential that the broker has accepted."""

    secret_name: ObjectName = Field(
        description=(
            "Name of the Secret to write, in the same namespace. One that is there already and is"
            " not this object's is never touched."
        )
    )


class BrokerConnectionSpec(ApiModel):
    """A client connection that is kept open."""

    broker_ref: Shared[BrokerReference] | None = Field(
        default=None, description="Broker to connect to; exactly one of this and broker."
    )
    broker: BrokerSpec | None = Field(
        default=None, description="The broker itself, in place; exactly one of this and brokerRef."
    )
    virtual_host: VirtualHostName = Field(
        default=places.DEFAULT,
        description="; ".join(("Virtual host to open, up to 255 bytes", *_SHORTER_PLACES)) + ".",
    )
    credentials: Shared[Credentials] = Field(description="How the client shows who it is.")
    heartbeat: Annotated[
        timedelta, Span(minimum="1s", maximum="65534s", zero=True, whole_seconds=True)
    ] = Field(
        default=timedelta(seconds=60),
        description=(
            "Longest silence of the peer, in whole seconds; after two of them it counts as gone."
            " The broker may ask for less. 0s turns heartbeats off; then three probes in a row"
            " without an answer mean that it is gone."
        ),
    )
    channel_max: Annotated[int, Between(1, 65535)] = Field(
        default=2047, description="Highest channel number. The broker may ask for less."
    )
    frame_max: Annotated[int, Between(4096, 2147483647)] = Field(
        default=131072, description="Largest frame in bytes. The broker may ask for less."
    )
    client_properties: Annotated[
        dict[PropertyName, PropertyText], AfterValidator(_not_too_many)
    ] = Field(
        default_factory=dict,
        description=(
            "Text that the broker shows with the connection. Springline itself sets"
            " connection_name, product, version, platform, capabilities and information."
        ),
        json_schema_extra={
            # The API server's schemas say nothing of keys.
            "maxProperties": MOST_PROPERTIES,
            "x-kubernetes-validations": [
                {
                    "rule": "self.all(key, size(key) > 0 && size(bytes(key)) <= 255)",
                    "message": "names must have between 1 and 255 bytes",
                },
                {
                    "rule": (
                        "self.map(key, size(bytes(key)) + size(bytes(self[key]))).sum()"
                        f" <= {LONGEST_PROPERTIES}"
                    ),
                    "message": (
                        f"must not have more than {LONGEST_PROPERTIES} bytes, names and values"
                        " together"
                    ),
                },
                {
                    "rule": f"self.all(key, !(key in {sorted(RESERVED)}))",
                    "message": (
                        f"{', '.join(sorted(RESERVED))} are set by Springline; use another name"
                    ),
                },
            ],
        },
    )
    probe: Shared[Probe] = Field(
        default=Probe(),
        description="How Springline learns whether the broker has blocked the connection.",
    )
    amqp10: Shared[AMQP10] = Field(
        default=AMQP10(),
        description="What is asked of a broker that speaks AMQP 1.0; for these only.",
    )
    http: Shared[HTTP] = Field(
        default=HTTP(), description="What is asked of a broker that speaks HTTP; for these only."
    )
    rotation: Shared[Rotation] = Field(
        default=Rotation(), description="How a changed credential gets to the open session."
    )
    binding: Binding | None = Field(
        default=None,
        description=(
            "Secret to write for applications: where the broker is and how to log in, as the"
            " Service Binding specification has it. It changes only to a credential that the broker"
            " has accepted."
        ),
    )
    suspend: bool = Field(default=False, description="True closes the session and keeps it closed.")
    when_closed: Literal["Reconnect", "StayClosed"] = Field(
        default="Reconnect",
        description=(
            "What follows when an open session ends: Reconnect opens it again, StayClosed waits"
            " for a change of the declaration."
        ),
    )


class BrokerConnection(Declaration):
    """A client connection that Springline opens and keeps open."""

    kind: Literal["BrokerConnection"] = Field(
        default="BrokerConnection", description="Kind of the object."
    )
    spec: BrokerConnectionSpec = Field(description="The connection as it should be.")
