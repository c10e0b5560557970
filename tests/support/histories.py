"""Histories of sessions: what happened to each, and what it showed of that, kept in files.

A file has a title for each history, what happens in it as lines that begin with `> `, and after
each of those what the session showed. `python -m support.histories` plays all of them and writes
the files anew; `--random FILE` does so with the digests of histories that chance makes.
"""

import argparse
import asyncio
import hashlib
import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Final

from support.acts import Acts
from support.stage import staged
from support.transcripts import JournalMeter, Transcript, WatchedClock

__all__ = ["FOLDER", "RANDOM", "History", "by_chance", "digests", "play", "read", "text"]

FOLDER: Final = Path(__file__).parents[1] / "unit" / "core" / "histories"
"""Where the files with histories are."""

RANDOM: Final = FOLDER / "random.digests"
"""A line for each history that chance makes: its seed, and a digest after each of its steps."""

RECORDED_SEEDS: Final = range(300)

_TITLE: Final = "# "
_ACT: Final = "> "


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What happens to a session, one step after the other, and what it shows after each."""

    title: str
    steps: tuple[str, ...]
    shown: tuple[tuple[str, ...], ...] = ()


def read(path: Path) -> tuple[str, list[History]]:
    """Return what a file says in front of its histories, and these."""
    preface, *parts = ("\n" + path.read_text()).split("\n" + _TITLE)
    return preface.strip(), [_parsed(part) for part in parts]


def _parsed(part: str) -> History:
    title, *lines = part.rstrip().splitlines()
    steps: list[str] = []
    shown: list[list[str]] = []
    for line in lines:
        if line.startswith(_ACT):
            steps.append(line.removeprefix(_ACT))
            shown.append([])
        elif line:
            shown[-1].append(line)
    return History(title=title, steps=tuple(steps), shown=tuple(map(tuple, shown)))


def text(history: History) -> str:
    """Return the history as a file has it."""
    lines = [_TITLE + history.title]
    for step, shown in zip(history.steps, history.shown, strict=True):
        lines += [_ACT + step, *shown]
    return "\n".join(lines) + "\n"


def play(title: str, steps: Sequence[str]) -> History:
    """Let a new session live through these steps, and return what it showed."""
    return asyncio.run(_play(title, steps))


async def _play(title: str, steps: Sequence[str]) -> History:
    clock, meter = WatchedClock(), JournalMeter()
    shown: list[tuple[str, ...]] = []
    with clock.drives(asyncio.get_running_loop()):
        async with staged(clock, meter=meter) as stage:
            meter.journal = stage.journal
            acts = Acts(stage)
            clock.watcher = transcript = Transcript(stage, acts.told)
            for step in steps:
                await acts.do(step)
                shown.append(tuple(transcript.take()))
            clock.watcher = None
            await acts.end()
    return History(title=title, steps=tuple(steps), shown=tuple(shown))


# --- by chance

_DECLARED: Final = (
    *("declare", "declare probe", "declare virtual-host=other", "declare endpoints=0,1"),
    *("declare suspend", "declare unverified", "declare renew-at=0.2", "declare stay-closed"),
    *("declare nonsense", "declare brokerless", "declare secret-ref=other", "declare timeout=3"),
    *("declare when-limited=CloseFirst", "declare when-limited=UpdateUnverified"),
    *("declare told-by-secret", "declare heartbeat=5 probe=5", "declare retry=1,4"),
)
_ROTATION: Final = (
    *("secret second", "secret third", "secret first", "secret first other", "secret second other"),
    *("token brief 60", "token longer 120", "issue another 60", "issue next 30", "issue away"),
    *("credential missing", "credential unreadable", "credential away", "changed"),
    *("request renew", "request renew", "updates silent", "updates confirmed", "updates refused"),
    *("updates unsendable", "certificates", "certificates unusable", "endpoint 0", "endpoint 1"),
)
_BROKER: Final = (
    *("next silent", "next unreachable", "next refused", "next expired", "next forbidden"),
    *("next hopeless", "next limited", "release", "release", "release unreachable"),
    *("broker refuses all", "broker refuses verifications", "broker refuses second another"),
    *("broker accepts all", "broker accepts all", "broker allows 1", "broker asks nobody"),
    "broker lacks other",
    *("broker asks everybody", "broker cannot renew", "closes", "closes expired", "closes unsaid"),
    *("closes transport", "block", "block 'low on disk'", "unblock", "unblock", "probes silent"),
    *("probes refused", "probes expired", "probes 0.004", "host 0", "host 0 192.0.2.7"),
)
_AROUND: Final = (
    *("request reconnect", "sink slow", "sink quick", "sink quick", "await connection"),
    *("await result", "wall-clock -3600", "wall-clock 600", "next defective", "updates defective"),
)
_ENDS: Final = ("request close", "request close with connection", "request cancel")
_TIMES: Final = ("1 s", "5 s", "15 s", "15 s", "60 s", "60 s", "400 s")


def by_chance(seed: int) -> tuple[str, ...]:
    """Return the steps of a history that chance makes; the same for the same seed.

    Of odd seeds some steps follow upon each other with no time between.
    """
    chance = Random(seed)  # noqa: S311  # the same for the same seed, which is what it is for
    steps = ["declare probe" if chance.random() < 0.5 else "declare"]
    for _ in range(chance.randint(8, 24)):
        kinds: tuple[Sequence[str], ...] = (_TIMES, _ROTATION, _BROKER, _DECLARED, _AROUND)
        [kind] = chance.choices(kinds, weights=(8, 8, 8, 2, 1))
        step = chance.choice(kind)
        at_once = seed % 2 == 1 and kind is not _TIMES and chance.random() < 0.4
        steps.append(f"{step} &" if at_once else step)
    if chance.random() < 0.3:
        steps += [chance.choice(_ENDS), "60 s"]
    return tuple(steps)


def digests(history: History) -> list[str]:
    """Return a digest of everything that was shown up to the end of each step."""
    all_of_it = hashlib.sha256()
    result = []
    for shown in history.shown:
        all_of_it.update("\n".join((*shown, "")).encode())
        result.append(all_of_it.hexdigest()[:6])
    return result


def lines_by_chance(seeds: Iterable[int]) -> Iterator[str]:
    """Return the line of each seed for the file of digests."""
    for seed in seeds:
        history = play(f"seed {seed}", by_chance(seed))
        yield " ".join([str(seed), *digests(history)])


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files anew, or show histories that chance makes."""
    parser = argparse.ArgumentParser(prog="python -m support.histories", description=__doc__)
    parser.add_argument(
        "--seeds",
        nargs=2,
        type=int,
        metavar=("FROM", "TO"),
        help="write nothing, and show what is by chance with these seeds",
    )
    parser.add_argument("--brief", action="store_true", help="show digests alone")
    options = parser.parse_args(arguments)
    logging.disable()  # of defects that are part of histories
    if options.seeds is not None:
        for seed in range(*options.seeds):
            history = play(f"seed {seed}", by_chance(seed))
            line = " ".join([str(seed), *digests(history)])
            print(line if options.brief else text(history), flush=True)
        return 0
    count = 0
    for path in sorted(FOLDER.glob("*.txt")):
        preface, histories = read(path)
        played = [text(play(each.title, each.steps)) for each in histories]
        path.write_text("\n".join([f"{preface}\n", *played]))
        count += len(played)
    RANDOM.write_text("\n".join(lines_by_chance(RECORDED_SEEDS)) + "\n")
    print(f"{count} histories, and {len(RECORDED_SEEDS)} by chance, are recorded in {FOLDER}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
