"""How much of something one tenant may have: some at once, then one now and again. Pure.

A budget that is not used is full again after a while, so what happens seldom is never limited.
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

__all__ = ["Allowance", "Budget", "Budgets"]

_K = TypeVar("_K", bound=Hashable)

_TIDY: Final = 1000
"""Budgets there may be before those of no more use are looked for."""


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


class Budgets(Generic[_K]):
    """A budget of the same allowance for each key. Takes no room for what is full again."""

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._budgets: dict[_K, Budget] = {}
        self._tidy_at = _TIDY

    def take(self, key: _K, now: float) -> bool:
        """Take one of the key's budget, if there is one."""
        budget = self._budgets.get(key)
        if budget is None:
            if len(self._budgets) >= self._tidy_at:
                self._forget_full(now)
                self._tidy_at = max(2 * len(self._budgets), _TIDY)
            budget = self._budgets[key] = Budget(self._allowance, now=now)
        return budget.take(now)

    def __len__(self) -> int:
        return len(self._budgets)

    def _forget_full(self, now: float) -> None:
        for key in [key for key, budget in self._budgets.items() if budget.is_full(now)]:
            del self._budgets[key]
