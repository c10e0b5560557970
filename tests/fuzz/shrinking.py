"""The smallest case that still fails in the same way: delta debugging, of parts and then of octets.

As in chaos/shrinking.py, without an event loop: targets have their own.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TypeVar

from fuzz.cases import Case

__all__ = ["shrunk"]

T = TypeVar("T")

RUNS = 3000


class _Budget:
    def __init__(self, runs: int) -> None:
        self.left = runs

    def spend(self) -> bool:
        self.left -= 1
        return self.left >= 0


def shrunk(case: Case, fails: Callable[[Case], bool], *, runs: int = RUNS) -> Case:
    """Return a case that still fails and is as small as so many runs of `fails` make it."""
    budget = _Budget(runs)
    while True:
        before = case
        case = tuple(_reduced(case, lambda parts: fails(tuple(parts)), budget))
        for at in range(len(case)):
            head, tail = case[:at], case[at + 1 :]
            octets = _reduced(
                list(case[at]), functools.partial(_fails_with, fails, head, tail), budget
            )
            case = (*head, bytes(octets), *tail)
        if case == before or budget.left <= 0:
            return case


def _fails_with(
    fails: Callable[[Case], bool], head: Case, tail: Case, octets: Sequence[int]
) -> bool:
    return fails((*head, bytes(octets), *tail))


def _reduced(
    items: Sequence[T], fails: Callable[[Sequence[T]], bool], budget: _Budget
) -> Sequence[T]:
    """Leave out what can be left out (Zeller and Hildebrandt's ddmin, complements alone)."""
    found, length = list(items), len(items)
    while length > 0 and found:
        start = 0
        while start < len(found):
            rest = found[:start] + found[start + length :]
            if not budget.spend():
                return found
            if fails(rest):
                found = rest
            else:
                start += length
        length = 0 if length == 1 else max(1, length // 2)
    return found
