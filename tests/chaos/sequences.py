"""Sequences of faults: drawn from a seed, and written as text that can be run again.

A fault holds everything that was drawn for it, so that a sequence means the same without some of
its faults. It does not know what the kinds are.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

__all__ = ["WAITS", "Drawing", "Fault", "drawn", "parsed", "written"]

WAITS = ("none", "noticed", "settled")
"""What is waited for after a fault, for a short time: nothing, that anything shows, that all is
well again."""

_SHORTEST, _LONGEST = 4, 9

Drawing = Callable[[Random], Mapping[str, Any]]
"""Draws what a kind of fault needs to know."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: its kind, what was drawn for it, and what is waited for after it."""

    kind: str
    given: Mapping[str, Any] = field(default_factory=dict)
    wait: str = "none"


def drawn(seed: int | str, kinds: Sequence[tuple[str, Drawing]]) -> tuple[Fault, ...]:
    """Draw a sequence. The same seed and kinds give the same one.

    A kind that is there twice is drawn twice as often.
    """
    rng = Random(str(seed))  # noqa: S311 - to be repeated, and hides nothing
    faults = []
    for _ in range(rng.randint(_SHORTEST, _LONGEST)):
        kind, draw = rng.choice(kinds)
        faults.append(Fault(kind, dict(draw(rng)), rng.choice(WAITS)))
    return tuple(faults)


def written(faults: Sequence[Fault]) -> str:
    """Write a sequence as one line of JSON."""
    return json.dumps([[each.kind, each.given, each.wait] for each in faults])


def parsed(text: str) -> tuple[Fault, ...]:
    """Read what `written` wrote. Raises `ValueError`."""
    found = []
    for kind, given, wait in json.loads(text):
        if wait not in WAITS:
            raise ValueError(f"{wait!r} is none of {WAITS}")
        found.append(Fault(kind, given, wait))
    return tuple(found)
