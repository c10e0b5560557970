"""What keeps the node apart from the machine: namespaces, mounts, cgroups and addresses.

One set of network, mount, PID, IPC and UTS namespaces holds everything, and all of it ends with
their first process. Cgroups are no part of that: they are made below one of our own in every
hierarchy, and removed afterwards.
"""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from support.node.programs import NodeMissing

__all__ = ["ADDRESS", "NAME", "cgroup", "isolated", "prepare"]

NAME = "springline-node"
ADDRESS = "192.0.2.1"
"""Of the node, on a bridge without ports; 192.0.2.0/24 is for documentation, and leads nowhere."""

_CGROUPS = Path("/sys/fs/cgroup")
_LEAST_CAPABILITIES = {"CAP_SYS_ADMIN": 21, "CAP_NET_ADMIN": 12}
_REMOVE_SECONDS = 20.0
_POLL_SECONDS = 0.1


def isolated(command: list[str]) -> list[str]:
    """Return the command that runs `command` as the first process of namespaces of its own.

    It is killed, and everything in the namespaces with it, when the calling thread's process ends.
    """
    namespaces = ["--net", "--mount", "--pid", "--ipc", "--uts", "--fork", "--mount-proc"]
    tied = ["setpriv", "--pdeathsig", "KILL", "--"]
    return [*tied, "unshare", *namespaces, "--kill-child=KILL", "--", *command]


@contextlib.contextmanager
def cgroup() -> Iterator[str]:
    """Make a cgroup for the node in every hierarchy, and remove it with all below at the end.

    Yields its path as the kubelet names it. Raises `NodeMissing`.
    """
    _require_rights()
    name = f"{NAME}-{os.getpid()}"
    roots = [root / name for root in _hierarchies()]
    for root in roots:
        _remove_orphans(root.parent)
    try:
        for root in roots:
            try:
                root.mkdir()
            except OSError as error:
                raise NodeMissing(f"no cgroup can be made: {error}") from error
            _inherit_cpus(root)
        yield f"/{name}"
    finally:
        for root in roots:
            _remove(root)


def prepare(directory: Path) -> None:
    """From inside of the namespaces: set up addresses and mounts. Raises `NodeMissing`."""
    commands = [
        ["ip", "link", "set", "lo", "up"],
        ["ip", "link", "add", "node0", "type", "bridge"],
        ["ip", "address", "add", f"{ADDRESS}/24", "dev", "node0"],
        ["ip", "link", "set", "node0", "up"],
        # So that addresses of Services have a route, before kube-proxy's rules change them.
        ["ip", "route", "add", "default", "dev", "node0"],
        ["hostname", NAME],
        # The kubelet writes here wherever its own directory is.
        *_overlaid(directory, "/etc", "/var/lib", "/var/log"),
        ["mount", "-t", "tmpfs", "tmpfs", "/run"],
    ]
    for command in commands:
        _run(command)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    with Path("/etc/hosts").open("a") as hosts:
        # Otherwise whatever looks up its own name waits for name servers.
        hosts.write(f"{ADDRESS} {NAME}\n")


def _overlaid(directory: Path, *places: str) -> Iterator[list[str]]:
    """Yield the commands after which what is written to these places ends with the node."""
    for place in places:
        upper, work = (directory / kind / place.strip("/") for kind in ("upper", "work"))
        for each in (upper, work):
            each.mkdir(parents=True)
        options = f"lowerdir={place},upperdir={upper},workdir={work}"
        yield ["mount", "-t", "overlay", "overlay", "-o", options, place]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise NodeMissing(f"`{' '.join(command)}` failed: {done.stderr.strip()}")


def _require_rights() -> None:
    if os.geteuid() != 0:
        raise NodeMissing("only root may make the node's namespaces and cgroups")
    [line] = [
        line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff" in line
    ]
    held = int(line.split()[1], 16)
    for name, number in _LEAST_CAPABILITIES.items():
        if not held >> number & 1:
            raise NodeMissing(f"the node's namespaces take {name}, which is not given here")


def _hierarchies() -> list[Path]:
    """Return where cgroups are made: one place with version 2, one for each controller before."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    found = [place for place in sorted(_CGROUPS.iterdir()) if (place / "cgroup.procs").exists()]
    if not found:
        raise NodeMissing("there are no cgroups to put pods into")
    # `cpu` and `cpuacct` may be two names of one place.
    return sorted({place.resolve() for place in found})


def _remove_orphans(hierarchy: Path) -> None:
    """Remove what nodes have left that were killed."""
    for root in hierarchy.glob(f"{NAME}-*"):
        if not Path("/proc", root.name.rpartition("-")[2]).exists():
            _remove(root)


def _inherit_cpus(root: Path) -> None:
    """Version 1 gives a new cgroup no processors, and so takes no process into it."""
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (root / name).exists() and not (root / name).read_text().strip():
            (root / name).write_text((root.parent / name).read_text())


def _remove(root: Path) -> None:
    """Remove a cgroup and all below; its processes are ending."""
    deadline = time.monotonic() + _REMOVE_SECONDS
    while root.exists():
        for place, _, _ in os.walk(root, topdown=False):
            with contextlib.suppress(OSError):  # a process in it has not ended yet
                Path(place).rmdir()
        if time.monotonic() > deadline:
            print(f"The cgroup {root} could not be removed: something in it still runs.")
            return
        if root.exists():
            time.sleep(_POLL_SECONDS)
