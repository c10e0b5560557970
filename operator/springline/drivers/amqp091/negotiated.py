"""What both peers agreed on in an AMQP 0-9-1 handshake, and how status shows it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from springline.api.status import NegotiatedStatus
from springline.core.values import Negotiated

__all__ = ["Amqp091Negotiated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amqp091Negotiated(Negotiated):
    """What came of Start, Tune and Open."""

    locale: str
    channel_max: int
    frame_max: int
    client_properties: Mapping[str, str] = field(default_factory=dict)
    """As sent, without the capability table."""

    def as_status(self) -> NegotiatedStatus:
        """Return `status.negotiated`."""
        return NegotiatedStatus(
            mechanism=self.mechanism,
            locale=self.locale,
            heartbeat=f"{self.heartbeat_seconds}s",
            channel_max=self.channel_max,
            frame_max=self.frame_max,
            client_properties=dict(self.client_properties),
            tls=self.tls.as_status() if self.tls is not None else None,
        )
