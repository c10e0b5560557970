"""What came of entering a hub, and how status shows it. Pure."""

from dataclasses import dataclass

from springline.api.status import NegotiatedStatus
from springline.core.values import Negotiated

__all__ = ["EchoNegotiated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoNegotiated(Negotiated):
    """What both agreed on."""

    longest_line: int

    def as_status(self) -> NegotiatedStatus:
        """Return `status.negotiated`."""
        return NegotiatedStatus(
            mechanism=self.mechanism,
            heartbeat=f"{self.heartbeat_seconds}s",
            frame_max=self.longest_line,
            tls=self.tls.as_status() if self.tls is not None else None,
        )
