"""`BrokerConnection`: a client connection that is kept open.

The fields are checked one by one here; rules over several of them are in `rules`.
"""

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field

from springline.api import problems
from springline.api.broker import BrokerSpec
from springline.api.durations import Span
from springline.api.fields import (
    RESERVED,
    Between,
    DataKey,
    ObjectName,
    PlainText,
    PropertyName,
    ShortString,
    VirtualHostName,
)
from springline.api.meta import ApiModel, Declaration

__all__ = [
    "BrokerConnection",
    "BrokerConnectionSpec",
    "BrokerReference",
    "Credentials",
    "External",
    "Probe",
    "SecretReference",
    "TokenReference",
]


MOST_PROPERTIES: Final = 64


def _not_too_many(properties: dict[str, str]) -> dict[str, str]:
    if len(properties) > MOST_PROPERTIES:
        limit = f"more than {MOST_PROPERTIES} entries"
        raise problems.refused("", expected=f"must not have {limit}")
    return properties


class BrokerReference(ApiModel):
    """The broker to connect to."""

    kind: Literal["Broker", "ClusterBroker"] = Field(
        default="Broker", description="Broker for one in the same namespace, or ClusterBroker."
    )
    name: ObjectName = Field(description="Name of the broker.")


class SecretReference(ApiModel):
    """A Secret with a user name and a password."""

    name: ObjectName = Field(description="Name of the Secret, in the same namespace.")
    username_key: DataKey = Field(
        default="username", description="Key in the Secret that has the user name."
    )
    password_key: DataKey = Field(
        default="password", description="Key in the Secret that has the password."
    )


class TokenReference(ApiModel):
    """A Secret with a token (JWT) that somebody else renews."""

    name: ObjectName = Field(description="Name of the Secret, in the same namespace.")
    key: DataKey = Field(default="token", description="Key in the Secret that has the token.")


class External(ApiModel):
    """SASL EXTERNAL: the broker takes the user from the client certificate. It has no fields."""


class Credentials(ApiModel):
    """How the client shows who it is; exactly one of the fields is given."""

    secret_ref: SecretReference | None = Field(
        default=None, description="User name and password from a Secret."
    )
    token_ref: TokenReference | None = Field(
        default=None, description="A token from a Secret that somebody else renews."
    )
    external: External | None = Field(
        default=None,
        description=(
            "SASL EXTERNAL with the broker's client certificate. Written as an empty mapping: {}"
        ),
    )


class Probe(ApiModel):
    """How Springline learns whether the broker has blocked the connection."""

    mode: Literal["Publish", "None"] = Field(
        default="Publish",
        description=(
            "Publish sends an empty message again and again, because a broker tells only those"
            " who publish that it has blocked them. None sends nothing, and the condition Blocked"
            " stays Unknown until the broker says something."
        ),
    )
    interval: Annotated[timedelta, Span(minimum="1s", maximum="1h")] = Field(
        default=timedelta(seconds=15), description="Time between two messages."
    )
    timeout: Annotated[timedelta, Span(minimum="100ms", maximum="10m")] = Field(
        default=timedelta(seconds=5), description="How long to wait for the broker's confirmation."
    )
    exchange: ShortString = Field(
        default="", description="Exchange to publish to; empty for the default exchange."
    )
    routing_key: ShortString = Field(
        default="springline.probe",
        description="Routing key of the messages. With no queue bound to it they are dropped.",
    )


class BrokerConnectionSpec(ApiModel):
    """A client connection that is kept open."""

    broker_ref: BrokerReference | None = Field(
        default=None, description="Broker to connect to; exactly one of this and broker."
    )
    broker: BrokerSpec | None = Field(
        default=None, description="The broker itself, in place; exactly one of this and brokerRef."
    )
    virtual_host: VirtualHostName = Field(
        default="/", description="Virtual host to open, up to 255 bytes."
    )
    credentials: Credentials = Field(description="How the client shows who it is.")
    heartbeat: Annotated[
        timedelta, Span(minimum="1s", maximum="65534s", zero=True, whole_seconds=True)
    ] = Field(
        default=timedelta(seconds=60),
        description=(
            "Longest silence of the peer, in whole seconds; after two of them it counts as gone."
            " The broker may ask for less. 0s turns heartbeats off."
        ),
    )
    channel_max: Annotated[int, Between(1, 65535)] = Field(
        default=2047, description="Highest channel number. The broker may ask for less."
    )
    frame_max: Annotated[int, Between(4096, 2147483647)] = Field(
        default=131072, description="Largest frame in bytes. The broker may ask for less."
    )
    client_properties: Annotated[dict[PropertyName, PlainText], AfterValidator(_not_too_many)] = (
        Field(
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
                        "rule": f"self.all(key, !(key in {sorted(RESERVED)}))",
                        "message": (
                            f"{', '.join(sorted(RESERVED))} are set by Springline; use another name"
                        ),
                    },
                ],
            },
        )
    )
    probe: Probe = Field(
        default=Probe(),
        description="How Springline learns whether the broker has blocked the connection.",
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
