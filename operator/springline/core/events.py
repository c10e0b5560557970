"""What a session reports as it happens, and which repetitions are left out.

The order within a cycle is fixed (async_js, persistent connection): attempting to connect,
obtained address, failed to connect, connected, disconnected. Each is handled to the end before the
session takes its next step.
"""

import enum
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

from springline.api import texts
from springline.api.meta import Identity
from springline.core.values import SessionKey
from springline.reasons import Reason

__all__ = ["Deduplicator", "Event", "EventSink", "EventType", "Severity", "server_name"]


class Severity(enum.StrEnum):
    """As Kubernetes names them."""

    NORMAL = "Normal"
    WARNING = "Warning"


class EventType(enum.StrEnum):
    """What happened. The value is the `action` of a Kubernetes Event.

    It is the Event's `reason` too, where the event is not about a condition that is not as it
    should be.
    """

    ATTEMPTING = "Attempting"  # a cycle of attempts begins; not posted as a Kubernetes Event
    OBTAINED_ADDRESS = "ObtainedAddress"  # the name was looked up; not posted either
    CONNECT_FAILED = "ConnectFailed"  # an attempt failed
    CONNECTED = "Connected"  # the session is open
    DISCONNECTED = "Disconnected"  # an open session ended, not by our doing
    CLOSED = "Closed"  # an open session was closed by us
    BLOCKED = "Blocked"  # the broker stopped taking in publishes
    UNBLOCKED = "Unblocked"  # it takes them in again
    PROBE_REFUSED = "ProbeRefused"  # the broker refused the probe, so a block would go unseen
    SECRET_UPDATED = "SecretUpdated"  # the live session's secret was renewed in place
    SECRET_REJECTED = "SecretRejected"  # a new credential was refused; the live session stays
    CHANGE_REFUSED = "ChangeRefused"  # another change cannot work; the live session stays as it was
    IN_SYNC = "InSync"  # after either: the live session uses what is declared again
    CREDENTIALS_EXPIRING = "CredentialsExpiring"  # its renewal is due and has not happened
    CREDENTIALS_EXPIRED = "CredentialsExpired"  # its lifetime ended before it was renewed
    BINDING_PUBLISHED = "BindingPublished"  # the Secret for applications was written
    BINDING_FAILED = "BindingFailed"  # it could not be
    SESSION_REPLACED = "SessionReplaced"  # a new session took over before the old one was closed
    INVALID_SPEC = "InvalidSpec"  # the declaration cannot be used

    @property
    def severity(self) -> Severity:
        return Severity.WARNING if self in _WARNINGS else Severity.NORMAL

    @property
    def reason(self) -> Reason | None:
        """What the condition then says that it is about, where that is always the same."""
        return _REASONS.get(self)


_WARNINGS = frozenset(
    {
        EventType.CONNECT_FAILED,
        EventType.DISCONNECTED,
        EventType.BLOCKED,
        EventType.PROBE_REFUSED,
        EventType.SECRET_REJECTED,
        EventType.CHANGE_REFUSED,
        EventType.CREDENTIALS_EXPIRING,
        EventType.CREDENTIALS_EXPIRED,
        EventType.BINDING_FAILED,
        EventType.INVALID_SPEC,
    }
)


_REASONS: Final = {
    EventType.PROBE_REFUSED: Reason.PROBE_DISABLED,
    EventType.CREDENTIALS_EXPIRING: Reason.EXPIRING,
    EventType.CREDENTIALS_EXPIRED: Reason.EXPIRED,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened to one session. Never holds a secret."""

    type: EventType
    key: SessionKey
    at: datetime
    message: str
    reason: Reason | None = None
    """The reason of the condition that it is about."""
    is_routine: bool = False
    """Whether it happens again and again by itself, such as the renewal of a token in time."""
    broker: Identity | None = None
    """What was declared to be connected to when it happened; None where nothing usable was yet."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "message", texts.shortened(self.message, texts.LONGEST_MESSAGE))

    @property
    def server_name(self) -> str:
        """The broker's name for people, as it is declared; empty where nothing usable was yet."""
        return server_name(self.broker)


def server_name(broker: Identity | None) -> str:
    """Return what a broker is called to people: its kind and its name."""
    return f"{broker.kind} {broker.name}" if broker is not None else ""


class EventSink(Protocol):
    """Where events go: the log, the terminal, Kubernetes Events."""

    async def report(self, event: Event) -> None:
        """Handle one event. Must not wait for a peer: the session waits until this returns.

        What takes longer is a reader of the bus (event_bus.py).
        """


class Deduplicator:
    """Leaves out what says nothing new within one cycle of attempts.

    Failed-to-connect and obtained-address count only if they differ from the last of their kind
    since the last attempting-to-connect.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        # None while an attempt is not under way: almost all of many sessions are open.
        self._last: dict[EventType, tuple[Reason | None, str]] | None = None

    def admits(self, event: Event) -> bool:
        """Whether the event is news. Remembers it if so."""
        if event.type in (EventType.ATTEMPTING, EventType.CONNECTED):
            self._last = None
            return True
        if event.type not in (EventType.CONNECT_FAILED, EventType.OBTAINED_ADDRESS):
            return True
        content = (event.reason, event.message)
        if self._last is None:
            self._last = {}
        if self._last.get(event.type) == content:
            return False
        self._last[event.type] = content
        return True
