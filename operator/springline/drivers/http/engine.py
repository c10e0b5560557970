"""What a version of HTTP does for a connection, without I/O: octets in, events out. Pure.

http1.py and http2.py implement it. Which request goes next, and what becomes of those that get no
answer, is decided in conversation.py.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from springline.drivers.http.messages import Request, Response
from springline.reasons import Reason

__all__ = [
    "Answered",
    "BrokenPeerError",
    "Encoded",
    "End",
    "EndKind",
    "Ended",
    "Engine",
    "Event",
    "Failed",
    "Refused",
]


class BrokenPeerError(Exception):
    """The peer has broken the protocol or a bound; never leaves the engine that raises it."""

    def __init__(self, reason: Reason, what: str) -> None:
        super().__init__(reason, what)
        self.reason = reason
        self.what = what


class EndKind(enum.Enum):
    """How a connection came to its end."""

    CLOSED = "closed"  # `close` was called
    DONE = "done"  # all is answered after `shutdown`, or the one request of a connection is
    PEER = "peer"  # the server ended it in an orderly way: another connection serves as well
    FAILED = "failed"  # it broke, or the peer broke the protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    """The end of a connection, with a reason of the contract and a sentence without secrets."""

    kind: EndKind
    reason: Reason
    text: str

    @property
    def is_orderly(self) -> bool:
        """Whether nothing went wrong."""
        return self.kind is not EndKind.FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """A request has its final answer."""

    key: int
    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A request was certainly not processed, and the peer said so."""

    key: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A request has failed by itself; the connection goes on."""

    key: int
    reason: Reason
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """Nothing more will be answered; what is in flight has failed."""

    end: End
    is_unprocessed: bool = False
    """Whether the peer has said that it processes none of the rest."""


Event = Answered | Refused | Failed | Ended


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A request that is about to be sent, with its body at hand."""

    request: Request
    body: bytes
    is_of_known_length: bool
    is_last: bool
    """Whether nothing is sent after it."""

    @property
    def octets(self) -> int:
        """Octets that it has about, without framing."""
        fields = sum(len(name) + len(value) for name, value in self.request.headers)
        return len(self.request.target) + fields + len(self.body)


class Engine(Protocol):
    """One connection's protocol. Each method returns at once and raises nothing of a library."""

    @property
    def version(self) -> str:
        """Of HTTP, for people."""

    @property
    def is_ready(self) -> bool:
        """Whether the peer has said all that is needed before requests are sent."""

    @property
    def concurrent_streams(self) -> int | None:
        """How many requests the peer takes at the same time, where the version has such a limit."""

    @property
    def takes_several(self) -> bool:
        """Whether an answer has shown that the connection takes more than one request."""

    @property
    def is_draining(self) -> bool:
        """Whether it takes no new requests, while those in flight are answered."""

    @property
    def half_closes(self) -> bool:
        """Whether the sending side can end while answers are still awaited."""

    @property
    def begun(self) -> frozenset[int]:
        """Requests in flight of whose answer something has come."""

    def has_room(self, request: Request) -> bool:
        """Whether the request can be sent now, next to those in flight."""

    def start(self) -> bytes:
        """Return what is sent first."""

    def send(self, key: int, encoded: Encoded) -> bytes:
        """Begin a request and return what to send."""

    def cancel(self, key: int) -> bytes | None:
        """Give a request up; return what to send, None where the connection cannot go on so."""

    def receive(self, data: bytes) -> tuple[bytes, Sequence[Event]]:
        """Take in octets; return what to send, and what has come of it."""

    def receive_eof(self) -> Sequence[Event]:
        """Take in that the peer sends no more."""

    def ping(self) -> bytes:
        """Return what a live peer answers at once; empty where there is no such thing."""

    def finish(self) -> bytes:
        """Return what is sent last, before the transport is closed."""
