"""How much of something one tenant may have: some at once, then one now and again. Pure.

A budget that is not used is full again after a while, so what happens seldom is never limited.
"""

from dataclasses import dataclass

__all__ = ["Allowance", "Budget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """What a budget allows."""

    burst: int
    """How many at once."""
    refill_seconds: float
    """After how long there is one more."""


class Budget:
    """What is left of an allowance. Times are those of a monotonic clock."""

    __slots__ = ("_allowance", "_at", "_left")

    def __init__(self, allowance: Allowance, *, now: float) -> None:
        self._allowance = allowance
        self._left = float(allowance.burst)
        self._at = now

    def take(self, now: float) -> bool:
        """Take one, if there is one."""
        self._refill(now)
        if self._left < 1:
            return False
        self._left -= 1
        return True

    def spend(self, now: float) -> None:
        """Take one in any case; what was not there is paid back later."""
        self._refill(now)
        self._left -= 1

    def next_at(self, now: float) -> float:
        """Return when there is one again; `now` if there is one."""
        self._refill(now)
        return now + max(1 - self._left, 0.0) * self._allowance.refill_seconds

    def is_full(self, now: float) -> bool:
        """Whether it is as good as a new one."""
        self._refill(now)
        return self._left >= self._allowance.burst

    def _refill(self, now: float) -> None:
        earned = max(now - self._at, 0.0) / self._allowance.refill_seconds
        self._left = min(self._left + earned, self._allowance.burst)
        self._at = now
