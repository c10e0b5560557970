"""What the values that are a protocol's own have to tell the core.

The core compares them, hands them on and asks them what is here. What else is in them only their
driver knows.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, Self

from springline.errors import ProbeRefusedError

__all__ = ["Offer", "Parameters", "Place", "ProbeTarget"]


@dataclass(frozen=True, slots=True)
class Place:
    """Which part of a broker a connection is for, shown as its kind with the name in quotes."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f'{self.kind} "{self.name}"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What applications are told of the way to a broker, beside its endpoints and the login."""

    type: str
    """What kind of service it is, as the Service Binding specification has it."""
    scheme: str
    """Of the URIs."""
    path: str
    """Of the URIs, without the first slash, and not quoted yet."""
    entries: Mapping[str, str] = field(default_factory=dict)
    """What else is told, by key."""
    has_login: bool = True
    """Whether the login is part of the URIs, and a token of a login. Where it is not, a token
    stands by itself."""


class Parameters(Protocol):
    """What is asked of the broker when a session opens. Equal parameters need no new connection."""

    @property
    def connection_name(self) -> str:
        """What the broker shows of whose connection it is."""

    def with_name(self, name: str) -> Self:
        """Return the same under another connection name."""

    @property
    def acceptance(self) -> Hashable:
        """All that a broker's answer to a credential may depend on.

        Where this is equal, one answer serves for both.
        """

    @property
    def alone(self) -> str:
        """Why no second connection like this one may be open beside it, naming the field.

        Part of a sentence; empty where there may be one.
        """

    @property
    def alpn(self) -> tuple[str, ...]:
        """What is offered in a TLS handshake as the protocol on top of it (RFC 7301), if anything.

        Most wanted first.
        """

    @property
    def place(self) -> Place:
        """Where at the broker it leads, for people."""

    def offer(self, *, provider: str, tls: bool) -> Offer:
        """Return what applications are told that are to connect likewise.

        `provider` is what the broker calls itself, as one word; empty if it does not say.
        """


class ProbeTarget(Protocol):
    """What a probe does, to see whether the broker takes in what is published."""

    def refusal(self, error: ProbeRefusedError) -> str:
        """Say what was refused, what that means, and what to do about it."""
