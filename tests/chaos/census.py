"""What a process has of descriptors, asyncio tasks and threads: counted in it, and asked for.

`serve` runs in Springline's process, in a thread of its own that is always there; `Asked` asks it.
That the event loop has to answer is a sign of life, too.
"""

import asyncio
import collections
import json
import os
import re
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Asked", "Census", "serve"]

_NUMBERS = re.compile(r"\d+")
_INODE = re.compile(r"socket:\[(\d+)\]")
_STATES = {"01": "established", "02": "connecting", "08": "closed by the peer", "0A": "listening"}
_LAST_SERVER = 31999
"""Of the ports that servers have in tests; clients have others."""

_ANSWER_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Census:
    """How many there are of what, by names without numbers."""

    counts: Mapping[str, int]

    @property
    def totals(self) -> Mapping[str, int]:
        """How many descriptors, tasks and threads there are."""
        found: collections.Counter[str] = collections.Counter()
        for name, count in self.counts.items():
            found[name.split(" ", 1)[0]] += count
        return found

    def most(self, other: "Census") -> "Census":
        """Return the larger count of either, for each name."""
        names = self.counts.keys() | other.counts.keys()
        return Census(
            {each: max(self.counts.get(each, 0), other.counts.get(each, 0)) for each in names}
        )

    def beyond(self, most: "Census") -> list[str]:
        """Say what there is more of than in `most`; empty where the totals are no larger."""
        if all(count <= most.totals.get(each, 0) for each, count in self.totals.items()):
            return []
        return [
            f"{name}: {count}, was {most.counts.get(name, 0)}"
            for name, count in sorted(self.counts.items())
            if count > most.counts.get(name, 0)
        ]


def serve(address: str, loop: asyncio.AbstractEventLoop) -> None:
    """Answer at an abstract socket, for as long as the process lives."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(f"\0{address}")
    listener.listen(8)

    def answer() -> None:
        while True:
            client, _ = listener.accept()
            with client:
                try:
                    client.settimeout(_ANSWER_SECONDS)
                    client.sendall(json.dumps(_counted(loop)).encode())
                except (OSError, TimeoutError, RuntimeError):
                    continue  # who asked has gone, or the loop has ended

    threading.Thread(target=answer, name="census", daemon=True).start()


def _counted(loop: asyncio.AbstractEventLoop) -> dict[str, int]:
    names: list[str] = []
    done = threading.Event()

    def look() -> None:
        names.extend(f"task {_named(each)}" for each in asyncio.all_tasks(loop))
        done.set()

    loop.call_soon_threadsafe(look)
    if not done.wait(_ANSWER_SECONDS):
        raise TimeoutError
    names += [f"thread {_plain(each.name)}" for each in threading.enumerate()]
    foreign = len(list(Path("/proc/self/task").iterdir())) - threading.active_count()
    names += ["thread (not Python's)"] * foreign
    names += [f"descriptor {each}" for each in _descriptors()]
    return dict(collections.Counter(names))


def _named(task: "asyncio.Task[object]") -> str:
    """Return the name of a task, or what it runs where nobody gave it one."""
    name = _plain(task.get_name())
    return getattr(task.get_coro(), "__qualname__", name) if name == "Task-#" else name


def _descriptors() -> list[str]:
    found = []
    connections = _connections()
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = str(each.readlink())
        except FileNotFoundError:  # the one that listed the directory
            continue
        if match := _INODE.fullmatch(target):
            found.append(f"socket {connections.get(match[1], 'other')}")
        else:
            found.append(_plain(target.split(":", 1)[0]))
    return found


def _connections() -> dict[str, str]:
    """Return what each TCP socket is, by its inode: which server it leads to, or is one of."""
    found = {}
    for line in Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
        _, local, remote, state, *rest = line.split()
        ours, theirs = (int(each.split(":")[1], 16) for each in (local, remote))
        where = f"of port {ours}" if theirs > _LAST_SERVER or not theirs else f"to port {theirs}"
        found[rest[5]] = f"{where}, {_STATES.get(state, state)}"
    return found


def _plain(name: str) -> str:
    return _NUMBERS.sub("#", name)


class Asked:
    """Asks the process that serves at an address. Calls block."""

    def __init__(self) -> None:
        self.address = f"springline-chaos-{os.urandom(8).hex()}"

    def census(self, *, timeout: float) -> Census:
        """Return what there is now. Raises `OSError` if it is not told in `timeout` seconds."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(timeout)
            client.connect(f"\0{self.address}")
            text = b""
            while piece := client.recv(65536):
                text += piece
        if not text:
            raise ConnectionError("no answer")
        return Census(json.loads(text))
