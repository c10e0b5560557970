"""What a child process reports of itself: memory and time, as one line of JSON."""

import gc
import json
import resource
import time
from pathlib import Path

__all__ = ["Stopwatch", "report", "resident_bytes"]


def resident_bytes() -> int:
    """Return the memory that this process holds now, after a collection."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()


class Stopwatch:
    """Wall and processor seconds since it was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    @property
    def wall(self) -> float:
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        return time.process_time() - self._cpu


def report(**figures: float) -> None:
    """Hand figures to the parent."""
    print(json.dumps(figures), flush=True)
