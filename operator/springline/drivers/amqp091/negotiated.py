"""What came of an AMQP 0-9-1 handshake, and how status shows it. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from springline.api import texts
from springline.api.status import NegotiatedStatus, ServerStatus
from springline.core.values import Negotiated, ServerInfo

__all__ = ["Amqp091Negotiated", "Amqp091ServerInfo"]


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
            client_properties={
                texts.shown(name): texts.shown(value)
                for name, value in self.client_properties.items()
            },
            tls=self.tls.as_status() if self.tls is not None else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Amqp091ServerInfo(ServerInfo):
    """What the broker says of itself in Start."""

    locales: tuple[str, ...] = ()

    def as_status(self) -> ServerStatus:
        """Return `status.server`."""
        # Without arguments, super() does not work in a class that is made anew for its slots.
        shown = ServerInfo.as_status(self)
        return shown.model_copy(update={"locales": self.locales or None})
