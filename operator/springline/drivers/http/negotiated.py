"""What came of opening a connection over HTTP, and how status shows it. Pure."""

from dataclasses import dataclass

from springline.api.status import NegotiatedHTTPStatus, NegotiatedStatus
from springline.core.values import Negotiated

__all__ = ["HttpNegotiated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpNegotiated(Negotiated):
    """What the answers so far have shown."""

    version: str
    """Of HTTP: `1.0`, `1.1` or `2`."""
    keeps_alive: bool = False
    """Whether an answer has shown that a connection takes more than one request."""
    concurrent_streams: int | None = None
    """Requests that an HTTP/2 server takes at the same time."""
    queue_length: int = 0
    """Requests without an answer when the last probe came to its end."""

    def as_status(self) -> NegotiatedStatus:
        """Return `status.negotiated`."""
        return NegotiatedStatus(
            mechanism=self.mechanism,
            heartbeat=f"{self.heartbeat_seconds}s",
            tls=self.tls.as_status() if self.tls is not None else None,
            http=NegotiatedHTTPStatus(
                version=self.version,
                keep_alive=self.keeps_alive,
                concurrent_streams=self.concurrent_streams,
                queue_length=self.queue_length,
            ),
        )
