"""What is declared for a connection over AMQP 1.0, as its driver takes it. Pure."""

import dataclasses
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from springline.api import places, v1alpha1
from springline.core.protocol_values import Offer, Place
from springline.drivers.amqp10.terms import Delivery, Distribution, Durability, Expiry, Role
from springline.drivers.shared import sasl, unused
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import TerminalError
from springline.protocols import PROTOCOLS
from springline.reasons import Reason

__all__ = [
    "Amqp10Parameters",
    "LinkParameters",
    "ProbeParameters",
    "SourceParameters",
    "TargetParameters",
]

_INFO: Final = PROTOCOLS["amqp10"]
_NEVER_REFUSED: Final = frozenset(
    {
        "heartbeat_seconds",
        "container_id",
        "links",
        "probe",
        "connection_name",
        "client_properties",
    }
)
"""Parameters that no broker refuses a connection for. What is not here counts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetParameters:
    """The end of a link that messages go to, as it is asked for."""

    address: str | None = None
    durability: Durability = Durability.NONE
    expiry: Expiry = Expiry.SESSION_END
    timeout_seconds: int = 0
    dynamic: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceParameters(TargetParameters):
    """The end of a link that messages come from, as it is asked for."""

    filters: tuple[tuple[str, str], ...] = ()
    """Name and text, in the order of the names."""
    distribution: Distribution | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkParameters:
    """One link to attach."""

    name: str
    """In the declaration and in status."""
    role: Role
    source: SourceParameters = SourceParameters()
    """That of a durable subscription is durable already."""
    target: TargetParameters = TargetParameters()
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    durable_subscription: str | None = None
    keep: bool = False
    """Whether it stays attached; true for every sender."""

    @property
    def wire_name(self) -> str:
        """What the broker is told as its name."""
        return self.durable_subscription or self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeParameters:
    """Where a probe sends to."""

    address: str
    receive: bool = False
    """Whether what is sent is taken back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amqp10Parameters:
    """What is asked of the broker, as `core.protocol_values.Parameters`."""

    virtual_host: str = ""
    """Empty where none is declared."""
    container_id: str
    heartbeat_seconds: int = 60
    """Longest silence of the peer, half of the idle time-out; 0 demands none."""
    frame_max: int = 131072
    """Bytes of the largest frame that is taken."""
    channel_max: int = 2047
    incoming_capacity: int = 1024 * 1024
    """Bytes."""
    outgoing_window: int = 2048
    """Frames."""
    sole_connection: bool = False
    links: tuple[LinkParameters, ...] = ()
    probe: ProbeParameters | None = None
    """None sends nothing."""
    sasl: SaslPolicy
    locales: tuple[str, ...] = ()
    """Tags of languages (RFC 5646), most wanted first; empty for the protocol's own en-US."""
    connection_name: str
    client_properties: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def declared(
        cls, connection: v1alpha1.BrokerConnectionSpec, broker: v1alpha1.BrokerSpec, *, name: str
    ) -> Self:
        """Return what a declaration asks for. `name` is what the broker is to show of it.

        Raises `TerminalError` for what has no meaning here.
        """
        title = _INFO.title
        unused.refuse(connection.probe, ("exchange", "routing_key"), at="spec.probe.", title=title)
        if connection.probe.mode == "OwnQueue":
            raise TerminalError(
                Reason.INVALID_SPEC,
                f"spec.probe.mode: {title} has no queues that are a connection's own; write"
                " Publish, which sends to spec.amqp10.probe.address, or None",
            )
        own = connection.amqp10
        return cls(
            virtual_host=(
                connection.virtual_host if connection.virtual_host != places.DEFAULT else ""
            ),
            container_id=own.container_id or name,
            heartbeat_seconds=int(connection.heartbeat.total_seconds()),
            frame_max=connection.frame_max,
            channel_max=connection.channel_max,
            incoming_capacity=own.session.incoming_capacity,
            outgoing_window=own.session.outgoing_window,
            sole_connection=own.sole_connection,
            links=tuple(map(_link, own.links)),
            probe=(
                ProbeParameters(address=own.probe.address, receive=own.probe.receive)
                if own.probe is not None
                else None
            ),
            sasl=sasl.declared(broker),
            locales=_locales(broker.locale),
            connection_name=name,
            client_properties=connection.client_properties,
        )

    def with_name(self, name: str) -> Self:
        """Return the same under another connection name, for a connection beside the session.

        It is another container, which a broker does not take for the session's, and it attaches no
        links: a durable subscription would be one of that container's, and stay behind.
        """
        if name == self.connection_name:
            return self
        what = name.removeprefix(self.connection_name)
        return dataclasses.replace(
            self,
            connection_name=name,
            container_id=f"{self.container_id}{what if what != name else f' {name}'}",
            links=(),
        )

    @property
    def acceptance(self) -> Hashable:
        """All but what no broker refuses a connection for: a new parameter counts unless named."""
        names = (each.name for each in dataclasses.fields(self))
        return tuple(getattr(self, name) for name in names if name not in _NEVER_REFUSED)

    @property
    def alone(self) -> str:
        """That the container is to have one connection, where that is declared."""
        return "spec.amqp10.soleConnection is true" if self.sole_connection else ""

    @property
    def alpn(self) -> tuple[str, ...]:
        """Nothing: the protocol names itself in its first octets."""
        return ()

    @property
    def place(self) -> Place:
        """The virtual host."""
        return Place(_INFO.place, self.virtual_host or places.DEFAULT)

    def offer(self, *, provider: str, tls: bool) -> Offer:
        """Return what applications are told."""
        del provider  # the type says which protocol to speak, and RabbitMQ's is another one
        host = self.virtual_host
        return Offer(
            type="amqp",
            scheme="amqps" if tls else "amqp",
            path=host,
            entries={"vhost": host} if host else {},
        )


def _link(declared: v1alpha1.AMQP10Link) -> LinkParameters:
    role = Role(declared.role)
    source = declared.source
    is_durable = declared.durable_subscription is not None
    return LinkParameters(
        name=declared.name,
        role=role,
        source=SourceParameters(
            address=source.address,
            durability=(
                Durability.UNSETTLED_STATE if is_durable else Durability(source.durability)
            ),
            expiry=Expiry.NEVER if is_durable else Expiry(source.expiry),
            timeout_seconds=int(source.timeout.total_seconds()),
            dynamic=source.dynamic,
            filters=tuple(sorted(source.filter.items())),
            distribution=(
                Distribution(source.distribution) if source.distribution is not None else None
            ),
        ),
        target=TargetParameters(
            address=declared.target.address,
            durability=Durability(declared.target.durability),
            expiry=Expiry(declared.target.expiry),
            timeout_seconds=int(declared.target.timeout.total_seconds()),
            dynamic=declared.target.dynamic,
        ),
        delivery=Delivery(declared.delivery),
        durable_subscription=declared.durable_subscription,
        keep=declared.keep or role is Role.SENDER,
    )


def _locales(declared: v1alpha1.Locale) -> tuple[str, ...]:
    """Return locales as AMQP 1.0 has them (§2.7.1): `de_AT.UTF-8` is the language `de-AT`."""
    names = declared.select or ((declared.prefer,) if declared.prefer else ())
    tags = (name.partition(".")[0].partition("@")[0].replace("_", "-") for name in names)
    return tuple(dict.fromkeys(tag for tag in tags if tag))
