"""A port of a Deployment's pod on this machine, by `kubectl port-forward`, ready or not.

It forwards nothing but the port named `http`, and asks nothing of it.
"""

import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path

from support import ports, processes, tools
from support.kubectl import Kubectl
from support.ports import LOOPBACK
from support.waiting import eventually

__all__ = ["forwarded"]

_DEADLINE = 30.0


@contextlib.asynccontextmanager
async def forwarded(
    kubectl: Kubectl, directory: Path, *, namespace: str, deployment: str = "springline"
) -> AsyncIterator[int]:
    """Yield the port at which the pod answers on loopback; it ends with the context."""
    lease = ports.lease(1)
    [port] = lease.ports
    where = [f"--kubeconfig={kubectl.kubeconfig}", f"--namespace={namespace}"]
    process = processes.spawn(
        [tools.kubectl(), "port-forward", *where, f"deployment/{deployment}", f"{port}:http"],
        env={"PATH": os.environ["PATH"], "HOME": str(directory)},
        output=directory / "port-forward.log",
    )
    try:
        await eventually(lambda: _listens(port), timeout=_DEADLINE, what="the port is forwarded")
        yield port
    finally:
        processes.terminate(process, timeout=10)
        lease.release()


def _listens(port: int) -> bool:
    try:
        with socket.create_connection((LOOPBACK, port), timeout=5):
            return True
    except OSError:
        return False
