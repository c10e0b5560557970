"""What is measured, one row each: ratios, growth, a table for people and JSON for programs."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Growth", "Row", "exponents", "table", "write"]


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
    is_fitted: bool = False
    """Whether its growth with the number of connections says something."""
    is_each: bool = False
    """Whether it is for one connection, so that the whole is so many times as much."""

    @property
    def ratio(self) -> float | None:
        """How many times the bare minimum it is."""
        return self.ours / self.bare if self.bare else None

    @property
    def whole(self) -> float:
        """What all connections take together."""
        return self.ours * self.count if self.is_each else self.ours


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
    """Return the table, and below it how everything grows."""
    lines = [
        f"{'what':<44}{'N':>6}{'Springline':>12}{'bare':>10}{'ratio':>7}{'Go':>10}   unit, reach"
    ]
    lines += [
        f"{row.what:<44}{row.count:>6}{row.ours:>12.2f}{_shown(row.bare):>10}"
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
             "bare": row.bare, "ratio": row.ratio, "go": row.go, "reach": row.reach}
            for row in rows
        ],
        "growth": {each.what: each.exponent for each in exponents(rows)},
    }  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
