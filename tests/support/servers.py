"""A server of the tests, a process of its own: how it is started, stopped, killed and frozen.

What it is and how it is configured says a subclass. All of them listen on loopback alone, write
below one directory, and end with the process that started them. Calls block: use
`asyncio.to_thread` from async code.
"""

import os
import signal
import socket
import subprocess
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from support import ports, processes
from support.ports import LOOPBACK
from support.started import Started
from support.waiting import PATIENCE

__all__ = ["Server", "ServerFailed"]

_POLL_SECONDS = 0.02
_SHOWN_LINES = 30
_STOP_SECONDS = 10.0


class ServerFailed(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """A server did not start; the text holds what it wrote."""


class Server(Started):
    """One server. As a context manager it is started, and closed at the end.

    `directory` holds everything it writes. What a subclass takes as arguments are attributes too;
    they may be changed, and count from the next start. Ports stay the same.
    """

    name: ClassVar[str]
    # What is raised where it does not start.
    _failure: ClassVar[type[ServerFailed]] = ServerFailed

    def __init__(self, directory: Path, *, port_count: int) -> None:
        """Choose ports and make the directory; nothing runs yet."""
        self.directory = directory.absolute()
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lease = ports.lease(port_count)
        self._process: subprocess.Popen[bytes] | None = None

    # What a subclass says

    @abstractmethod
    def _prepare(self) -> None:
        """Write configuration and content."""

    @abstractmethod
    def _command(self) -> Sequence[str | Path]:
        """Return the program with its arguments."""

    @abstractmethod
    def _environment(self) -> Mapping[str, str]:
        """Return what it needs in its environment besides PATH and HOME."""

    @abstractmethod
    def listeners(self) -> Sequence[int]:
        """Return the ports that it listens on once it has started."""

    # Life

    @property
    def pid(self) -> int | None:
        """The process id, while it runs."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    @property
    def running(self) -> bool:
        """Whether its process exists, frozen or not."""
        return self.pid is not None

    def start(self, timeout: float = PATIENCE) -> None:
        """Start, and return once it can be used, at all of its ports. Idempotent.

        Raises `ServerFailed` where it ends, or is not there in `timeout` seconds; nothing is
        left running then.
        """
        if self.running:
            return
        self._prepare()
        self._process = processes.spawn(
            self._command(),
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self.directory),
                **self._environment(),
            },
            output=self._log,
        )
        deadline = time.monotonic() + timeout
        try:
            self._await_clients(self._process, deadline)
        except BaseException:
            self.kill()
            raise

    def _await_clients(self, process: "subprocess.Popen[bytes]", deadline: float) -> None:
        while not self._is_ready():
            if process.poll() is not None or time.monotonic() > deadline:
                raise self._failure(self._last_words())
            time.sleep(_POLL_SECONDS)

    def _is_ready(self) -> bool:
        """Whether it can be used."""
        return all(_accepts(port) for port in self.listeners())

    def stop(self) -> None:
        """Ask it to end, and wait until it has. Idempotent."""
        if self._process is not None:
            self.resume()
            processes.terminate(self._process, timeout=_STOP_SECONDS)

    def kill(self) -> None:
        """End it at once, as a crash does. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def pause(self) -> None:
        """Freeze it: nothing answers, though the kernel still accepts connections."""
        if self._process is not None:
            processes.freeze(self._process)

    def resume(self) -> None:
        """Let it go on when it is frozen. Idempotent."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)

    def terminate(self) -> None:
        """Ask it to end, and return at once: for what it says to its clients meanwhile."""
        if self._process is not None:
            self._process.terminate()

    def close(self) -> None:
        """Stop it and give the ports back; it cannot be started again. Idempotent."""
        self.stop()
        self._lease.release()

    # What it writes

    def log_text(self) -> str:
        """Return what it has written, all starts together."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self.directory / f"{self.name}.log"

    def _last_words(self) -> str:
        lines = self.log_text().splitlines()[-_SHOWN_LINES:]
        return "\n".join([f"{self.name} did not start; it wrote:", *lines])


def _accepts(port: int) -> bool:
    try:
        socket.create_connection((LOOPBACK, port), timeout=1.0).close()
    except OSError:
        return False
    return True
