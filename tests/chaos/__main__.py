"""`make chaos`: as many sequences of faults as are asked for, from a seed.

`make chaos-bugs` plants defects, and asks that each is found. All servers are private, on loopback,
and stopped at the end, on Ctrl-C too.
"""

import argparse
import asyncio
import os
import secrets
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from chaos import running, sequences
from chaos.planted import BUGS
from support.apiserver import APIServerMissing
from support.rabbitmq import RabbitMQMissing
from support.tools import ToolMissing

_PLANTED_SECONDS = 30.0
"""Instead of a longer time that only a machine that others load needs."""

_ENOUGH = 8
"""Sequences in which a planted defect has to be found."""


def main(arguments: Sequence[str]) -> int:
    """Run what the arguments ask for, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--part", choices=[*running.PARTS, "AB"], default="AB")
    parser.add_argument("--seed", default="", help="any text; without one it is drawn, and shown")
    parser.add_argument("--sequences", type=int, default=10, metavar="N", help="of each part")
    parser.add_argument(
        "--replay", default="", metavar="JSON", help="this sequence, as it is shown"
    )
    parser.add_argument(
        "--only",
        default="",
        metavar="WORDS",
        help="kinds whose names begin so, with commas between",
    )
    parser.add_argument("--no-shrinking", action="store_true")
    parser.add_argument("--go-on", action="store_true", help="after a sequence that fails")
    parser.add_argument("--plant", default="", choices=["", *BUGS], help="this defect, to find it")
    parser.add_argument("--bugs", action="store_true", help="plant defects, which must be found")
    given = parser.parse_args(arguments)
    seed = given.seed or secrets.token_hex(4)
    print(f"SEED={seed}", flush=True)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    try:
        if given.bugs:
            return asyncio.run(_planted(seed))
        codes = [asyncio.run(_part(part, seed, given)) for part in given.part]
        return max(codes)
    except KeyboardInterrupt:
        _say("interrupted: everything is stopped")
        return 130


async def _part(part: str, seed: str, given: argparse.Namespace) -> int:
    replayed = sequences.parsed(given.replay) if given.replay else ()
    seeds = [f"{seed}/{part}/{number}" for number in range(given.sequences)]
    with tempfile.TemporaryDirectory(prefix="springline-chaos-") as directory:
        try:
            async with running.entered(part, Path(directory), bug=given.plant) as world:
                if given.plant:
                    world.bound = _PLANTED_SECONDS
                failed = await running.run(
                    world,
                    seeds,
                    only=tuple(given.only.split(",")),
                    given=replayed,
                    is_shrinking=not given.no_shrinking,
                    goes_on=given.go_on,
                    say=_say,
                )
        except (APIServerMissing, RabbitMQMissing, ToolMissing) as error:
            _say(f"part {part} did not run: {error}")
            return 0
    if failed is not None:
        _say(f"\nSEED={seed} PART={part}\n{failed}")
        return 1
    return 0


async def _planted(seed: str) -> int:
    """Plant each defect, and say after how many sequences it was found."""
    missed = []
    for bug in BUGS:
        seeds = [f"{seed}/{bug}/{number}" for number in range(_ENOUGH)]
        with tempfile.TemporaryDirectory(prefix="springline-chaos-") as directory:
            async with running.entered("A", Path(directory), bug=bug) as world:
                world.bound = _PLANTED_SECONDS
                failed = await running.run(world, seeds, is_shrinking=False, say=_say)
        if failed is None:
            missed.append(bug)
            _say(f"{bug}: NOT FOUND in {_ENOUGH} sequences\n")
        else:
            _say(f"{bug}: found in sequence {seeds.index(failed.seed) + 1}\n")
    return 1 if missed else 0


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    # What it starts logs into files; a terminal that is gone must not end the clean-up.
    os.environ.setdefault("PYTHONUNBUFFERED", "1")
    sys.exit(main(sys.argv[1:]))
