"""A wall clock that a test sets, for one process: libfaketime between it and the system's clocks.

The monotonic clocks stay as they are, as they do when somebody sets the clock of a machine.
`install-faketime.sh` gets the library; this only looks for it.
"""

import os
from collections.abc import Mapping
from pathlib import Path

__all__ = ["FaketimeMissing", "WallClock"]

_NAME = "faketime/libfaketimeMT.so.1"


class FaketimeMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """libfaketime is not to be had; the text says what to do."""


class WallClock:
    """The wall clock of the processes that are started with its environment."""

    def __init__(self, directory: Path) -> None:
        """Raises `FaketimeMissing`."""
        self._library = _library()
        self._file = directory / "wall-clock"
        self.set(0)

    def set(self, seconds: int) -> None:
        """Put the clock so many seconds ahead of the machine's, or behind it."""
        # In one step: a clock that is half written is none.
        temporary = self._file.with_suffix(".new")
        temporary.write_text(f"{seconds:+d}\n", encoding="ascii")
        temporary.replace(self._file)

    @property
    def environment(self) -> Mapping[str, str]:
        """What a process has to be started with."""
        return {
            "LD_PRELOAD": str(self._library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def _library() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = [Path("/usr"), cache / "springline/faketime/usr"]
    for place in places:
        for found in sorted([*place.glob(f"lib/*/{_NAME}"), *place.glob(f"lib*/{_NAME}")]):
            return found
    raise FaketimeMissing(
        "libfaketime is missing: run tests/support/install-faketime.sh, or install libfaketime"
    )
