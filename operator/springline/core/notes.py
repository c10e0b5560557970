"""What a session writes down about itself, for people: times, words, the credential in use.

No decision is made from it; those are made from state.py's `SessionState`.
"""

import dataclasses
from datetime import datetime, timedelta

from springline.core import lifetime, ports
from springline.core.values import CloseInfo, Credential
from springline.core.view import CredentialUse, LastClose

__all__ = ["Notes"]


class Notes:
    """The notes of one session. All times are those of its clock."""

    __slots__ = (
        "_blocked_at",
        "_blocked_before",
        "_clock",
        "_refused_at",
        "blocked_since",
        "confirm_seconds",
        "connected_since",
        "credential",
        "disconnects",
        "last_close",
        "retry_at",
    )

    def __init__(self, clock: ports.Clock) -> None:
        self._clock = clock
        self.connected_since: datetime | None = None
        self.blocked_since: datetime | None = None
        self._blocked_at: float | None = None
        self._blocked_before = 0.0
        self._refused_at: float | None = None
        self.credential: CredentialUse | None = None
        self.disconnects = 0
        """How many open connections ended, not by our doing."""
        self.last_close: LastClose | None = None
        self.confirm_seconds: float | None = None
        """How long the last probe's confirm took."""
        self.retry_at: datetime | None = None
        """When the next attempt starts, while waiting for it."""

    @property
    def blocked_seconds(self) -> float:
        """How long it has been blocked, all blocks together."""
        if self._blocked_at is None:
            return self._blocked_before
        return self._blocked_before + self._clock.monotonic() - self._blocked_at

    def block(self, *, is_blocked: bool) -> None:
        """Note whether a block holds. Idempotent."""
        if is_blocked and self._blocked_at is None:
            self.blocked_since, self._blocked_at = self._clock.now(), self._clock.monotonic()
        elif not is_blocked:
            self._blocked_before = self.blocked_seconds
            self.blocked_since = self._blocked_at = None

    @property
    def refused_seconds(self) -> float:
        """For how long something has been refused without a break; 0 if nothing is."""
        return self._clock.monotonic() - self._refused_at if self._refused_at is not None else 0.0

    def refuse(self, *, is_refused: bool) -> None:
        """Note whether something is refused. Idempotent."""
        if not is_refused:
            self._refused_at = None
        elif self._refused_at is None:
            self._refused_at = self._clock.monotonic()

    def wait(self, seconds: float) -> None:
        """Note that the next attempt starts after so many seconds."""
        self.retry_at = self._clock.now() + timedelta(seconds=seconds)

    def open(self) -> None:
        """Note that there is a new connection."""
        self.connected_since = self._clock.now()
        self.retry_at = None

    def close(self, close: CloseInfo) -> None:
        """Note that the connection is gone, and how it ended."""
        self.connected_since = None
        self.confirm_seconds = None
        self.last_close = LastClose(info=close, at=self._clock.now())

    def try_out(self, credential: Credential) -> None:
        """Note what an attempt logs in with."""
        before = self.credential.credential if self.credential is not None else None
        self.credential = CredentialUse(credential=lifetime.received_again(before, credential))

    def use(
        self,
        credential: Credential,
        *,
        method: str | None,
        verified_at: datetime | None = None,
    ) -> None:
        """Note that the connection uses the credential from now on.

        Unless it was tried before, the broker has accepted it just now. `method` is None where the
        broker did not ask for it: then nobody has accepted it.
        """
        now = self._clock.now()
        before = self.credential.credential if self.credential is not None else None
        again = lifetime.received_again(before, credential)
        # What the broker takes after its end was received with a wall clock that was wrong then.
        was_wrong = lifetime.has_expired(again, self._clock)
        self.credential = CredentialUse(
            credential=credential if was_wrong else again,
            method=method,
            applied_at=now if method is not None else None,
            verified_at=(verified_at or now) if method is not None else None,
        )

    def amend(self, credential: Credential, *, verified_at: datetime | None) -> None:
        """Note what was read anew of the credential in use, and when it was tried again, if so."""
        if self.credential is not None:
            self.credential = dataclasses.replace(
                self.credential,
                credential=lifetime.received_again(self.credential.credential, credential),
                verified_at=verified_at or self.credential.verified_at,
            )

    def renew(self, at: datetime | None) -> None:
        """Note when the credential in use is to be renewed, if it is."""
        if self.credential is not None:
            self.credential = dataclasses.replace(self.credential, renew_at=at)
