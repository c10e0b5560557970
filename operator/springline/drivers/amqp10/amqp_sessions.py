"""An AMQP session that we have begun, as the engine keeps it."""

from dataclasses import dataclass
from typing import Final

from proton import Endpoint, Session

from springline.drivers.amqp10.conditions import Condition

__all__ = ["EngineSession", "LinkName", "Windows"]

_REMOTE_CLOSED: Final = Endpoint.REMOTE_CLOSED
_REMOTE_ACTIVE: Final = Endpoint.REMOTE_ACTIVE
_LOCAL_ACTIVE: Final = Endpoint.LOCAL_ACTIVE


@dataclass(frozen=True, slots=True, kw_only=True)
class Windows:
    """What one side says of a session in Begin, and in each Flow since then (§2.5.6)."""

    incoming: int
    """Transfers that it takes in."""
    outgoing: int
    """Transfers that it is to send."""
    offered_capabilities: tuple[str, ...] = ()


LinkName = tuple[str, bool]
"""A link between two containers: its name, and whether the peer receives."""


class EngineSession:
    """A session that we have begun."""

    __slots__ = ("detached", "is_forgotten", "own_windows", "proton", "windows")

    def __init__(self, session: Session) -> None:
        self.proton = session
        self.is_forgotten = False
        """Whether we have ended it, and want to hear nothing more of it."""
        self.own_windows: Windows | None = None
        """As our Begin had them."""
        self.detached: set[LinkName] = set()
        """Links that the peer has detached, for good or not; proton shows only the former."""
        self.windows: Windows | None = None
        """The peer's, as they are now; None before it has begun."""

    @property
    def is_open(self) -> bool:
        """Whether both sides have begun it, and none has ended it."""
        state = self.proton.state
        return bool(state & _LOCAL_ACTIVE and state & _REMOTE_ACTIVE)

    @property
    def is_ended_by_peer(self) -> bool:
        """Whether the peer has sent an End."""
        return bool(self.proton.state & _REMOTE_CLOSED)

    @property
    def remote_condition(self) -> Condition | None:
        """Why the peer ended it; None where it did not, or gave no reason."""
        return Condition.of(self.proton.remote_condition)
