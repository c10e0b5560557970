"""What a BrokerConnection declares of its own over AMQP 1.0: `spec.amqp10`.

The fields are checked one by one here, and that no two links have one name; the other rules over
several of them are in `rules`.
"""

from datetime import timedelta
from typing import Annotated, Final, Literal

from pydantic import AfterValidator, Field, Strict

from springline.api import problems
from springline.api.durations import Span
from springline.api.fields import (
    Between,
    ByteCount,
    ContainerID,
    FilterName,
    FilterText,
    LinkName,
    Named,
    NodeAddress,
    no_more_than,
)
from springline.api.meta import ApiModel

__all__ = [
    "AMQP10",
    "AMQP10Link",
    "AMQP10Probe",
    "AMQP10Session",
    "AMQP10Source",
    "AMQP10Terminus",
]

MOST_LINKS: Final = 16
MOST_FILTERS: Final = 8


def _not_too_many(filters: dict[str, str]) -> dict[str, str]:
    no_more_than(MOST_FILTERS, filters)
    return filters


class AMQP10Session(ApiModel):
    """The windows of the AMQP session in which the links are."""

    incoming_capacity: ByteCount = Field(
        default=1024 * 1024,
        description=(
            "Bytes that the broker may have on the way to the client: a number, or a quantity such"
            " as 1Mi. The incoming window is as many of the largest frames as fit in."
        ),
    )
    outgoing_window: Annotated[int, Between(1, 2147483647)] = Field(
        default=2048, description="Frames that the client may have on the way to the broker."
    )


class AMQP10Terminus(ApiModel):
    """One end of a link: a node, and what becomes of the end when the link does."""

    address: NodeAddress | None = Field(
        default=None, description="Address of the node, as the broker writes it."
    )
    durability: Literal["None", "Configuration", "UnsettledState"] = Field(
        default="None",
        description=(
            "What outlives a restart of the broker: None, the Configuration of this end, or its"
            " UnsettledState too."
        ),
    )
    expiry: Literal["LinkDetach", "SessionEnd", "ConnectionClose", "Never"] = Field(
        default="SessionEnd", description="When the time in timeout begins to run."
    )
    timeout: Annotated[timedelta, Span(minimum="0s", maximum="8760h", whole_seconds=True)] = Field(
        default=timedelta(0),
        description="How long the broker keeps this end after that, in whole seconds.",
    )
    dynamic: bool = Field(
        default=False,
        description="Whether the broker creates a node for the link; without an address.",
    )


class AMQP10Source(AMQP10Terminus):
    """The end that messages come from."""

    filter: Annotated[dict[FilterName, FilterText], AfterValidator(_not_too_many)] = Field(
        default_factory=dict,
        description=(
            "Which messages a Receiver gets: texts by the name of the filter, such as"
            " apache.org:selector-filter:string."
        ),
        json_schema_extra={
            "maxProperties": MOST_FILTERS,
            "x-kubernetes-validations": [  # the API server's schemas say nothing of keys
                {
                    "rule": "self.all(key, key.matches('^[!-~]+$') && size(key) <= 255)",
                    "message": (
                        "names must have between 1 and 255 characters of ASCII, without spaces"
                    ),
                },
            ],
        },
    )
    distribution: Literal["Move", "Copy"] | None = Field(
        default=None,
        description=(
            "Whether a message that one link gets is gone for others (Move) or not (Copy)."
            " Default: as the node has it."
        ),
    )


class AMQP10Link(ApiModel):
    """A link that is attached once the session is open. Nothing is received over it."""

    name: LinkName = Field(description="Name of the link, each only once.")
    role: Literal["Sender", "Receiver"] = Field(
        description="Sender for a link to the broker, Receiver for one from it."
    )
    source: AMQP10Source = Field(
        default=AMQP10Source(),
        description="Where messages come from; a Receiver needs its address, or dynamic: true.",
    )
    target: AMQP10Terminus = Field(
        default=AMQP10Terminus(),
        description="Where messages go to; a Sender needs its address, or dynamic: true.",
    )
    delivery: Literal["AtLeastOnce", "AtMostOnce"] = Field(
        default="AtLeastOnce",
        description=(
            "AtLeastOnce asks for messages whose outcome is told (unsettled, first), AtMostOnce for"
            " messages whose outcome is not (settled, first)."
        ),
    )
    durable_subscription: LinkName | None = Field(
        default=None,
        description=(
            "Name of a subscription that outlives the connection; for a Receiver only. It is what"
            " the broker is told as the name of the link, and its source gets durability:"
            " UnsettledState and expiry: Never, whatever else is declared."
        ),
    )
    keep: bool = Field(
        default=False,
        description=(
            "A Receiver is attached, reported and detached again, at opening and every so often;"
            " true keeps it attached. It then counts as a consumer although it takes nothing, and"
            " can be the active one of a queue with a single active consumer, so that an"
            " application gets nothing. A Sender is always kept."
        ),
    )


class AMQP10Probe(ApiModel):
    """Where messages are sent to, to see whether the broker takes them in."""

    address: NodeAddress = Field(
        description=(
            "Address of the node that a message is sent to every spec.probe.interval. It expires"
            " before the next one."
        )
    )
    receive: bool = Field(
        default=False,
        description=(
            "Whether the message is taken back and accepted, so that a queue does not keep it until"
            " it expires."
        ),
    )


def _no_link_twice(links: tuple[AMQP10Link, ...]) -> tuple[AMQP10Link, ...]:
    """Refuse two links that the broker could not tell apart (AMQP 1.0 §2.6.1)."""
    told = [(each.role, each.durable_subscription or each.name) for each in links]
    doubles = [name for role, name in dict.fromkeys(told) if told.count((role, name)) > 1]
    if doubles:
        listed = ", ".join(f"{problems.quoted(name)}" for name in doubles)
        raise problems.refused(
            "",
            expected=f"has {listed} more than once as a name or durableSubscription in one role",
        )
    return links


class AMQP10(ApiModel):
    """What only brokers that speak AMQP 1.0 have."""

    container_id: ContainerID | None = Field(
        default=None,
        alias="containerID",
        description=(
            "Name under which the broker knows the client, up to 255 bytes. Connections of one"
            " client may share it. Default: springline/<namespace>/<name>."
        ),
    )
    session: AMQP10Session = Field(
        default=AMQP10Session(), description="The windows of the AMQP session."
    )
    sole_connection: bool = Field(
        default=False,
        description=(
            "True asks the broker to allow one connection only with this container id, where it"
            " knows of that; a session is then closed before it is replaced by another."
        ),
    )
    links: Annotated[
        tuple[AMQP10Link, ...],
        Strict(strict=False),
        Named(MOST_LINKS),
        AfterValidator(_no_link_twice),
    ] = Field(
        default=(),
        description="Links to attach.",
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": (
                        "self.all(x, self.exists_one(y, x.role == y.role"
                        " && (has(x.durableSubscription) ? x.durableSubscription : x.name)"
                        " == (has(y.durableSubscription) ? y.durableSubscription : y.name)))"
                    ),
                    "message": (
                        "links of one role must not have a name or durableSubscription more than"
                        " once"
                    ),
                }
            ]
        },
    )
    probe: AMQP10Probe | None = Field(
        default=None,
        description=(
            "Where a message is sent every spec.probe.interval, unless spec.probe.mode is None."
            " Without it nothing is sent, and the connection is only watched."
        ),
    )
