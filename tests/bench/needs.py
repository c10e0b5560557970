"""What a number of connections needs of this machine: descriptors, ports and memory.

It raises our own limit of open files as far as it may, which every process that we start inherits,
and says in one sentence what is missing. It changes nothing else on the machine.
"""

import math
import re
import resource
from collections.abc import Sequence
from pathlib import Path

from support.rabbitmq import RabbitMQNode

__all__ = [
    "allow_most",
    "descriptors",
    "lacking",
    "possible",
    "too_few_descriptors",
    "too_few_of_broker",
    "too_few_of_process",
]

_BESIDE = 500
"""Descriptors of a process beside its connections: its program, its logs, its other sockets."""
_OF_BROKER, _SHARE_OF_SOCKETS = 100, 0.9
"""RabbitMQ 3.x keeps so many descriptors for itself, and of the others a tenth for files."""
_SOCKETS_BESIDE = 30
"""Of the broker: its listeners, and clients that do not belong to the connections."""

_MEMORY_EACH = 200_000
"""Octets: RabbitMQ takes some 140 KB for each connection, a client up to 60 KB."""
_MEMORY_BESIDE = 1_000_000_000
"""Octets of everything else: the servers before the first connection, and this process."""


def descriptors(count: int) -> int:
    """Return the limit of open files that suffices for each process, the broker included."""
    of_broker = (count + _SOCKETS_BESIDE) / _SHARE_OF_SOCKETS + _OF_BROKER
    return max(count + _BESIDE, math.ceil(of_broker))


def allow_most() -> int:
    """Raise the limit of open files of this process as far as may be; return what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (ValueError, OSError):  # a hard limit above what the kernel allows
        return soft
    return hard


def too_few_descriptors(count: int) -> str:
    """Allow as many files as may be had, and say so where that is not enough."""
    return _too_few(count, allow_most(), "this shell")


def too_few_of_process(count: int, pid: int, name: str) -> str:
    """Say so where another process may not open enough files."""
    limits = Path(f"/proc/{pid}/limits").read_text(encoding="ascii")
    soft = re.search(r"^Max open files +(\w+)", limits, re.MULTILINE)
    assert soft is not None, limits
    return _too_few(count, -1 if soft[1] == "unlimited" else int(soft[1]), name)


def too_few_of_broker(count: int, node: RabbitMQNode) -> str:
    """Say so where a running broker may not open enough files, or its Erlang enough ports."""
    assert node.pid is not None
    if problem := too_few_of_process(count, node.pid, "the broker"):
        return problem
    ports = int(node.eval("erlang:system_info(port_limit)"))
    if ports >= descriptors(count):
        return ""
    return (
        f"{count} connections need {descriptors(count)} ports of Erlang and the broker has "
        f"{ports}; measure fewer: make bench BENCH_ARGS='500'"
    )


def _too_few(count: int, allowed: int, who: str) -> str:
    needed = descriptors(count)
    if allowed in (resource.RLIM_INFINITY, -1) or allowed >= needed:
        return ""
    return (
        f"{count} connections need {needed} file descriptors and {who} allows {allowed}; raise "
        "the limit (ulimit -Hn), or measure fewer: make bench BENCH_ARGS='500'"
    )


def lacking(count: int, *, free_bytes: int, ports: int) -> str:
    """Say in one sentence why so many connections are left out here; empty where they fit."""
    needed = _MEMORY_BESIDE + count * _MEMORY_EACH
    if free_bytes < needed:
        return (
            f"{count} connections are left out: they take about {needed / 1e9:.1f} GB, most of it "
            f"the broker's, and {free_bytes / 1e9:.1f} GB are free"
        )
    if ports < count + _BESIDE:
        return (
            f"{count} connections are left out: each takes a local port, and there are {ports} "
            "(net.ipv4.ip_local_port_range)"
        )
    return ""


def possible(counts: Sequence[int]) -> list[int]:
    """Return the numbers that fit on this machine now; say of the others why they do not."""
    found = []
    for count in counts:
        if problem := lacking(count, free_bytes=_free_bytes(), ports=_local_ports()):
            print(f"{problem}.", flush=True)
        else:
            found.append(count)
    return found


def _free_bytes() -> int:
    """Return how much memory may still be taken: of the machine, and of the container."""
    text = Path("/proc/meminfo").read_text(encoding="ascii")
    [kilobytes] = re.findall(r"^MemAvailable: +(\d+) kB$", text, re.MULTILINE)
    free = int(kilobytes) * 1024
    most, used = (Path("/sys/fs/cgroup", name) for name in ("memory.max", "memory.current"))
    if most.exists() and (limit := most.read_text().strip()) != "max":
        free = min(free, int(limit) - int(used.read_text()))
    return free


def _local_ports() -> int:
    first, last = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()
    return int(last) - int(first) + 1
