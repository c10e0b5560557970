"""What the walkthrough prints: its own sentences, what others say, and a table of connections.

It decides how things look, not what is said or when.
"""

import os
import shutil
import threading
from collections.abc import Sequence
from typing import TextIO

from statuses import Row

__all__ = ["Narrator"]

_BOLD, _DIM, _RED, _GREEN, _YELLOW = "1", "2", "31", "32", "33"
_COLUMNS = ("NAME", "READY", "BLOCKED", "STATE", "REASON", "MESSAGE")
_GAP = "   "
_INDENT = "  "


class Narrator:
    """Prints whole lines, from several threads if need be. Colours are for terminals only."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._lock = threading.Lock()
        self._after_blank = False
        on_terminal = out.isatty()
        self._coloured = (
            on_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
        )
        # What goes to a file or a pipe is never cut.
        self._width = shutil.get_terminal_size().columns if on_terminal else None

    def headline(self, text: str) -> None:
        """Begin a part."""
        self._write(self._in(_BOLD, text), apart=True)

    def say(self, text: str) -> None:
        """Say what is done or was seen."""
        self._write(f"{_INDENT}{text}")

    def quote(self, who: str, line: str) -> None:
        """Show a line that somebody else wrote."""
        self._write(_INDENT + self._in(_DIM, f"{who:<10} │ {line}"))

    def table(self, rows: Sequence[Row]) -> None:
        """Show connections the way `kubectl get` does."""
        cells = [_COLUMNS, *(_cells(row) for row in rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(_COLUMNS))]
        colours = [_BOLD, *(_colour(row) for row in rows)]
        lines = [
            _INDENT + self._in(colour, self._cut(_aligned(line, widths)))
            for colour, line in zip(colours, cells, strict=True)
        ]
        self._write("\n".join(lines) + "\n", apart=True)

    def complain(self, text: str) -> None:
        """Say what went wrong."""
        self._write(self._in(_RED, text), apart=True)

    def _in(self, colour: str, text: str) -> str:
        return f"\033[{colour}m{text}\033[0m" if self._coloured else text

    def _cut(self, line: str) -> str:
        """Keep a row of the table to one line of the terminal."""
        if self._width is None or len(_INDENT) + len(line) <= self._width:
            return line
        return line[: max(self._width - len(_INDENT) - 1, 0)] + "…"

    def _write(self, text: str, *, apart: bool = False) -> None:
        with self._lock:
            gap = "\n" if apart and not self._after_blank else ""
            self._after_blank = text.endswith("\n")
            self._out.write(f"{gap}{text}\n")
            self._out.flush()


def _colour(row: Row) -> str:
    if row.state == "Rejected":
        return _RED
    return _GREEN if row.ready == "True" and row.blocked != "True" else _YELLOW


def _cells(row: Row) -> tuple[str, ...]:
    return (row.name, row.ready, row.blocked, row.state, row.reason, row.message)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
