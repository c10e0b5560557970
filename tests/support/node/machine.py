"""The node as a whole, from inside of its namespaces: started in order, ready when pods can run."""

import os
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from support import processes, tools
from support.node import isolation, names
from support.node.certificates import Authority
from support.node.controlplane import ControlPlane
from support.node.isolation import ADDRESS, NAME
from support.node.programs import Programs
from support.node.worker import Worker
from support.started import Started

__all__ = ["Machine", "NodeFailed"]

_START_SECONDS = 180.0
_POLL_SECONDS = 0.2
_SHOWN_LINES = 30
_API_PORT = 6443


class NodeFailed(RuntimeError):  # noqa: N818 - it says what became of a machine
    """The node did not start; the text holds the last words of what failed."""


class Machine(Started):
    """The node. `directory` holds everything that it writes, and is short: sockets are below it."""

    def __init__(
        self, directory: Path, *, cgroup: str, images: Sequence[Path], identified: bool
    ) -> None:
        """Prepare everything but the processes. Raises `NodeMissing`.

        `images` are archives of what pods run. `identified` gives the authority key identifiers.
        """
        self._programs = Programs.find()
        self._images = images
        self.directory = directory
        isolation.prepare(directory)
        certificates = directory / "certificates"
        certificates.mkdir()
        authority = Authority(certificates, identified=identified)
        self._plane = ControlPlane(self._programs, certificates, authority)
        self._plane.write_files()
        self._worker = Worker(self._programs, directory, self._plane, cgroup)
        self._worker.write_files()
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def kubeconfig(self) -> Path:
        """An administrator's."""
        return self._plane.kubeconfig("admin")

    def start(self) -> None:
        """Start everything, and return when pods can run. Raises `NodeFailed`."""
        self._spawn("etcd", self._plane.etcd())
        self._spawn("containerd", self._worker.containerd())
        with ThreadPoolExecutor(max_workers=1) as importing:
            # Unpacking takes as long as the control plane takes to start.
            imported = importing.submit(self._import)
            self._spawn("apiserver", self._plane.apiserver())
            self._until(
                lambda: self._asked("get", "--raw=/readyz") == "ok", "the API server is ready"
            )
            self._spawn("controllers", self._plane.controllers())
            self._spawn("scheduler", self._plane.scheduler())
            names.serve(
                ADDRESS,
                port=_API_PORT,
                authority=self._plane.authority.certificate,
                token=self._plane.tokens["names"],
            )
            imported.result()
        self._spawn("kubelet", self._worker.kubelet())
        self._spawn("proxy", self._worker.proxy())
        ready = "--output=jsonpath={.status.conditions[?(@.type=='Ready')].status}"
        self._until(lambda: self._asked("get", "node", NAME, ready) == "True", "the node is ready")
        self._until(
            lambda: "default" in self._asked("get", "serviceaccounts", "--output=name"),
            "pods have a ServiceAccount",
        )

    def close(self) -> None:
        """End everything but the pods, which end with the namespaces. Idempotent."""
        # Nothing that they would put in order outlives them.
        for process in self._running.values():
            process.kill()
        for process in self._running.values():
            process.wait()
        self._running.clear()

    def _spawn(self, name: str, command: Sequence[str | Path]) -> None:
        path = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
        environment = {"PATH": path, "HOME": str(self.directory)}
        self._running[name] = processes.spawn(
            command, env=environment, output=self.directory / f"{name}.log"
        )

    def _import(self) -> None:
        self._until(lambda: self._ran(self._worker.ctr("version")), "containerd answers")
        for image in self._images:
            command = self._worker.ctr("images", "import", image)
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                raise NodeFailed(f"{image.name} cannot be imported: {done.stderr.strip()}")

    def _ran(self, command: Sequence[str | Path]) -> bool:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    def _asked(self, *args: str) -> str:
        """Return what kubectl prints, empty where it fails."""
        done = subprocess.run(
            [tools.kubectl(), f"--kubeconfig={self.kubeconfig}", *args],
            env={"PATH": os.defpath, "HOME": str(self.directory)},
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        return done.stdout.strip()

    def _until(self, is_so: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _START_SECONDS
        while not is_so():
            ended = [name for name, process in self._running.items() if process.poll() is not None]
            if ended or time.monotonic() > deadline:
                raise NodeFailed(f"not so: {what}\n{self._last_words(ended or self._running)}")
            time.sleep(_POLL_SECONDS)

    def _last_words(self, of: Sequence[str] | dict[str, subprocess.Popen[bytes]]) -> str:
        words = []
        for name in of:
            lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
            words += [f"--- {name}", *lines[-_SHOWN_LINES:]]
        return "\n".join(words)
