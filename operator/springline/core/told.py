"""What was told of a session's credential and changes, so that each is told once. Pure.

It is handed what the session was and what it is now, and returns what there is to tell.
"""

from dataclasses import dataclass

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core import state
from springline.core.events import EventType
from springline.core.state import SessionState
from springline.reasons import Reason

__all__ = ["Tale", "Told"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tale:
    """An event that is worth telling."""

    kind: EventType
    message: str
    reason: Reason | None = None
    """None for the one that all events of its kind have."""


class Told:
    """What one session has told."""

    __slots__ = ("_ages", "_is_refusal_told", "_refusals")

    def __init__(self) -> None:
        # Tuples, because they are empty for almost all of many sessions.
        self._ages: tuple[EventType, ...] = ()  # of the credential in use
        self._refusals: tuple[tuple[EventType, Reason], ...] = ()  # of what is declared now
        self._is_refusal_told = False

    # --- the age of the credential in use

    @property
    def is_old(self) -> bool:
        """Whether it was told that the credential in use was not renewed in time."""
        return bool(self._ages)

    def age(self, event: state.CredentialExpired | state.CredentialExpiring) -> Tale | None:
        """Return what to tell of it, once for each credential."""
        match event:
            case state.CredentialExpired(message=message):
                kind = EventType.CREDENTIALS_EXPIRED
            case state.CredentialExpiring(message=message):
                kind = EventType.CREDENTIALS_EXPIRING
        if kind in self._ages:
            return None
        self._ages += (kind,)
        return Tale(kind=kind, message=message)

    def renewed(self) -> None:
        """Take in that another credential is in use."""
        self._ages = ()

    # --- what keeps a change from the session

    def changed(self) -> None:
        """Take in that something the session reads has changed; a refusal of that is news."""
        self._refusals = ()

    def refusal(
        self,
        before: SessionState,
        after: SessionState,
        error: errors.ConnectError | errors.CredentialError,
    ) -> Tale | None:
        """Return what to tell of a failed try, once for each reason while nothing changes."""
        if after.credentials != before.credentials:
            kind, reason = EventType.SECRET_REJECTED, after.credentials.reason
        elif after.synced.reason is not before.synced.reason:
            kind, reason = EventType.CHANGE_REFUSED, after.synced.reason
        else:
            return None
        self._is_refusal_told = True
        if before.synced.reason is Reason.APPLYING:
            self._refusals = ()
        if (kind, reason) in self._refusals:
            return None
        self._refusals += ((kind, reason),)
        return Tale(kind=kind, message=error.message, reason=reason)

    def recovery(self, now: SessionState) -> Tale | None:
        """Return what to tell where what was refused is refused no longer."""
        if not self._is_refusal_told or now.synced.status is not ConditionStatus.TRUE:
            return None
        self._is_refusal_told = False
        self._refusals = ()
        return Tale(kind=EventType.IN_SYNC, message="the session uses what is declared again")
