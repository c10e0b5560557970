"""Choose TCP ports that nobody else will take while a test uses them.

Only loopback ports below the kernel's ephemeral range are handed out, so an outgoing connection
never occupies one by chance. It does not listen on the ports, and knows nothing about what will.
"""

import itertools
import random
import socket
from dataclasses import dataclass, field

__all__ = ["LOOPBACK", "PortLease", "lease"]

LOOPBACK = "127.0.0.1"
_FIRST, _LAST = 20_000, 31_999


@dataclass(slots=True, kw_only=True)
class PortLease:
    """Ports that stay ours until `release`, whether or not anything listens on them."""

    ports: tuple[int, ...]
    # One lock per port; see `_lock`.
    _locks: list[socket.socket] = field(repr=False)

    def release(self) -> None:
        """Let others take the ports. Idempotent."""
        while self._locks:
            self._locks.pop().close()


def lease(count: int) -> PortLease:
    """Lease `count` free ports. Raises `RuntimeError` where there are not that many."""
    # Random start: suites that run side by side seldom meet.
    start = random.randint(_FIRST, _LAST)  # noqa: S311 - spreads the load, guards nothing
    ports: list[int] = []
    locks: list[socket.socket] = []
    for port in itertools.chain(range(start, _LAST + 1), range(_FIRST, start)):
        lock = _lock(port)
        if lock is None:
            continue
        if not _is_free(port):
            lock.close()
            continue
        ports.append(port)
        locks.append(lock)
        if len(ports) == count:
            return PortLease(ports=tuple(ports), _locks=locks)
    for lock in locks:
        lock.close()
    raise RuntimeError(f"fewer than {count} free ports between {_FIRST} and {_LAST}")


def _lock(port: int) -> socket.socket | None:
    """Claim a port among all processes that use this module, or return None.

    A name in Linux' abstract socket namespace has one owner in a network namespace and vanishes
    with its process: unlike a lock file it cannot be left behind, and unlike a bound TCP socket it
    does not stand in the way of the server.
    """
    lock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        lock.bind(f"\0springline-test-port-{port}")
    except OSError:
        lock.close()
        return None
    return lock


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a stopped one's connections in TIME_WAIT are no obstacle, a listener is.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True
