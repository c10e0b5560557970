"""A private Kubernetes control plane on loopback: what the cluster tests run against.

It is the real kube-apiserver on a real etcd, with RBAC on, ServiceAccount tokens signed and the
default admission, and, where it is to be had, the real kube-controller-manager with the controllers
that clean up and that give ServiceAccounts. There are no nodes, so no pod ever runs.
`install-apiserver.sh` gets the programs. Calls block: use `asyncio.to_thread` from async code.
"""

import base64
import dataclasses
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import ssl
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from support import ports, processes, requests_seen
from support.authorities import Authority
from support.ports import LOOPBACK
from support.requests_seen import AuditedRequest
from support.started import Started

__all__ = [
    "APIServer",
    "APIServerFailed",
    "APIServerMissing",
    "Answer",
    "Programs",
    "cache",
    "programs",
    "version",
]

_MODULES = Path(__file__).resolve().parent.parent / "cluster" / "go.mod"
_POLL_SECONDS = 0.1
_SHOWN_LINES = 30
_CONTROLLERS = (
    "namespace-controller",
    "garbage-collector-controller",
    "serviceaccount-controller",
    "clusterrole-aggregation-controller",
    "root-ca-certificate-publisher-controller",
)
_DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
# What controllers discover, with a word on whether it is complete.
_DISCOVERY = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
# Its own parts ask all the time, and are not what a test wants to know.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "users": ["system:apiserver", "controllers"]},
        {"level": "None", "nonResourceURLs": ["/readyz*", "/livez*", "/metrics*"]},
        {"level": "Metadata"},
    ],
}


class APIServerMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """There is no kube-apiserver or no etcd to start; the text says which."""


class APIServerFailed(RuntimeError):  # noqa: N818 - as above
    """It did not start, or did not do as it was asked; the text holds its last words."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Programs:
    """What a control plane is made of."""

    apiserver: Path
    etcd: Path
    # Envtest's assets do not have it.
    controllers: Path | None


def version() -> str:
    """Return the version of Kubernetes that the tests run against, `v1.35.4`."""
    match = re.search(r"^require k8s\.io/kubernetes (\S+)$", _MODULES.read_text(), re.MULTILINE)
    assert match is not None
    return match[1]


def cache(name: str) -> Path:
    """Return where something is that is built once for the tests."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "springline" / name


def programs() -> Programs:
    """Return the programs to start. Raises `APIServerMissing`."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    built = cache(f"kubernetes-{version()}")
    etcd = Path(assets, "etcd") if assets else Path(shutil.which("etcd") or "/nowhere/etcd")
    apiserver = Path(assets or built, "kube-apiserver")
    missing = [program.name for program in (apiserver, etcd) if not program.is_file()]
    if missing:
        raise APIServerMissing(f"no {' and no '.join(missing)}: run make apiserver")
    places = [Path(each, "kube-controller-manager") for each in (assets, built) if each]
    controllers = next((place for place in places if place.is_file()), None)
    return Programs(apiserver=apiserver, etcd=etcd, controllers=controllers)


class APIServer(Started):
    """One API server. As a context manager it is started, and closed at the end.

    `directory` holds everything it writes. `options` are for kube-apiserver; they may be changed
    and count from the next start. With `audited`, `audit()` tells who asked what. `controllers`
    clean up beside it, where they are to be had. Its certificate is from `authority`, and whoever
    shows one from there is the user that it names.
    """

    def __init__(
        self,
        directory: Path,
        *,
        audited: bool = False,
        controllers: bool = True,
        authority: Authority | None = None,
        options: Sequence[str] = (),
    ) -> None:
        """Choose ports and prepare the directory. Raises `APIServerMissing`."""
        self._programs = programs()
        if not controllers:
            self._programs = dataclasses.replace(self._programs, controllers=None)
        self.directory = directory
        self.options = list(options)
        self._audited = audited
        self._authority = authority or trustme.CA()
        self._lease = ports.lease(3)
        self.port, self._etcd_port, self._peer_port = self._lease.ports
        self.token = secrets.token_urlsafe(16)
        """Of an administrator."""
        self._controllers_token = secrets.token_urlsafe(16)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._write_files()

    # What it is

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"https://{LOOPBACK}:{self.port}"

    @property
    def certificate(self) -> Path:
        """The authority that its certificate is from."""
        return self.directory / "ca.crt"

    @property
    def pids(self) -> list[int]:
        """The processes that run: etcd, the API server, the controllers."""
        return [each.pid for each in self._running.values()]

    @property
    def has_controllers(self) -> bool:
        """Whether there is a kube-controller-manager, so that deleted namespaces really go."""
        return self._programs.controllers is not None

    def kubeconfig(self, **user: str) -> str:
        """Return the text of a kubeconfig; `user` is `token=…`, or `tokenFile=…`.

        Without a user it is an administrator's.
        """
        cluster = {"server": self.url, "certificate-authority": str(self.certificate)}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "tests", "cluster": cluster}],
            "users": [{"name": "tests", "user": user or {"token": self.token}}],
            "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
            "current-context": "tests",
        }
        return yaml.safe_dump(document, sort_keys=False)

    # Its life

    def start(self, timeout: float = 90.0) -> None:
        """Start what does not run, and wait until the API server is ready. Idempotent.

        It then serves all that is defined in it. Port, keys and data are those of the last time.
        Raises `APIServerFailed`.
        """
        self._spawn("etcd", self._etcd_command)
        self._spawn("apiserver", self._command)
        self.resume()
        deadline = time.monotonic() + timeout
        while not (self._is_ready() and self._serves_what_is_defined()):
            if self._running["apiserver"].poll() is not None or time.monotonic() > deadline:
                raise APIServerFailed(self._last_words())
            time.sleep(_POLL_SECONDS)
        if self._programs.controllers is not None:
            self._spawn("controllers", self._controllers_command)

    def stop(self, timeout: float = 30.0) -> None:
        """Shut the API server down in order, and end the controllers; etcd stays. Idempotent."""
        self.resume()
        if (process := self._running.pop("apiserver", None)) is not None:
            processes.terminate(process, timeout=timeout)
        self._end_controllers()

    def kill(self) -> None:
        """End the API server at once, as a crash does, and the controllers. Idempotent."""
        if (process := self._running.pop("apiserver", None)) is not None:
            process.kill()
            process.wait()
        self._end_controllers()

    def pause(self) -> None:
        """Freeze the API server: nothing answers, though the kernel still accepts connections."""
        processes.freeze(self._running["apiserver"])

    def resume(self) -> None:
        """Let a frozen API server go on. Idempotent."""
        if (process := self._running.get("apiserver")) is not None:
            process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """Stop everything and give the ports back. Idempotent."""
        for name in ("controllers", "apiserver", "etcd"):
            if (process := self._running.pop(name, None)) is not None:
                process.send_signal(signal.SIGCONT)
                processes.terminate(process, timeout=10)
        self._lease.release()

    def compact(self) -> None:
        """Let etcd forget the past: it no longer answers for an old resourceVersion.

        The API server's watch cache still remembers it; see `forget_history`.
        """
        encoded = base64.b64encode(b"springline-tests").decode()
        answer = self._ask_etcd("put", {"key": encoded, "value": encoded})
        # Above what the API server has written, so that every one of its versions is an old one.
        revision = answer["header"]["revision"]
        self._ask_etcd("compaction", {"revision": revision, "physical": True})

    def forget_history(self) -> None:
        """Restart the API server so that it answers 410 Gone for every earlier resourceVersion.

        That is what a client meets that was away for too long.
        """
        self.stop()
        self.compact()
        self.start()

    # Asking

    def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        strict: bool = False,
        accept: str = "application/json",
        content_type: str = "",
        token: str = "",
    ) -> Answer:
        """Ask as an administrator, or as whoever has `token`.

        With `strict`, unknown fields are refused, not pruned. A PATCH is a merge patch unless
        `content_type` says otherwise.
        """
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # its authority may be a plain one
        connection = http.client.HTTPSConnection(LOOPBACK, self.port, context=context, timeout=30)
        usual = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {
            "Accept": accept,
            "Authorization": f"Bearer {token or self.token}",
            "Content-Type": content_type or usual,
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

    def token_for(self, namespace: str, name: str, *, expiration_seconds: int = 3600) -> str:
        """Mint a token of a ServiceAccount; the API's shortest lifetime is 600 seconds."""
        answer = self.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token",
            {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenRequest",
                "spec": {"expirationSeconds": expiration_seconds},
            },
        )
        if answer.code != http.client.CREATED:
            raise APIServerFailed(f"no token for {namespace}/{name}: {answer.message}")
        return str(answer.content["status"]["token"])

    def requests(
        self, resource: str, *, verb: str | None = None, subresource: str | None = None
    ) -> int:
        """Count the requests for a resource since the API server's last start, by whomever.

        Verbs are the metrics': `LIST`, `GET`, `WATCH`, `PATCH`, `APPLY`, … A watch counts when it
        ends. Without a `subresource` all count, with an empty one the resource itself.
        """
        text = self.request("GET", "/metrics").message
        return requests_seen.counted(text, resource, verb=verb, subresource=subresource)

    def audit(self) -> list[AuditedRequest]:
        """Return every request but those of the control plane's own parts, oldest first.

        A watch is there from its beginning. What was asked a moment ago may still be missing.
        """
        if not self._audited:
            raise APIServerFailed("this API server was not made with audited=True")
        path = self.directory / "audit.log"
        return requests_seen.audited(path.read_text() if path.exists() else "")

    # Making it

    def _spawn(self, name: str, command: Callable[[], list[str | Path]]) -> None:
        process = self._running.get(name)
        if process is not None and process.poll() is None:
            return
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.directory)}
        output = self.directory / f"{name}.log"
        self._running[name] = processes.spawn(command(), env=environment, output=output)

    def _is_ready(self) -> bool:
        try:
            return self.request("GET", "/readyz").code == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def _serves_what_is_defined(self) -> bool:
        """Whether discovery has every CustomResourceDefinition.

        For a moment after a start it may have none. A namespace that is deleted then goes without
        the objects that are not discovered: they stay for ever, in a namespace that is gone.
        """
        try:
            defined = self.request("GET", _DEFINITIONS).content["items"]
            discovered = self.request("GET", "/apis", accept=_DISCOVERY).content["items"]
        except (OSError, http.client.HTTPException, KeyError):
            return False
        wanted = {
            (each["spec"]["group"], version["name"], each["spec"]["names"]["plural"])
            for each in defined
            if _is_established(each)
            for version in each["spec"]["versions"]
            if version["served"]
        }
        served = {
            (group["metadata"]["name"], version["version"], resource["resource"])
            for group in discovered
            for version in group["versions"]
            if version["freshness"] == "Current"
            for resource in version["resources"]
        }
        return wanted <= served

    def _end_controllers(self) -> None:
        """End them: they start again when the API server serves everything, see above.

        Left alone, they would also take up to a minute to ask it again after a long outage.
        """
        if (process := self._running.pop("controllers", None)) is not None:
            process.kill()
            process.wait()

    def _ask_etcd(self, call: str, body: object) -> dict[str, Any]:
        """Ask etcd by its JSON gateway, because etcdctl is not everywhere."""
        path = {"put": "/v3/kv/put", "compaction": "/v3/kv/compaction"}[call]
        connection = http.client.HTTPConnection(LOOPBACK, self._etcd_port, timeout=30)
        try:
            connection.request("POST", path, json.dumps(body))
            response = connection.getresponse()
            content: dict[str, Any] = json.loads(response.read())
        finally:
            connection.close()
        if response.status != http.client.OK:
            raise APIServerFailed(f"etcd refused {call}: {content}")
        return content

    def _write_files(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        server = self._authority.issue_cert("localhost", LOOPBACK)
        self._authority.cert_pem.write_to_path(str(self.certificate))
        server.cert_chain_pems[0].write_to_path(str(self.directory / "apiserver.crt"))
        server.private_key_pem.write_to_path(str(self.directory / "apiserver.key"))
        pem = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.TraditionalOpenSSL,
            serialization.NoEncryption(),
        )
        texts = {
            "service-accounts.key": pem.decode(),
            "tokens.csv": (
                f"{self.token},admin,admin,system:masters\n"
                f"{self._controllers_token},controllers,controllers,system:masters\n"
            ),
            "controllers.kubeconfig": self.kubeconfig(token=self._controllers_token),
            "audit-policy.yaml": yaml.safe_dump(_AUDIT_POLICY),
        }
        for name, text in texts.items():
            (self.directory / name).write_text(text)

    def _etcd_command(self) -> list[str | Path]:
        client, peer = (f"http://{LOOPBACK}:{port}" for port in (self._etcd_port, self._peer_port))
        return [
            self._programs.etcd,
            f"--data-dir={self.directory / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
        ]

    def _command(self) -> list[str | Path]:
        key = self.directory / "service-accounts.key"
        command: list[str | Path] = [
            self._programs.apiserver,
            f"--etcd-servers=http://{LOOPBACK}:{self._etcd_port}",
            f"--bind-address={LOOPBACK}",
            f"--advertise-address={LOOPBACK}",
            f"--secure-port={self.port}",
            f"--tls-cert-file={self.directory / 'apiserver.crt'}",
            f"--tls-private-key-file={self.directory / 'apiserver.key'}",
            "--authorization-mode=RBAC",
            f"--client-ca-file={self.certificate}",
            f"--token-auth-file={self.directory / 'tokens.csv'}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none",  # a loopback address is no endpoint
            # Otherwise open watches keep it from ending.
            "--shutdown-watch-termination-grace-period=1s",
        ]
        if self._audited:
            command += [
                f"--audit-policy-file={self.directory / 'audit-policy.yaml'}",
                f"--audit-log-path={self.directory / 'audit.log'}",
            ]
        return [*command, *self.options]

    def _controllers_command(self) -> list[str | Path]:
        assert self._programs.controllers is not None
        return [
            self._programs.controllers,
            f"--controllers={','.join(_CONTROLLERS)}",
            f"--kubeconfig={self.directory / 'controllers.kubeconfig'}",
            f"--root-ca-file={self.certificate}",
            "--leader-elect=false",
            "--secure-port=0",  # it serves nothing
            # By default it asks so seldom that collecting garbage takes half a minute.
            "--kube-api-qps=200",
            "--kube-api-burst=400",
        ]

    def _last_words(self) -> str:
        words = []
        for name in ("etcd", "apiserver"):
            lines = (self.directory / f"{name}.log").read_text(errors="replace").splitlines()
            words += [f"--- {name}", *lines[-_SHOWN_LINES:]]
        return "\n".join(words)


def _is_established(definition: dict[str, Any]) -> bool:
    conditions = definition.get("status", {}).get("conditions", ())
    return any((each["type"], each["status"]) == ("Established", "True") for each in conditions)
