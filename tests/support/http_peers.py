"""What the HTTP servers of the tests have in common: where they are found, and how they are run.

`install-http-peers.sh` gets nginx and nghttpd; hypercorn is a requirement of the tests. Each has a
module of its own, with what it answers: `nginx`, `nghttpd`, `hypercorn`. All listen on loopback
alone, write below one directory, and end with the process that started them. Calls block: use
`asyncio.to_thread` from async code.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from support import ports, processes
from support.apiserver import cache
from support.ports import LOOPBACK
from support.rabbitmq import TLSFiles
from support.started import Started
from support.waiting import PATIENCE

__all__ = ["LARGE", "HTTPPeer", "HTTPPeerFailed", "HTTPPeerMissing", "Program", "find"]

LARGE = 8 * 1024 * 1024
"""Octets of the large answer of each peer: more than fits into the buffers of a connection."""

_PINS = Path(__file__).with_name("http-peers.packages")
_POLL_SECONDS = 0.02
_SHOWN_LINES = 30
_STOP_SECONDS = 10.0


class HTTPPeerMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """A server cannot be had; the text says which, and what to do."""


class HTTPPeerFailed(RuntimeError):  # noqa: N818 - as above
    """A server did not start; the text holds what it wrote."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A server's program, and what it needs in its environment."""

    path: Path
    environment: Mapping[str, str] = field(default_factory=dict)


def find(name: str) -> Program:
    """Return the program of a pinned peer: ours, or the one in PATH. Raises `HTTPPeerMissing`."""
    found = re.search(rf"^{name} \S+ (\S+) ", _PINS.read_text("utf-8"), re.MULTILINE)
    assert found is not None, f"{_PINS.name} names no {name}"
    root = cache(f"{name}-{found[1]}")
    ours = root / "usr" / "sbin" / name
    if ours.is_file():
        directories = {str(path.parent) for path in root.rglob("*.so.*")}
        return Program(
            path=ours, environment={"LD_LIBRARY_PATH": os.pathsep.join(sorted(directories))}
        )
    installed = shutil.which(name)
    if installed is None:
        raise HTTPPeerMissing(f"there is no {name}: run make http-peers")
    return Program(path=Path(installed))


class HTTPPeer(Started):
    """One server. As a context manager it is started, and closed at the end.

    `directory` holds everything it writes. What a subclass takes as arguments are attributes too;
    they may be changed, and count from the next start. Ports stay the same.
    """

    name: ClassVar[str]

    def __init__(self, directory: Path, *, tls: TLSFiles | None, port_count: int) -> None:
        """Choose ports and make the directory; nothing runs yet."""
        self.tls = tls
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
        """Start, and return once all its ports accept connections. Idempotent.

        Raises `HTTPPeerFailed` where it ends, or is not there in `timeout` seconds; nothing is
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
        while not all(_accepts(port) for port in self.listeners()):
            if process.poll() is not None or time.monotonic() > deadline:
                raise HTTPPeerFailed(self._last_words())
            time.sleep(_POLL_SECONDS)

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
            self._process.send_signal(signal.SIGSTOP)

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
