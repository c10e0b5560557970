"""`make fuzz`: as many hostile cases as are asked for, from a seed.

It stops at the first that fails, and shows the smallest one that fails in the same way.
"""

import argparse
import gc
import secrets
import sys
import time
import traceback
from collections.abc import Sequence

from fuzz import cases, planted, running
from fuzz.targets.all import TARGETS

__all__ = ["main"]


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seed", default="", help="any text; without one it is drawn, and shown")
    parser.add_argument("--cases", type=int, default=5000, metavar="N")
    parser.add_argument("--only", choices=sorted(TARGETS), help="this target alone")
    parser.add_argument("--plant", choices=sorted(planted.BUGS), help="a defect to be found")
    parser.add_argument(
        "--replay", default="", metavar="TARGET:CASE", help="this case, as it is shown"
    )
    given = parser.parse_args(arguments)
    with planted.planted(given.plant):
        if given.replay:
            return _replay(given.replay)
        targets = [given.only] if given.only else list(TARGETS)
        seed = given.seed or secrets.token_hex(4)
        return _fuzz(seed, given.cases, targets, is_fresh=given.plant is not None)


def _fuzz(seed: str, number: int, targets: Sequence[str], *, is_fresh: bool) -> int:
    print(f"SEED={seed}", flush=True)
    began = time.monotonic()
    told = began

    def tell(done: int, lines: int) -> None:
        nonlocal told
        if time.monotonic() - told > 10:
            told = time.monotonic()
            print(f"{done} cases, {lines} lines reached", flush=True)

    summary = running.run(seed, number, targets=targets, is_fresh=is_fresh, tell=tell)
    if summary.failure is None:
        seconds = time.monotonic() - began
        print(
            f"{summary.cases} cases hold: {summary.lines} lines of Springline reached,"
            f" {summary.kept} cases reached new ones, {seconds:.0f} s"
        )
        return 0
    print(f"{summary.failure.target}: case {summary.failure.number} fails; shrinking", flush=True)
    print(running.shrunk(summary.failure))
    return 1


def _replay(text: str) -> int:
    name, _, case = text.partition(":")
    failure = running.failure_of(TARGETS[name], cases.read(case))
    gc.collect()
    if failure is None:
        print("it holds")
        return 0
    traceback.print_exception(failure.error)
    print(failure)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
