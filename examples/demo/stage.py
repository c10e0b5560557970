"""What the walkthrough plays on: a private RabbitMQ, a copy of the manifests, and Springline.

Everything is in one temporary directory. Leaving the stage stops both programs and removes it,
however it is left.
"""

import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import statuses
from narrator import Narrator
from statuses import Row

from support import processes
from support.rabbitmq import RabbitMQNode

__all__ = ["NotSeenError", "Springline", "Stage"]

_MANIFESTS = Path(__file__).parent / "manifests"
_PORT_IN_MANIFESTS = "port: 5672"
_POLL_SECONDS = 0.1
_STOP_SECONDS = 15.0


class NotSeenError(Exception):
    """What a step waits for did not happen."""

    def __init__(self, what: str, why: str) -> None:
        super().__init__(what, why)
        self.what = what
        self.why = why

    def __str__(self) -> str:
        return f"Expected: {self.what}; {self.why}."


class Springline:
    """`springline run` as a process of its own, with what it prints repeated as it comes."""

    def __init__(self, manifests: Path, status_dir: Path, output: Path, narrator: Narrator) -> None:
        """Start it."""
        self.status_dir = status_dir
        self._output = output
        self._narrator = narrator
        self._shown = 0  # characters of the output
        self._showing = threading.Lock()
        self._leaving = threading.Event()
        options = ["-f", str(manifests), "--status-dir", str(status_dir)]
        self._process = processes.spawn(
            [sys.executable, "-m", "springline", "run", *options, "--output", "lines"],
            env=os.environ,
            output=output,
        )
        self._follower = threading.Thread(
            target=self._follow, name="springline's lines", daemon=True
        )
        self._follower.start()

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll()

    @property
    def lines(self) -> list[str]:
        """All it has printed so far."""
        return self._output.read_text(encoding="utf-8", errors="replace").splitlines()

    def rows(self) -> list[Row]:
        """Return its connections, as their status files say now."""
        return statuses.read(self.status_dir)

    def show_new_lines(self) -> None:
        """Repeat what it has printed since the last call."""
        with self._showing:
            text = self._output.read_text(encoding="utf-8", errors="replace")
            whole = text[self._shown : text.rfind("\n") + 1]
            self._shown += len(whole)
            for line in whole.splitlines():
                self._narrator.quote("springline", line)

    def ask_to_stop(self) -> None:
        """Send SIGTERM, as Kubernetes and systemd do."""
        self._process.send_signal(signal.SIGTERM)

    def close(self) -> None:
        """End it for certain. Idempotent."""
        self._leaving.set()
        processes.terminate(self._process, timeout=_STOP_SECONDS)
        self._follower.join()

    def _follow(self) -> None:
        while not self._leaving.wait(_POLL_SECONDS):
            self.show_new_lines()


class Stage:
    """The parts, made one after the other by the walkthrough. Use as a context manager."""

    broker: RabbitMQNode
    springline: Springline | None = None

    def __init__(self, narrator: Narrator) -> None:
        self.narrator = narrator
        self._exits = ExitStack()

    def __enter__(self) -> Self:
        """Prepare the broker without starting it. Raises `RabbitMQMissing`."""
        directory = self._exits.enter_context(
            tempfile.TemporaryDirectory(prefix="springline-demo-", ignore_cleanup_errors=True)
        )
        self.directory = Path(directory)
        self.manifests = self.directory / "manifests"
        try:
            self.broker = RabbitMQNode(self.directory / "broker")
        except BaseException:
            self._exits.close()
            raise
        self._exits.callback(self.broker.close)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop what runs and remove the directory."""
        self._exits.close()

    def copy_manifests(self) -> None:
        """Copy the manifests, with the broker's port filled in."""
        shutil.copytree(_MANIFESTS, self.manifests)
        self.edit("broker.yaml", _PORT_IN_MANIFESTS, f"port: {self.broker.amqp_port}")

    def edit(self, file: str, old: str, new: str) -> None:
        """Replace text in a manifest, in one go as an editor saves it."""
        path = self.manifests / file
        text = path.read_text(encoding="utf-8")
        if old not in text:
            raise ValueError(f"{file} has no {old!r}")
        saved = path.with_name(f".{file}.saved")
        saved.write_text(text.replace(old, new), encoding="utf-8")
        saved.replace(path)

    def start_springline(self) -> Springline:
        """Start Springline on the copied manifests."""
        self.springline = springline = Springline(
            self.manifests, self.directory / "status", self.directory / "lines", self.narrator
        )
        self._exits.callback(springline.close)
        return springline

    def wait_for(
        self, what: str, seen: Callable[[Sequence[Row]], bool], *, seconds: float = 20.0
    ) -> list[Row]:
        """Return the connections once `seen` is true of them. Raises `NotSeenError`."""
        springline = self.springline
        assert springline is not None  # noqa: S101 - the steps have an order
        deadline = time.monotonic() + seconds
        while not seen(rows := springline.rows()):
            if springline.exit_code is not None:
                raise NotSeenError(what, f"springline ended with code {springline.exit_code}")
            if time.monotonic() > deadline:
                raise NotSeenError(what, f"it was not so within {seconds:.0f} seconds")
            time.sleep(_POLL_SECONDS)
        springline.show_new_lines()
        return rows

    def wait_until(self, what: str, seen: Callable[[], bool], *, seconds: float = 20.0) -> None:
        """Return once `seen` is true. Raises `NotSeenError`."""
        deadline = time.monotonic() + seconds
        while not seen():
            if time.monotonic() > deadline:
                raise NotSeenError(what, f"it was not so within {seconds:.0f} seconds")
            time.sleep(_POLL_SECONDS)
        if self.springline is not None:
            self.springline.show_new_lines()
