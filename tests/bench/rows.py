"""What is measured, one row each: medians of turns, ratios, growth, a table and JSON.

Times come as several rows: a `Step` names the row of the time itself and those of the processor
time that each process takes meanwhile. Tables for the documentation are made in `tables`.
"""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

__all__ = ["Growth", "Range", "Row", "Step", "beside", "exponents", "medians", "table", "write"]

Range = tuple[float, float]
"""The least and the most of several turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Something that takes time, and how its rows are called."""

    what: str
    told: str
    """What a child is told, see `steps`; empty where there is no child."""
    own: str
    """How the row of the processor time of the process itself is called."""
    others: str
    """What the names of the rows of other processes end with."""
    is_prepared: bool = False
    """Whether a child is told twice."""
    reach: str = ""

    def row(self, process: str) -> str:
        """Return how the row of a process is called, with that of the process itself for ``""``."""
        return f"  … of {process}{self.others}" if process else self.own


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One measurement, beside its references in the same run."""

    what: str
    count: int
    """Connections."""
    unit: str
    ours: float
    bare: float | None = None
    """aiormq alone, over HTTP h11 or h2, over AMQP 1.0 proton; in a cluster with the same requests
    to the API server, and no operator; for commands kubectl."""
    go: float | None = None
    """amqp091-go alone."""
    reach: str = ""
    during: str = ""
    """For processor time: what the row of the step is called."""
    process: str = ""
    """For processor time: whose, empty for what holds the connections itself."""
    is_fitted: bool = False
    """Whether its growth with the number of connections says something."""
    is_each: bool = False
    """Whether it is for one connection, so that the whole is so many times as much."""
    times: int = 1
    """Turns that the figures are medians of."""
    ranges: Mapping[str, Range] = field(default_factory=dict)
    """Of `ours`, `bare` and `go`, where there is more than one turn."""

    @property
    def ratio(self) -> float | None:
        """How many times the bare minimum it is."""
        return self.ours / self.bare if self.bare else None

    @property
    def whole(self) -> float:
        """What all connections take together."""
        return self.ours * self.count if self.is_each else self.ours


def beside(ours: Sequence[Row], *, bare: Sequence[Row], go: Sequence[Row] = ()) -> list[Row]:
    """Return our rows with those of the same name of what is beside them, as its figures."""
    least = {row.what: row.ours for row in bare}
    peer = {row.what: row.ours for row in go}
    return [replace(row, bare=least.get(row.what), go=peer.get(row.what)) for row in ours]


def medians(turns: Sequence[Sequence[Row]]) -> list[Row]:
    """Return one row for each that was measured in some turn, with the median of each figure."""
    found: dict[tuple[str, int], list[Row]] = {}
    for row in (row for turn in turns for row in turn):
        found.setdefault((row.what, row.count), []).append(row)
    return [_median(rows) for rows in found.values()]


def _median(rows: Sequence[Row]) -> Row:
    ours = [row.ours for row in rows]
    bare = [row.bare for row in rows if row.bare is not None]
    go = [row.go for row in rows if row.go is not None]
    sides = {"ours": ours, "bare": bare, "go": go}
    return replace(
        rows[0],
        ours=statistics.median(ours),
        bare=statistics.median(bare) if bare else None,
        go=statistics.median(go) if go else None,
        times=len(rows),
        ranges={side: (min(each), max(each)) for side, each in sides.items() if len(each) > 1},
    )


@dataclass(frozen=True, slots=True)
class Growth:
    """How something grows with the number of connections N: as N to the power of `exponent`."""

    what: str
    exponent: float


def exponents(rows: Sequence[Row]) -> list[Growth]:
    """Fit the growth of everything that was measured at two numbers of connections or more."""
    fitted = dict.fromkeys(row.what for row in rows if row.is_fitted)
    found = ((what, _exponent([row for row in rows if row.what == what])) for what in fitted)
    return [Growth(what, exponent) for what, exponent in found if exponent is not None]


def _exponent(rows: Sequence[Row]) -> float | None:
    """Return the slope of the line through the logarithms, by least squares."""
    points = [(math.log(row.count), math.log(row.whole)) for row in rows if row.whole > 0]
    if len({x for x, _ in points}) < 2:
        return None
    mean_x = sum(x for x, _ in points) / len(points)
    mean_y = sum(y for _, y in points) / len(points)
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    return sum((x - mean_x) * (y - mean_y) for x, y in points) / spread


def table(rows: Sequence[Row]) -> str:
    """Return the table for the terminal, and below it how everything grows."""
    lines = [
        f"{'what':<50}{'N':>6}{'Springline':>12}{'bare':>10}{'ratio':>7}{'Go':>10}   unit, reach"
    ]
    lines += [
        f"{row.what:<50}{row.count:>6}{row.ours:>12.2f}{_shown(row.bare):>10}"
        f"{_shown(row.ratio):>7}{_shown(row.go):>10}   {row.unit} {row.reach}".rstrip()
        for row in _side_by_side(rows)
    ]
    lines += [
        f"{growth.what}: grows with N to the power of {growth.exponent:.2f} (reach ≤ 1.1)"
        for growth in exponents(rows)
    ]
    return "\n".join(lines)


def _side_by_side(rows: Sequence[Row]) -> list[Row]:
    """Put what was measured at several numbers of connections together."""
    return [
        row for what in dict.fromkeys(row.what for row in rows) for row in rows if row.what == what
    ]


def _shown(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.2f}"


def write(path: Path, rows: Sequence[Row]) -> None:
    """Write them as JSON."""
    document = {
        "rows": [
            {"what": row.what, "connections": row.count, "unit": row.unit, "springline": row.ours,
             "bare": row.bare, "ratio": row.ratio, "go": row.go, "reach": row.reach,
             "during": row.during, "process": row.process,
             "times": row.times, "ranges": row.ranges}
            for row in rows
        ],
        "growth": {each.what: each.exponent for each in exponents(rows)},
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
