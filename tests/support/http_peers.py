"""What the HTTP servers of the tests have in common: where they are found, and what fails.

`install-http-peers.sh` gets nginx and nghttpd; hypercorn is a requirement of the tests. Each has a
module of its own, with what it answers: `nginx`, `nghttpd`, `hypercorn`. `servers` runs them.
"""

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from support.apiserver import cache
from support.rabbitmq import TLSFiles
from support.servers import Server, ServerFailed

__all__ = ["LARGE", "HTTPPeer", "HTTPPeerFailed", "HTTPPeerMissing", "Program", "find"]

LARGE = 8 * 1024 * 1024
"""Octets of the large answer of each peer: more than fits into the buffers of a connection."""

_PINS = Path(__file__).with_name("http-peers.packages")


class HTTPPeerMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """A server cannot be had; the text says which, and what to do."""


class HTTPPeerFailed(ServerFailed):
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


class HTTPPeer(Server):
    """One HTTP server."""

    _failure: ClassVar[type[ServerFailed]] = HTTPPeerFailed

    def __init__(self, directory: Path, *, tls: TLSFiles | None, port_count: int) -> None:
        """Choose ports and make the directory; nothing runs yet."""
        self.tls = tls
        super().__init__(directory, port_count=port_count)
