"""Memory and processor time of a process and of what it has started, read from /proc."""

import contextlib
import gc
import os
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

__all__ = [
    "Processors",
    "Stopwatch",
    "family",
    "name_of",
    "peak_bytes",
    "processor_seconds",
    "resident_bytes",
]

_PARENT, _USER, _SYSTEM = 3, 13, 14
"""Of /proc/PID/stat, the last two in clock ticks, counted from 0."""


def resident_bytes(pid: int | None = None) -> int:
    """Return the memory that a process holds now; for our own, after a collection."""
    if pid is None:
        gc.collect()
    pages = int(_proc(pid, "statm").split()[1])
    return pages * resource.getpagesize()


def peak_bytes(pid: int | None = None) -> int:
    """Return the most memory that a process has held."""
    [line] = (line for line in _proc(pid, "status").splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def processor_seconds(pid: int) -> float:
    """Return the processor time that a process has used so far, in steps of 10 ms."""
    fields = _stat(pid)
    return sum(int(fields[each]) for each in (_USER, _SYSTEM)) / os.sysconf("SC_CLK_TCK")


def family(pid: int) -> set[int]:
    """Return a process and all that descend from it, as far as they live."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                children.setdefault(int(_stat(int(entry.name))[_PARENT]), []).append(
                    int(entry.name)
                )
    return set(_descending(pid, children))


def name_of(pid: int) -> str:
    """Return what a process is called, at most 15 characters of it."""
    return _proc(pid, "comm").strip()


def _descending(pid: int, children: Mapping[int, list[int]]) -> Iterator[int]:
    yield pid
    for child in children.get(pid, ()):
        yield from _descending(child, children)


def _stat(pid: int) -> list[str]:
    # The second field is the program's name in brackets, which may hold spaces.
    return ("- - " + _proc(pid, "stat").rpartition(")")[2]).split()


def _proc(pid: int | None, name: str) -> str:
    return Path("/proc", "self" if pid is None else str(pid), name).read_text(encoding="utf-8")


class Stopwatch:
    """Wall and processor seconds of our own process since the stopwatch was made."""

    def __init__(self) -> None:
        self._wall = time.perf_counter()
        self._cpu = time.process_time()

    @property
    def wall(self) -> float:
        """Seconds by the clock."""
        return time.perf_counter() - self._wall

    @property
    def cpu(self) -> float:
        """Seconds of the processors, all threads together."""
        return time.process_time() - self._cpu


class Processors:
    """Processor seconds of processes by name, with those of their descendants.

    Each name comes with a function that returns the process id, because a server has another one
    after a restart. Not safe where a process ends between `start` and `seconds`.
    """

    def __init__(self, pids: Mapping[str, Callable[[], int | None]]) -> None:
        """Count from now on."""
        self._pids = pids
        self._before: Mapping[int, float] = {}
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._before = {pid: used for each in self._used().values() for pid, used in each.items()}

    @property
    def seconds(self) -> dict[str, float]:
        """What each has used since the start; one that did not run then, since its own."""
        return {
            name: sum(used - self._before.get(pid, 0.0) for pid, used in each.items())
            for name, each in self._used().items()
        }

    def _used(self) -> dict[str, dict[int, float]]:
        found: dict[str, dict[int, float]] = {name: {} for name in self._pids}
        for name, pid_of in self._pids.items():
            if (root := pid_of()) is None:
                continue
            for pid in family(root):
                with contextlib.suppress(OSError):  # it has ended meanwhile
                    found[name][pid] = processor_seconds(pid)
        return found
