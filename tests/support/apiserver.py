"""A private Kubernetes API server with its etcd, on loopback: what the cluster tests run against.

It is the real kube-apiserver with RBAC on and ServiceAccount tokens signed; there are no nodes and
no controllers. `install-apiserver.sh` gets the programs. Calls block: use `asyncio.to_thread` from
async code.
"""

import http.client
import json
import os
import re
import secrets
import shutil
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support import ports, processes
from support.ports import LOOPBACK

if TYPE_CHECKING:
    import subprocess

__all__ = ["APIServer", "APIServerFailed", "APIServerMissing", "Answer"]

_MODULES = Path(__file__).resolve().parent.parent / "cluster" / "go.mod"
_POLL_SECONDS = 0.1
_SHOWN_LINES = 30


class APIServerMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """There is no kube-apiserver or no etcd to start; the text says which."""


class APIServerFailed(RuntimeError):  # noqa: N818 - as above
    """It did not start; the text holds its last words."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the API server answered: its status code, the object, and its warnings."""

    code: int
    content: dict[str, Any]
    warnings: tuple[str, ...] = ()

    @property
    def message(self) -> str:
        """Why it refused, in its own words."""
        return str(self.content.get("message", ""))


def _programs() -> tuple[Path, Path]:
    """Return kube-apiserver and etcd. Raises `APIServerMissing`."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        found = Path(assets, "kube-apiserver"), Path(assets, "etcd")
    else:
        match = re.search(r"^require k8s\.io/kubernetes (\S+)$", _MODULES.read_text(), re.MULTILINE)
        assert match is not None
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        etcd = shutil.which("etcd")
        found = (
            cache / "springline" / f"kube-apiserver-{match[1]}" / "kube-apiserver",
            Path(etcd or "/nowhere/etcd"),
        )
    missing = [program.name for program in found if not program.is_file()]
    if missing:
        raise APIServerMissing(f"no {' and no '.join(missing)}: run make apiserver")
    return found


class APIServer:
    """One API server. As a context manager it is started, and stopped at the end."""

    def __init__(self, directory: Path) -> None:
        """Choose ports and prepare the directory. Raises `APIServerMissing`."""
        self._apiserver, self._etcd = _programs()
        self.directory = directory
        self._lease = ports.lease(3)
        self.port, self._etcd_port, self._peer_port = self._lease.ports
        self.token = secrets.token_urlsafe(16)
        """Of an administrator."""
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def certificate(self) -> Path:
        """The server's own certificate, which is its authority, too."""
        return self.directory / "certificates" / "apiserver.crt"

    def start(self, timeout: float = 90.0) -> None:
        """Start both and wait until the API server is ready. Raises `APIServerFailed`."""
        self._write_keys()
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
        for name, command in (("etcd", self._etcd_command()), ("apiserver", self._command())):
            output = self.directory / f"{name}.log"
            self._running.append(processes.spawn(command, env=environment, output=output))
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            if self._running[-1].poll() is not None or time.monotonic() > deadline:
                raise APIServerFailed(self._last_words())
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Stop both and give the ports back. Idempotent."""
        while self._running:
            processes.terminate(self._running.pop(), timeout=10)
        self._lease.release()

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        strict: bool = False,
        accept: str = "application/json",
    ) -> Answer:
        """Ask as an administrator. With `strict`, unknown fields are refused, not pruned."""
        context = ssl.create_default_context(cafile=str(self.certificate))
        connection = http.client.HTTPSConnection(LOOPBACK, self.port, context=context, timeout=30)
        patch = method == "PATCH"
        headers = {
            "Accept": accept,
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/merge-patch+json" if patch else "application/json",
        }
        if strict:
            path += "?fieldValidation=Strict"
        try:
            connection.request(method, path, json.dumps(body) if body else None, headers)
            response = connection.getresponse()
            text = response.read()
            warnings = tuple(response.headers.get_all("Warning") or ())
        finally:
            connection.close()
        content = json.loads(text) if text.startswith(b"{") else {"message": text.decode()}
        return Answer(response.status, content, warnings)

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz").code == http.client.OK
        except OSError:
            return False

    def _write_keys(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        (self.directory / "service-accounts.key").write_bytes(pem)
        line = f"{self.token},admin,admin,system:masters\n"
        (self.directory / "tokens.csv").write_text(line)

    def _etcd_command(self) -> list[str | Path]:
        client, peer = (f"http://{LOOPBACK}:{port}" for port in (self._etcd_port, self._peer_port))
        return [
            self._etcd,
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _command(self) -> list[str | Path]:
        key = self.directory / "service-accounts.key"
        return [
            self._apiserver,
            f"--etcd-servers=http://{LOOPBACK}:{self._etcd_port}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self.port}",
            f"--cert-dir={self.directory / 'certificates'}",
            "--authorization-mode=RBAC",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",  # a loopback address is no endpoint
        ]

    def _last_words(self) -> str:
        words = []
        for name in ("etcd", "apiserver"):
            lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
            words += [f"--- {name}", *lines[-_SHOWN_LINES:]]
        return "\n".join(words)
