"""Telling what happens to one session: stamped, without repetitions, and never failing."""

import logging

from springline.api.meta import Identity
from springline.core.environment import Environment
from springline.core.events import Deduplicator, Event, EventType
from springline.core.values import SessionKey
from springline.reasons import Reason

__all__ = ["Reporter"]

logger = logging.getLogger(__name__)


class Reporter:
    """Reports the events of one session to the process's sink."""

    __slots__ = ("_broker", "_deduplicator", "_environment", "_key")

    def __init__(self, key: SessionKey, environment: Environment) -> None:
        self._key = key
        self._environment = environment
        self._deduplicator = Deduplicator()
        self._broker: Identity | None = None

    @property
    def broker(self) -> Identity | None:
        """What is declared to be connected to, or was the last time that it could be used."""
        return self._broker

    def concern(self, broker: Identity) -> None:
        """Note which broker the events are about from now on."""
        self._broker = broker

    async def emit(
        self,
        kind: EventType,
        message: str,
        *,
        reason: Reason | None = None,
        is_routine: bool = False,
    ) -> None:
        """Report that this has happened now, unless that is no news; return when it is handled."""
        event = Event(
            type=kind,
            key=self._key,
            at=self._environment.clock.now(),
            message=message,
            reason=reason or kind.reason,
            is_routine=is_routine,
            broker=self._broker,
        )
        if not self._deduplicator.admits(event):
            return
        try:
            await self._environment.events.report(event)
        except Exception:  # a sink's defect must not end the session it reports on
            logger.exception("event sink failed", extra={"session": self._key})
