"""Events of sessions as lines of the log."""

import logging
from collections import Counter
from typing import Any, Final

from springline.core import ports
from springline.core.budgets import Allowance, Budgets
from springline.core.events import Event, EventType, Severity
from springline.core.values import SessionKey

__all__ = ["MESSAGES", "LoggedEvents", "fields_of", "level_of"]

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


_ALLOWED: Final = Allowance(burst=60, refill_seconds=5.0)
"""Lines of one session: one that comes and goes all the time is not to fill the log."""

_REMEMBERED: Final = 10_000
"""Sessions whose lines that were left out are counted."""


class LoggedEvents:
    """Logs each event, as `core.events.EventSink`, unless a session has too many."""

    def __init__(self, clock: ports.Clock) -> None:
        self._clock = clock
        self._budgets: Budgets[SessionKey] = Budgets(_ALLOWED)
        self._left_out: Counter[SessionKey] = Counter()

    async def report(self, event: Event) -> None:
        """Log the event, steps of an attempt and routine as DEBUG.

        Of a session that has had too many lines, the next one says how many were left out.
        """
        level = level_of(event)
        if not logger.isEnabledFor(level):
            return
        # Steps and routine are logged only while somebody looks for a fault, and want all of them.
        if level > logging.DEBUG and not self._budgets.take(event.key, self._clock.monotonic()):
            self._leave_out(event.key)
            return
        fields = fields_of(event)
        if (left_out := self._left_out.pop(event.key, 0)) > 0:
            fields["left_out"] = left_out
        logger.log(level, MESSAGES[event.type], extra=fields)

    def _leave_out(self, key: SessionKey) -> None:
        if len(self._left_out) >= _REMEMBERED:
            self._left_out.clear()  # of sessions that are gone by now, most of them
        self._left_out[key] += 1


def fields_of(event: Event) -> dict[str, Any]:
    """Return what a line says of an event beside its message."""
    fields: dict[str, Any] = {"session": event.key, "detail": event.message}
    if event.broker is not None:
        fields["server"] = event.server_name
    if event.reason is not None:
        fields["reason"] = event.reason
    return fields


def level_of(event: Event) -> int:
    """Return the level of an event's line; steps of an attempt and routine are DEBUG."""
    if event.type in _STEPS or event.is_routine:
        return logging.DEBUG
    return logging.WARNING if event.type.severity is Severity.WARNING else logging.INFO
