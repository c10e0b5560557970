"""Cases from a seed, by the lines that they reach: what reaches a new one is mutated further.

The same seed gives the same cases, on the same Python and as long as the code is the same.
"""

import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random

from fuzz import cases, oracles, shrinking
from fuzz.cases import Case
from fuzz.mutations import mutated
from fuzz.reached import Reached
from fuzz.targets import Target
from fuzz.targets.all import TARGETS

__all__ = ["Failure", "Summary", "failure_of", "run", "shrunk"]

_FOUND = "found-"
"""What the names of files in the corpus begin with that once failed."""


@dataclass(frozen=True, kw_only=True)
class Failure:
    """A case that does not hold."""

    target: str
    case: Case
    error: BaseException
    number: int = 0
    """Of the case in its run; 0 for one of the corpus."""

    @property
    def kind(self) -> tuple[str, str]:
        """What makes two failures the same: the type of the error, and where it was raised."""
        traceback, where = self.error.__traceback__, ""
        while traceback is not None:
            code = traceback.tb_frame.f_code
            where = f"{code.co_filename}:{traceback.tb_lineno}"
            traceback = traceback.tb_next
        return type(self.error).__name__, where

    def __str__(self) -> str:
        kind, where = self.kind
        return (
            f"{self.target}: case {self.number} fails ({cases.size(self.case)} octets)\n"
            f"  {kind}: {str(self.error)[:500]}\n  at {where}\n"
            f"  again: make fuzz FUZZ_ARGS='--replay {self.target}:{cases.shown(self.case)}'"
        )


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run comes to."""

    cases: int
    kept: int
    """Cases that reached something new."""
    lines: int
    failure: Failure | None


def failure_of(target: Target, case: Case, *, number: int = 0) -> Failure | None:
    """Run one case, and return what does not hold."""
    try:
        with warnings.catch_warnings(), oracles.quiet_logs():
            warnings.simplefilter("error")
            # pamqp's own, for a method that no peer should send any more.
            warnings.filterwarnings("ignore", message="This command is deprecated in AMQP")
            target.run(case)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what is looked for
        return Failure(target=target.name, case=case, error=error, number=number)
    return None


def shrunk(failure: Failure) -> Failure:
    """Return the smallest case that fails in the same way."""
    target = TARGETS[failure.target]

    def fails(case: Case) -> bool:
        again = failure_of(target, case)
        return again is not None and again.kind == failure.kind

    small = shrinking.shrunk(failure.case, fails)
    found = failure_of(target, small, number=failure.number)
    return found or failure


class _Pool:
    """The cases of one target that reached something new, and how to make others of them."""

    def __init__(self, target: Target, *, is_fresh: bool = False) -> None:
        self.target = target
        self.cases: list[Case] = [
            case
            for name, case in target.corpus().items()
            if not (is_fresh and name.startswith(_FOUND))
        ]

    def next(self, rng: Random) -> Case:
        """Return a new case. What was found late is taken more often."""
        recent = self.cases[-16:]
        parent = rng.choice(recent if rng.random() < 0.4 else self.cases)
        return mutated(rng, parent, self.cases, self.target.mutations)


def run(
    seed: str,
    number: int,
    *,
    targets: Sequence[str] = tuple(TARGETS),
    is_fresh: bool = False,
    tell: Callable[[int, int], None] = lambda *_: None,
) -> Summary:
    """Run so many cases, the corpus before them, until one fails. `tell` hears how far it is.

    A fresh run does not know what earlier ones have found.
    """
    reached = Reached()
    pools = {name: _Pool(TARGETS[name], is_fresh=is_fresh) for name in targets}
    kept = done = 0
    failure: Failure | None = None
    with reached.watching(), _random_is_seeded(seed):
        for pool in pools.values():
            for case in pool.cases:
                failure = failure or failure_of(pool.target, case)
        for target in _turns(seed, number, targets):
            if failure is not None:
                break
            done += 1
            # A generator of its own for each case: one more draw changes no other case.
            case = pools[target].next(Random(f"{seed}/{done}"))  # noqa: S311 - no secret
            before = len(reached.lines)
            failure = failure_of(TARGETS[target], case, number=done)
            if len(reached.lines) > before:
                pools[target].cases.append(case)
                kept += 1
            tell(done, len(reached.lines))
    return Summary(cases=done, kept=kept, lines=len(reached.lines), failure=failure)


def _turns(seed: str, number: int, targets: Sequence[str]) -> Iterator[str]:
    """Yield whose turn it is: each by its share, in an order of the seed."""
    round_ = [name for name in targets for _ in range(TARGETS[name].share)]
    Random(seed).shuffle(round_)  # noqa: S311 - no secret
    for at in range(number):
        yield round_[at % len(round_)]


@contextmanager
def _random_is_seeded(seed: str) -> Iterator[None]:
    """Give the process' own random source back as it was."""
    import random

    state = random.getstate()
    random.seed(seed)
    try:
        yield
    finally:
        random.setstate(state)
