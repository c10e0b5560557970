"""Processes that hold connections for a measurement: lines of text in, lines of figures out.

A child has so many seconds for all it does, and is gone when its context is left, also on Ctrl-C.
"""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

__all__ = ["Child", "MeasurementFailed", "python", "started"]

_TESTS = Path(__file__).resolve().parent.parent


class MeasurementFailed(RuntimeError):  # noqa: N818 - what it says is the point
    """Something did not come to an end, so there are no figures."""


class Child:
    """One process."""

    def __init__(self, name: str, pid: int, to_child: IO[str], out: IO[str]) -> None:
        self.pid = pid
        self._name = name
        self._to_child = to_child
        self._out = out

    def tell(self, line: str = "") -> None:
        """Let it go on, with something it has to know."""
        try:
            print(line, file=self._to_child, flush=True)
        except BrokenPipeError:
            raise MeasurementFailed(f"{self._name} ended early; its words are above") from None

    def figures(self) -> dict[str, float]:
        """Return the next figures that it reports. Raises `MeasurementFailed` if it has none."""
        line = self._out.readline()
        if not line:
            raise MeasurementFailed(f"{self._name} ended early; its words are above")
        return dict(json.loads(line))


@contextlib.contextmanager
def started(
    name: str, command: Sequence[str | Path], *, seconds: float, closing_seconds: float = 60.0
) -> Iterator[Child]:
    """Run a command; its first figures may take no longer than its last: `seconds` from now.

    After them it has `closing_seconds` to close its connections.
    """
    # In a session of its own, Ctrl-C reaches only us, and we end it.
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": str(_TESTS)},
    ) as process:
        limit = threading.Timer(seconds, process.kill)
        limit.start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            yield Child(name, process.pid, process.stdin, process.stdout)
            process.stdin.close()
            process.wait(closing_seconds)
        except subprocess.TimeoutExpired:
            raise MeasurementFailed(f"{name} did not close its connections") from None
        finally:
            limit.cancel()
            process.kill()
    if process.returncode != 0:
        raise MeasurementFailed(f"{name} failed; its words are above")


def python(module: str, *args: object) -> list[str]:
    """Return the command line of a child that is a module of ours."""
    return [sys.executable, "-m", f"bench.{module}", *map(str, args)]
