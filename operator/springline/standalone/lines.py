"""Cells as lines with aligned columns: what a table of text needs, without drawing one.

It imports next to nothing, so that a command that prints a few lines need not load the rest.
"""

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Final

from rich.cells import cell_len

__all__ = ["GAP", "age", "aligned", "expressible", "total_of", "width", "widths_of"]

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
