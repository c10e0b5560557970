"""What is declared for an Echo connection, as its driver takes it. Pure."""

import dataclasses
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Self

from springline.api import v1alpha1
from springline.core.protocol_values import Offer, Place
from springline.drivers.shared import sasl, unused
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import TerminalError
from springline.protocols import PROTOCOLS
from springline.reasons import Reason

__all__ = ["EchoParameters"]

_INFO: Final = PROTOCOLS["echo"]
_NEVER_REFUSED: Final = frozenset({"heartbeat_seconds", "connection_name"})


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoParameters:
    """What is asked of the hub, as `core.protocol_values.Parameters`."""

    hub: str
    heartbeat_seconds: int
    """0 turns beats off."""
    longest_line: int
    """In bytes. What `frameMax` means here."""
    sasl: SaslPolicy
    connection_name: str

    @classmethod
    def declared(
        cls, connection: v1alpha1.BrokerConnectionSpec, broker: v1alpha1.BrokerSpec, *, name: str
    ) -> Self:
        """Return what a declaration asks for. `name` is what the hub is to show of it.

        Raises `TerminalError` for what has no meaning here.
        """
        unused.refuse(connection, ("channel_max", "client_properties"), at="spec.", title="Echo")
        unused.refuse(connection.probe, ("exchange", "routing_key"), at="spec.probe.", title="Echo")
        unused.refuse(broker, ("locale",), title="Echo")
        if connection.probe.mode == "OwnQueue":
            raise TerminalError(
                Reason.INVALID_SPEC, "spec.probe.mode: Echo has no queues; write Publish or None"
            )
        return cls(
            hub=connection.virtual_host,
            heartbeat_seconds=int(connection.heartbeat.total_seconds()),
            longest_line=connection.frame_max,
            sasl=sasl.declared(broker),
            connection_name=name,
        )

    def with_name(self, name: str) -> Self:
        """Return the same under another connection name."""
        return dataclasses.replace(self, connection_name=name)

    @property
    def acceptance(self) -> Hashable:
        """All but what no hub refuses a connection for: a new parameter counts unless named."""
        names = (each.name for each in dataclasses.fields(self))
        return tuple(getattr(self, name) for name in names if name not in _NEVER_REFUSED)

    @property
    def alone(self) -> str:
        """Nothing: a hub takes as many as it is asked for."""
        return ""

    @property
    def alpn(self) -> tuple[str, ...]:
        """Nothing."""
        return ()

    @property
    def place(self) -> Place:
        """The hub."""
        return Place(_INFO.place, self.hub)

    def offer(self, *, provider: str, tls: bool) -> Offer:
        """Return what applications are told."""
        return Offer(type=provider or "echo", scheme="echos" if tls else "echo", path=self.hub)
