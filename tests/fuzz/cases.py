"""A case: the octets that one run of a target gets, in parts.

What the parts are is the target's: what a peer says between two pauses, or one document.
"""

from collections.abc import Sequence
from pathlib import Path

__all__ = ["LONGEST", "MOST_PARTS", "Case", "read", "read_hex", "shown", "size", "written"]

Case = tuple[bytes, ...]

LONGEST = 20 * 1024
"""Octets of a part; what is longer says no more, and takes the time of many."""

MOST_PARTS = 24


def size(case: Case) -> int:
    """Return how many octets a case has."""
    return sum(map(len, case))


def shown(case: Case) -> str:
    """Return a case as one word, which `read` takes."""
    return ",".join(part.hex() for part in case)


def read(text: str) -> Case:
    """Return the case that a word stands for. Raises `ValueError`."""
    return tuple(bytes.fromhex(part) for part in text.strip().split(","))


def read_hex(path: Path) -> Case:
    """Return the case of a file with a line for each part; lines with # are comments."""
    lines = path.read_text(encoding="ascii").splitlines()
    return tuple(bytes.fromhex(line) for line in lines if not line.startswith("#"))


def written(comment: str, parts: Sequence[bytes]) -> str:
    """Return the text of a file that `read_hex` takes."""
    return "".join(f"{line}\n" for line in (f"# {comment}", *(part.hex() for part in parts)))
