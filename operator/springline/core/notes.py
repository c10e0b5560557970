"""What a session writes down about itself, for people: times, and words.

No decision is made from it; those are made from state.py's `SessionState`.
"""

from datetime import datetime, timedelta

from springline.api.conditions import ConditionStatus
from springline.core import ports
from springline.core.values import CloseInfo
from springline.core.view import LastClose

__all__ = ["Notes"]


class Notes:
    """The notes of one session. All times are those of its clock."""

    __slots__ = (
        "_blocked_at",
        "_blocked_before",
        "_clock",
        "_knows_no_block",
        "_refused_at",
        "blocked_since",
        "confirm_seconds",
        "connected_since",
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
        self._knows_no_block = False
        self._refused_at: float | None = None
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

    def block(self, status: ConditionStatus) -> None:
        """Note whether a block holds, as far as that is known. Idempotent."""
        self._knows_no_block = status is ConditionStatus.FALSE
        is_blocked = status is ConditionStatus.TRUE
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

    def stop_waiting(self) -> None:
        """Note that no attempt is waited for."""
        self.retry_at = None

    def open(self) -> None:
        """Note that there is a new connection."""
        self.connected_since = self._clock.now()
        self.retry_at = None

    def confirm(self, seconds: float) -> bool:
        """Note how long a probe's confirm took; return whether it says anything else.

        Most do not, because that nothing blocks is known.
        """
        self.confirm_seconds = seconds
        return not self._knows_no_block

    def close(self, close: CloseInfo, *, is_lost: bool = False) -> None:
        """Note that the connection is gone and how it ended; `is_lost` if not by our doing."""
        self.disconnects += is_lost
        self.connected_since = None
        self.confirm_seconds = None
        self.last_close = LastClose(info=close, at=self._clock.now())
