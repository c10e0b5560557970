"""Where something stands in a file, in the form that editors and terminals can follow."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

__all__ = ["STANDARD_INPUT", "Position", "placed"]

STANDARD_INPUT: Final = Path("/dev/stdin")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A file, and the line and column where they are known; the first ones are 1.

    As text it is `path:line:column`, the path as it was given.
    """

    path: Path
    line: int | None = None
    column: int | None = None

    def __str__(self) -> str:
        path = "stdin" if self.path == STANDARD_INPUT else str(self.path)
        return ":".join(str(part) for part in (path, self.line, self.column) if part is not None)


def placed(position: Position | None, *parts: str) -> str:
    """Return the parts as one line, behind the position where there is one."""
    return ": ".join(parts if position is None else (str(position), *parts))
