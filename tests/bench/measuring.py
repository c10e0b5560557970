"""Memory and time of a process, and what a child reports of itself as one line of JSON."""

import gc
import json
import os
import resource
import time
from pathlib import Path

__all__ = ["Stopwatch", "peak_bytes", "processor_seconds", "report", "resident_bytes"]

_USER, _SYSTEM = 13, 14
"""Of /proc/PID/stat, in clock ticks, counted from 0."""


def resident_bytes(pid: int | None = None) -> int:
    """Return the memory that a process holds now; for our own, after a collection."""
    if pid is None:
        gc.collect()
    pages = int(_proc(pid, "statm").split()[1])
    return pages * resource.getpagesize()


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process has held."""
    [line] = (line for line in _proc(pid, "status").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far."""
    # The second field is the program's name in brackets, which may hold spaces.
    fields = "- - " + _proc(pid, "stat").rpartition(")")[2]
    ticks = sum(int(fields.split()[each]) for each in (_USER, _SYSTEM))
    return ticks / os.sysconf("SC_CLK_TCK")


def _proc(pid: int | None, name: str) -> str:
    return Path("/proc", "self" if pid is None else str(pid), name).read_text(encoding="utf-8")


class Stopwatch:
    """Wall and processor seconds since it was made; those of `pid`, or our own."""

    def __init__(self, pid: int | None = None) -> None:
        self._pid = pid
        self._wall = time.perf_counter()
        self._cpu = self._processor_seconds()

    @property
    def wall(self) -> float:
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        return self._processor_seconds() - self._cpu

    def _processor_seconds(self) -> float:
        return time.process_time() if self._pid is None else processor_seconds(self._pid)


def report(**figures: float) -> None:
    """Hand figures to the parent."""
    print(json.dumps(figures), flush=True)
