"""What happened to sessions, as Kubernetes Events on their BrokerConnections, and notices on any.

kopf posts them in the background and tries again when the API server does not answer; here is
decided which ones are worth it. A session that comes and goes all the time gets a few Events at
once and then one now and again, so that it does not fill the API server.
"""

import contextvars
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

from springline.api.meta import Identity
from springline.api.v1alpha1 import API_VERSION
from springline.core import ports
from springline.core.events import Event, EventType, Severity
from springline.kube.framework import kopf

__all__ = ["KubernetesEvents"]

logger = logging.getLogger(__name__)

# Steps on the way, of interest only to those who watch one session in a terminal.
_NOT_POSTED = frozenset({EventType.ATTEMPTING, EventType.OBTAINED_ADDRESS})

_BURST = 25
_REFILL_SECONDS = 300.0
"""The same figures as Kubernetes' own components: 25 at once, then one in five minutes."""

_TIDY = 1000
"""Budgets there may be before those of no more use are looked for."""


@dataclass(slots=True)
class _Budget:
    """How many Events an object may still have."""

    left: float
    at: float

    def take(self, now: float) -> bool:
        self.left = min(self.left + (now - self.at) / _REFILL_SECONDS, _BURST)
        self.at = now
        if self.left < 1:
            return False
        self.left -= 1
        return True


class KubernetesEvents:
    """Posts events through kopf, as `core.events.EventSink`."""

    def __init__(self, uid_of: Callable[[Identity], str | None], clock: ports.Clock) -> None:
        self._uid_of = uid_of
        self._clock = clock
        self._context: contextvars.Context | None = None
        self._budgets: dict[str, _Budget] = {}
        self._tidy_at = _TIDY

    def bind(self) -> None:
        """Note where kopf takes Events. Called in a handler of kopf's, again after each start."""
        self._context = contextvars.copy_context()

    async def report(self, event: Event) -> None:
        """Hand the event to kopf, unless there is no need. Returns at once.

        Routine is none: each Event is a write, and status says when a token was renewed last.
        """
        if event.type in _NOT_POSTED or event.is_routine or self._context is None:
            return
        key = event.key
        identity = Identity("BrokerConnection", key.namespace, key.name)
        severity, reason = event.type.severity, str(event.type)
        if not self._post(identity, severity, reason=reason, message=_message(event)):
            logger.debug("event not posted: too many of them", extra={"session": key})

    def warn(self, identity: Identity, *, reason: str, message: str) -> bool:
        """Post a Warning on an object, as `kube.notices.NoticePoster`."""
        return self._post(identity, Severity.WARNING, reason=reason, message=message)

    def _post(self, identity: Identity, severity: Severity, *, reason: str, message: str) -> bool:
        """Hand an Event to kopf, and return False if the object has too many for now."""
        if self._context is None:
            return False
        uid = self._uid_of(identity)
        if uid is None:
            return True  # deleted meanwhile
        if not self._budget(uid).take(self._clock.monotonic()):
            return False
        metadata = {"name": identity.name, "uid": uid}
        if identity.namespace:
            metadata["namespace"] = identity.namespace
        body = {"apiVersion": API_VERSION, "kind": identity.kind, "metadata": metadata}
        self._context.run(
            kopf.event,
            cast(kopf.Body, body),  # of which kopf takes no more than the reference
            type=str(severity),
            reason=reason,
            message=message,
        )
        return True

    def _budget(self, uid: str) -> _Budget:
        now = self._clock.monotonic()
        if uid not in self._budgets:
            if len(self._budgets) >= self._tidy_at:
                self._forget_full(now)
                self._tidy_at = max(2 * len(self._budgets), _TIDY)
            self._budgets[uid] = _Budget(left=_BURST, at=now)
        return self._budgets[uid]

    def _forget_full(self, now: float) -> None:
        """Drop budgets that would be full again: they are as good as new ones."""
        full = [
            uid
            for uid, budget in self._budgets.items()
            if budget.left + (now - budget.at) / _REFILL_SECONDS >= _BURST
        ]
        for uid in full:
            del self._budgets[uid]


def _message(event: Event) -> str:
    """Put the reason in front, where it says more than the event's own name."""
    if event.reason is None:
        return event.message
    return f"{event.reason}: {event.message}"
