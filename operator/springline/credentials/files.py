"""Opens what a path leads to, as long as that is below a directory.

Symbolic links are followed: a mounted volume is made of them. It is not enough to look where they
lead before a file is opened, because whoever may change them may do so in between.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["OutsideError", "opened"]

_TRIES = 3

# Of a directory only the way through it is needed, where the system makes a difference.
_DIRECTORY = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY
# Not blocking, because it may be a pipe into which nobody ever writes.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY


class OutsideError(Exception):
    """A path leads out of the directory that it has to stay in."""


@contextlib.contextmanager
def opened(path: Path, *, below: Path) -> Iterator[int]:
    """Open a file for reading and give its descriptor. Raises `OutsideError` and `OSError`.

    A volume is brought up to date by replacing a link, and what that led to before is removed at
    once. So what is gone may be somewhere else by now, and is looked for again.
    """
    tries_left = _TRIES
    while True:
        try:
            descriptor = _open(path, below)
            break
        except OSError:
            tries_left -= 1
            if not tries_left:
                raise
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open(path: Path, below: Path) -> int:
    root = os.path.realpath(below, strict=True)
    found = Path(os.path.realpath(path, strict=True))
    if not found.is_relative_to(root) or found == Path(root):
        raise OutsideError
    *directories, name = found.relative_to(root).parts
    at = os.open(root, _DIRECTORY)
    try:
        # From one directory to the next, none of which may have become a link since.
        for directory in directories:
            above, at = at, os.open(directory, _DIRECTORY | os.O_NOFOLLOW, dir_fd=at)
            os.close(above)
        return os.open(name, _FILE | os.O_NOFOLLOW, dir_fd=at)
    finally:
        os.close(at)
