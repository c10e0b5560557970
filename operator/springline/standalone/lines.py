"""Cells as lines with aligned columns: what a table of text needs, without drawing one.

It imports next to nothing, so that a command that prints a few lines need not load the rest.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from rich.cells import cell_len, set_cell_size

__all__ = ["GAP", "age", "aligned", "expressible", "fitted", "total_of", "width", "widths_of"]

GAP: Final = 3
"""Terminal cells between columns."""


def widths_of(rows: Iterable[Sequence[str]]) -> list[int]:
    """Return how many terminal cells each column takes; some characters take two."""
    return [max(map(cell_len, column)) for column in zip(*rows, strict=True)]


def total_of(widths: Iterable[int]) -> int:
    """Return how wide a line with such columns is."""
    return sum(each + GAP for each in widths) - GAP


def expressible(text: str, encoding: str) -> str:
    """Return a text with escapes for what the encoding has no characters for."""
    return text.encode(encoding, "backslashreplace").decode(encoding)


def width(rows: Sequence[Sequence[str]]) -> int:
    """Return how many terminal cells the widest line of `aligned` takes."""
    return total_of(widths_of(rows))


def aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows of cells, the header among them, as lines with aligned columns."""
    widths = widths_of(rows)
    return "\n".join(
        (" " * GAP)
        .join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        )
        .rstrip()
        for row in rows
    )


def age(span: timedelta) -> str:
    """Return a span as kubectl shows ages: whole units of the largest kind that gives two."""
    seconds = max(int(span.total_seconds()), 0)  # below 0 if the clock was set back
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 120:
        return f"{minutes}m"
    if hours < 48:
        return f"{hours}h"
    return f"{days}d"


def fitted(
    rows: Sequence[Sequence[str]], *, left_out_first: Sequence[str], to: int, encoding: str
) -> tuple[list[int], list[list[str]]]:
    """Return which columns fit into so many terminal cells, and their cells, the header first.

    Cells are shortened where the least of the columns do not fit.
    """
    rows = [[expressible(cell, encoding) for cell in row] for row in rows]
    header, widths = rows[0], widths_of(rows)
    places = list(range(len(header)))
    for left_out in left_out_first:
        if total_of(widths[place] for place in places) <= to:
            break
        places = [place for place in places if header[place] != left_out]
    return places, _shortened([[row[place] for place in places] for row in rows], to, encoding)


def _shortened(rows: list[list[str]], to: int, encoding: str) -> list[list[str]]:
    """Cut the cells of the widest columns until a line fits, or nothing is left to be cut."""
    widths = widths_of(rows)
    while total_of(widths) > to and max(widths) > 1:
        widths[widths.index(max(widths))] -= 1
    mark = "…" if expressible("…", encoding) == "…" else "~"
    return [
        [
            cell if cell_len(cell) <= width else set_cell_size(cell, width - 1) + mark
            for cell, width in zip(row, widths, strict=True)
        ]
        for row in rows
    ]
