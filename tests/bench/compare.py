"""Two trees beside each other: `make bench` of each, by turns, and the medians of both.

`python -m bench.compare [--times N] BEFORE AFTER [...]` takes two folders with a repository and its
.venv, and then whatever `python -m bench` takes. A machine is not the same from one minute to the
next, so the two take turns, and so does who begins; each run of a bench has one turn. Processor
seconds of all processes are rows as any other. What is measured beside Springline in the same
runs (aiormq alone, the script) is the same code in both trees: by how much it differs says how far
the other ratios can be trusted.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["Comparison", "Tree", "comparisons", "main", "rows_of", "table", "turns"]

RESULTS: Final = Path("bench-results", "compared")
TIMES: Final = 5

Run = Sequence[Mapping[str, Any]]
"""The rows of one run, as it has written them."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A repository with its virtual environment."""

    name: str
    path: Path

    @property
    def python(self) -> Path:
        """Its interpreter."""
        return self.path / ".venv" / "bin" / "python"

    def measure(self, arguments: Sequence[str], into: Path) -> Run:
        """Run its bench and return its rows. Raises `SystemExit` where that failed."""
        into.mkdir(parents=True, exist_ok=True)
        for left in into.glob("bench-results/*.json"):
            left.unlink()  # by an earlier comparison
        environment = {**os.environ, "PYTHONPATH": str(self.path / "tests")}
        command = [str(self.python), "-m", "bench", *arguments, *self._once(arguments)]
        # It has the terminal's Ctrl-C itself, and ends its servers.
        done = subprocess.run(command, cwd=into, env=environment, check=False)
        if done.returncode != 0:
            raise SystemExit(f"the bench of {self.path} failed; its words are above")
        return [row for each in sorted(into.glob("bench-results/*.json")) for row in rows_of(each)]

    def _once(self, arguments: Sequence[str]) -> list[str]:
        """Return what has a bench take one turn, where it knows of turns: here the trees do."""
        bench = self.path / "tests" / "bench" / "__main__.py"
        knows = bench.exists() and '"--times"' in bench.read_text(encoding="utf-8")
        return ["--times", "1"] if knows and "--times" not in arguments else []


def rows_of(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield what one part of the bench has measured; parts have rows of the same name."""
    for row in json.loads(path.read_text())["rows"]:
        yield {**row, "what": f"{path.stem}: {row['what'].strip()}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """One row of the bench, of all runs of both trees."""

    what: str
    count: int
    """Connections."""
    unit: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    beside: float | None
    """What the code beside Springline took in runs of the tree after, by that in those before."""

    @property
    def ratio(self) -> float | None:
        """The median after, by the median before."""
        return _ratio(self.after, self.before)


def _ratio(after: Sequence[float], before: Sequence[float]) -> float | None:
    least = statistics.median(before) if before else 0.0
    return statistics.median(after) / least if least and after else None


def comparisons(before: Sequence[Run], after: Sequence[Run]) -> Iterator[Comparison]:
    """Yield a comparison for each row that both have, in the order of the first."""
    mine, theirs = _gathered(before), _gathered(after)
    for (what, count), rows in mine.items():
        others = theirs.get((what, count))
        if others is None:
            continue
        yield Comparison(
            what=what,
            count=count,
            unit=rows[0]["unit"],
            before=tuple(row["springline"] for row in rows),
            after=tuple(row["springline"] for row in others),
            beside=_ratio(
                [row["bare"] for row in others if row["bare"] is not None],
                [row["bare"] for row in rows if row["bare"] is not None],
            ),
        )


def _gathered(runs: Sequence[Run]) -> dict[tuple[str, int], list[Mapping[str, Any]]]:
    """Return the rows of all runs by what they say of how many connections."""
    gathered: dict[tuple[str, int], list[Mapping[str, Any]]] = {}
    for row in (row for run in runs for row in run):
        gathered.setdefault((row["what"], row["connections"]), []).append(row)
    return gathered


def table(compared: Sequence[Comparison]) -> str:
    """Return the table: medians with the least and the most, and the ratios."""
    head = f"{'what':<58}{'N':>6}{'before':>9}{'(range)':>15}{'after':>9}{'(range)':>15}"
    lines = [f"{head}{'ratio':>7}{'beside':>8}   unit"]
    lines += [
        f"{each.what:<58}{each.count:>6}{_median(each.before):>24}{_median(each.after):>24}"
        f"{_shown(each.ratio):>7}{_shown(each.beside):>8}   {each.unit}"
        for each in compared
    ]
    return "\n".join(lines)


def _median(figures: Sequence[float]) -> str:
    spread = f"({min(figures):.2f}-{max(figures):.2f})"
    return f"{statistics.median(figures):.2f}{spread:>15}"


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"


def turns(before: Tree, after: Tree, times: int) -> Iterator[tuple[Tree, int]]:
    """Yield which tree is measured next, and which of its runs that is."""
    for number in range(1, times + 1):
        pair = (before, after) if number % 2 else (after, before)
        yield from ((tree, number) for tree in pair)


def main(arguments: Sequence[str]) -> None:
    """Measure both trees and print how they compare."""
    parser = argparse.ArgumentParser(prog="python -m bench.compare", description=__doc__)
    parser.add_argument("before", type=Path, help="folder of the one tree")
    parser.add_argument("after", type=Path, help="folder of the other")
    parser.add_argument("--times", type=int, default=TIMES, help=f"runs of each; {TIMES} if unsaid")
    parser.add_argument(
        "bench", nargs=argparse.REMAINDER, help="what python -m bench is told, such as 500"
    )
    given = parser.parse_args(arguments)
    trees = Tree("before", given.before.resolve()), Tree("after", given.after.resolve())
    for tree in trees:
        if not tree.python.exists():
            parser.error(f"{tree.python} is missing: run make venv in {tree.path}")
    if given.times < 1:
        parser.error("--times is at least 1")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    runs: dict[str, list[Run]] = {tree.name: [] for tree in trees}
    try:
        for tree, number in turns(*trees, given.times):
            print(f"{tree.name}, run {number} of {given.times}: {tree.path}", flush=True)
            into = RESULTS / f"{tree.name}-{number}"
            runs[tree.name].append(tree.measure(given.bench, into))
    except KeyboardInterrupt:
        raise SystemExit("stopped") from None
    compared = list(comparisons(runs["before"], runs["after"]))
    print(f"\nmedians of {given.times}\n{table(compared)}\nall runs are in {RESULTS}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
