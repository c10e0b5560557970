"""How connection, sessions and links end, told apart by who ended them (R4.7)."""

import enum

from springline.drivers.amqp10.conditions import Condition

__all__ = ["EndedError", "Origin"]


class Origin(enum.Enum):
    """Where an end came from. What the peer says counts before what we said, and that before what
    the transport shows."""

    REMOTE = "remote"
    LOCAL = "local"
    TRANSPORT = "transport"


class EndedError(Exception):
    """An endpoint has ended, in whatever way, while something was to happen on it."""

    def __init__(self, origin: Origin, condition: Condition | None) -> None:
        super().__init__(origin)
        self.origin = origin
        self.condition = condition
        """Why; None where no reason was given."""

    @property
    def is_error(self) -> bool:
        """Whether a reason was given, or nobody said anything; else it was closed in order."""
        return self.condition is not None or self.origin is Origin.TRANSPORT
