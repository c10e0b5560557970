"""Five thousand hostile cases from a fixed seed, and that the fuzzer finds what is planted.

What fails says the smallest case that does, and how to do it again.
"""

from random import Random

import pytest

from fuzz import planted, running
from fuzz.cases import Case
from fuzz.reached import Reached
from fuzz.running import Failure
from fuzz.shrinking import shrunk
from fuzz.targets import Target
from fuzz.targets.all import TARGETS

SEED = "make-test"
CASES = 5000


def found(failure: Failure | None) -> str:
    return "" if failure is None else str(running.shrunk(failure))


@pytest.mark.parametrize("name", TARGETS)
def test_what_is_in_the_corpus_holds(name: str) -> None:
    """Recorded sessions, documents, and what once failed."""
    target = TARGETS[name]
    corpus = target.corpus()
    assert corpus
    assert [found(running.failure_of(target, case)) for case in corpus.values()] == [""] * len(
        corpus
    )


def test_everything_holds_for_hostile_cases() -> None:
    """No other error than those that are documented, no traceback, hang, task or secret."""
    summary = running.run(SEED, CASES)
    assert found(summary.failure) == ""
    assert summary.cases == CASES
    assert summary.kept > 0, "no case reached a line that the corpus does not"


@pytest.mark.parametrize("bug", planted.BUGS)
def test_planted_defect_is_found(bug: str) -> None:
    """Within the same cases, or the test above would say nothing."""
    with planted.planted(bug):
        # Without what found the same before.
        summary = running.run(SEED, CASES, is_fresh=True)
        assert summary.failure is not None
        small = running.shrunk(summary.failure)
        assert small.kind == summary.failure.kind
        # What is shown is enough to see it again.
        assert running.failure_of(TARGETS[small.target], small.case) is not None
    assert running.failure_of(TARGETS[small.target], small.case) is None


def test_smallest_case_is_shown() -> None:
    """Parts that do not matter go, and octets that do not matter."""

    def fails(case: Case) -> bool:
        return any(b"x" in part for part in case) and any(b"yz" in part for part in case)

    assert shrunk((b"aaa", b"axa", b"b" * 100, b"yyyz"), fails) == (b"x", b"yz")


def test_same_seed_makes_the_same_cases() -> None:
    def cases(seed: str) -> list[Case]:
        seen: list[Case] = []
        target = TARGETS["claims"]
        pool = running._Pool(Target(name=target.name, run=seen.append, share=1))
        for number in range(50):
            rng = Random(f"{seed}/{number}")  # noqa: S311 - no secret
            pool.target.run(pool.next(rng))
        return seen

    assert cases("one") == cases("one") != cases("two")


def test_a_line_counts_once() -> None:
    """Otherwise everything would be kept, and the corpus of a run grow without end."""
    target = TARGETS["claims"]
    [*corpus] = target.corpus().values()
    reached = Reached()
    with reached.watching():
        target.run(corpus[0])
        once = len(reached.lines)
        target.run(corpus[0])
    assert 0 < once == len(reached.lines)
