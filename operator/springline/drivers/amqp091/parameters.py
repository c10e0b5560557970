"""What is declared for an AMQP 0-9-1 connection, as its driver takes it. Pure."""

import dataclasses
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Final, Self

from springline.api import v1alpha1
from springline.core.protocol_values import Offer, Place
from springline.drivers.shared import sasl
from springline.drivers.shared.sasl import SaslPolicy
from springline.protocols import PROTOCOLS

__all__ = ["Amqp091Parameters", "LocalePreference"]

_NEVER_REFUSED: Final = frozenset({"heartbeat_seconds", "connection_name", "client_properties"})
"""Parameters that no broker refuses a connection for. What is not here counts."""

_DEFAULT_LOCALE: Final = "en_US"
"""Every server must have it (AMQP 0-9-1 §1.4.2.2)."""

_RABBITMQ: Final = "rabbitmq"
_OTHER: Final = "amqp"


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalePreference:
    """Prefer one locale, or select the first offered of a list. At most one of both is set."""

    prefer: str | None = _DEFAULT_LOCALE
    select: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Amqp091Parameters:
    """What is asked of the broker, as `core.protocol_values.Parameters`."""

    virtual_host: str
    heartbeat_seconds: int
    """0 turns heartbeats off."""
    channel_max: int
    frame_max: int
    sasl: SaslPolicy
    locale: LocalePreference
    connection_name: str
    client_properties: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def declared(
        cls, connection: v1alpha1.BrokerConnectionSpec, broker: v1alpha1.BrokerSpec, *, name: str
    ) -> Self:
        """Return what a declaration asks for. `name` is what the broker is to show of it.

        Raises `TerminalError` for a mechanism of another protocol; all else has a use here.
        """
        return cls(
            virtual_host=connection.virtual_host,
            heartbeat_seconds=int(connection.heartbeat.total_seconds()),
            channel_max=connection.channel_max,
            frame_max=connection.frame_max,
            sasl=sasl.declared(broker),
            locale=LocalePreference(
                prefer=None if broker.locale.select else broker.locale.prefer or _DEFAULT_LOCALE,
                select=broker.locale.select or (),
            ),
            connection_name=name,
            client_properties=connection.client_properties,
        )

    def with_name(self, name: str) -> Self:
        """Return the same under another connection name."""
        return dataclasses.replace(self, connection_name=name)

    @property
    def acceptance(self) -> Hashable:
        """All but what no broker refuses a connection for: a new parameter counts unless named."""
        names = (each.name for each in dataclasses.fields(self))
        return tuple(getattr(self, name) for name in names if name not in _NEVER_REFUSED)

    @property
    def alone(self) -> str:
        """Nothing: a broker takes as many as it is asked for."""
        return ""

    @property
    def alpn(self) -> tuple[str, ...]:
        """Nothing: the protocol names itself in its first octets."""
        return ()

    @property
    def place(self) -> Place:
        """The virtual host."""
        return Place(PROTOCOLS["amqp091"].place, self.virtual_host)

    def offer(self, *, provider: str, tls: bool) -> Offer:
        """Return what applications are told, with URIs as in RabbitMQ's AMQP URI specification."""
        return Offer(
            type=_RABBITMQ if provider == _RABBITMQ else _OTHER,
            scheme="amqps" if tls else "amqp",
            path=self.virtual_host,
            entries={"vhost": self.virtual_host},
        )
