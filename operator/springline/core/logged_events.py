"""Events of sessions as lines of the log."""

import logging
from typing import Final

from springline.core.events import Event, EventType, Severity

__all__ = ["MESSAGES", "LoggedEvents"]

logger = logging.getLogger(__name__)

MESSAGES: Final = {
    EventType.ATTEMPTING: "connecting",
    EventType.OBTAINED_ADDRESS: "address obtained",
    EventType.CONNECT_FAILED: "attempt failed",
    EventType.CONNECTED: "session connected",
    EventType.DISCONNECTED: "session disconnected",
    EventType.CLOSED: "session closed",
    EventType.BLOCKED: "session blocked",
    EventType.UNBLOCKED: "session unblocked",
    EventType.PROBE_REFUSED: "probe refused",
    EventType.SECRET_UPDATED: "secret updated in place",
    EventType.SECRET_REJECTED: "new credential not taken up",
    EventType.CHANGE_REFUSED: "change refused; the session keeps what it has",
    EventType.IN_SYNC: "session in sync again",
    EventType.CREDENTIALS_EXPIRING: "credential not renewed yet",
    EventType.CREDENTIALS_EXPIRED: "credential expired",
    EventType.BINDING_PUBLISHED: "binding published",
    EventType.BINDING_FAILED: "binding not published",
    EventType.SESSION_REPLACED: "session replaced",
    EventType.INVALID_SPEC: "declaration cannot be used",
}

_STEPS = frozenset({EventType.ATTEMPTING, EventType.OBTAINED_ADDRESS})


class LoggedEvents:
    """Logs each event, as `core.events.EventSink`."""

    async def report(self, event: Event) -> None:
        """Log the event, steps of an attempt and routine as DEBUG."""
        fields = {"session": event.key, "detail": event.message}
        if event.broker is not None:
            fields["server"] = event.server_name
        if event.reason is not None:
            fields["reason"] = event.reason
        logger.log(_level(event), MESSAGES[event.type], extra=fields)


def _level(event: Event) -> int:
    if event.type in _STEPS or event.is_routine:
        return logging.DEBUG
    return logging.WARNING if event.type.severity is Severity.WARNING else logging.INFO
