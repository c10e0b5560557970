"""The API server of any cluster, as the administrator that a kubeconfig names asks it.

`kubectl proxy` does the logging in, so the same questions can be asked of a cluster whose
credentials are of no matter here. Calls block: use `asyncio.to_thread` from async code.
"""

import http.client
import json
import os
import subprocess
import time
from pathlib import Path
from typing import Protocol

from support import ports, processes, tools
from support.apiserver import Answer
from support.ports import LOOPBACK
from support.started import Started
from support.waiting import PATIENCE

__all__ = ["Administrator", "KubectlProxy"]

_START_SECONDS = PATIENCE
_POLL_SECONDS = 0.05


class Administrator(Protocol):
    """Who may ask the API server everything: `APIServer` itself, or a proxy in front of one."""

    def request(
        self, method: str, path: str, body: object = None, *, content_type: str = ""
    ) -> Answer:
        """Ask. A PATCH is a merge patch unless `content_type` says otherwise. Raises `OSError`."""


class KubectlProxy(Started):
    """One `kubectl proxy`, as a context manager. `directory` is private to it."""

    def __init__(self, directory: Path, kubeconfig: Path) -> None:
        """Lease a port; nothing runs yet. Raises `tools.ToolMissing`."""
        directory.mkdir(parents=True, exist_ok=True)
        self._directory = directory
        self._kubeconfig = kubeconfig
        self._program = tools.kubectl()
        self._lease = ports.lease(1)
        [self._port] = self._lease.ports
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it answers. Raises `TimeoutError` with what it has printed."""
        self._process = processes.spawn(
            [self._program, "proxy", f"--address={LOOPBACK}", f"--port={self._port}"],
            env={
                "PATH": os.environ.get("PATH", os.defpath),
                "HOME": str(self._directory),
                "KUBECONFIG": str(self._kubeconfig),
            },
            output=self._directory / "proxy.log",
        )
        deadline = time.monotonic() + _START_SECONDS
        while not self._is_ready():
            if time.monotonic() > deadline:
                raise TimeoutError((self._directory / "proxy.log").read_text())
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Stop it and give the port back. Idempotent."""
        if self._process is not None:
            processes.terminate(self._process, timeout=10)
            self._process = None
        self._lease.release()

    def request(
        self, method: str, path: str, body: object = None, *, content_type: str = ""
    ) -> Answer:
        """Ask, as `Administrator`."""
        connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=30)
        usual = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"Accept": "application/json", "Content-Type": content_type or usual}
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            text = response.read()
        finally:
            connection.close()
        content = json.loads(text) if text.startswith(b"{") else {"message": text.decode()}
        return Answer(response.status, content)

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz").code == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
