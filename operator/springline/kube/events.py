"""What happened to sessions, as Kubernetes Events on their BrokerConnections, and notices on any.

Here is decided which ones are worth it; `event_posting` brings them to the API server. A session
that comes and goes all the time gets a few Events at once and then one now and again, so that it
does not fill the API server.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from springline.api.meta import Identity
from springline.api.texts import shortened
from springline.core import event_texts, ports
from springline.core.budgets import Allowance, Budgets
from springline.core.events import Event, EventType, Severity
from springline.kube import event_objects
from springline.kube.event_objects import Content

__all__ = ["KubernetesEvents", "Poster"]

logger = logging.getLogger(__name__)

# Steps on the way, of interest only to those who watch one session in a terminal.
_NOT_POSTED = frozenset({EventType.ATTEMPTING, EventType.OBTAINED_ADDRESS})

_ALLOWED = Allowance(burst=25, refill_seconds=300.0)
"""The same figures as Kubernetes' own components: 25 at once, then one in five minutes."""


class Poster(Protocol):
    """Brings Events to the API server; `kube.event_posting.EventPoster` does."""

    def put(self, content: Content, *, at: datetime) -> None:
        """Have it posted that this happened at that time. Returns at once."""


class KubernetesEvents:
    """Decides which events become Kubernetes Events, as `core.events.EventSink`."""

    def __init__(
        self,
        poster: Poster,
        uid_of: Callable[[Identity], str | None],
        clock: ports.Clock,
        *,
        limited: Callable[[], None] = lambda: None,
    ) -> None:
        """`limited` is told of each Event that is left out because its object has too many."""
        self._poster = poster
        self._uid_of = uid_of
        self._clock = clock
        self._limited = limited
        self._budgets: Budgets[str] = Budgets(_ALLOWED)

    async def report(self, event: Event) -> None:
        """Have the event posted, unless there is no need. Returns at once.

        Routine is none: each Event is a write, and status says when a token was renewed last.
        """
        if event.type in _NOT_POSTED or event.is_routine:
            return
        key = event.key
        is_posted = self._post(
            Identity("BrokerConnection", key.namespace, key.name),
            event.type.severity,
            reason=event_texts.reason_of(event),
            action=str(event.type),
            message=event_texts.message_of(event),
            at=event.at,
            related=_related(event),
        )
        if not is_posted:
            logger.debug("event not posted: too many of them", extra={"session": key})

    def warn(self, identity: Identity, *, reason: str, message: str) -> bool:
        """Post a Warning on an object, as `kube.notices.NoticePoster`."""
        return self._post(
            identity,
            Severity.WARNING,
            reason=reason,
            action=reason,
            message=message,
            at=self._clock.now(),
        )

    def _post(
        self,
        identity: Identity,
        severity: Severity,
        *,
        reason: str,
        action: str,
        message: str,
        at: datetime,
        related: Identity | None = None,
    ) -> bool:
        """Have an Event posted, and return False if the object has too many for now."""
        uid = self._uid_of(identity)
        if uid is None:
            return True  # deleted meanwhile
        if not self._budgets.take(uid, self._clock.monotonic()):
            self._limited()
            return False
        content = Content(
            identity=identity,
            uid=uid,
            type=str(severity),
            reason=reason,
            action=action,
            message=shortened(message, event_objects.MESSAGE_BYTES),
            related=related,
        )
        self._poster.put(content, at=at)
        return True


def _related(event: Event) -> Identity | None:
    """Return the broker that it is about, where that is an object of its own."""
    is_in_place = event.broker is not None and event.broker.kind == "BrokerConnection"
    return None if is_in_place else event.broker
