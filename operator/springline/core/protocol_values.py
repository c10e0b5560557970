"""What the values that are a protocol's own have to tell the core.

The core compares them, hands them on and asks them what is here. What else is in them only their
driver knows.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Protocol, Self

__all__ = ["Parameters", "Place"]


@dataclass(frozen=True, slots=True)
class Place:
    """Which part of a broker a connection is for, shown as `virtual host "orders"`."""

    kind: str
    name: str

    def __str__(self) -> str:
        return f'{self.kind} "{self.name}"'


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
    def place(self) -> Place:
        """Where at the broker it leads, for people."""
