"""The operator as a process, run as the chart would have a pod run it.

The Deployment is read back from the API server, and its container's arguments and environment are
what the process gets; it logs in with a bound token of the Deployment's ServiceAccount, so what the
chart's roles do not allow fails the tests. Changed is only what a process beside others needs: it
listens on a loopback port, connects to brokers there, and logs at the most talkative level.
Everything it writes goes to one file, which is searched for secrets at the end. It installs
nothing: see `helm`.
"""

import contextlib
import http.client
import re
import secrets
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import ports, processes, springline_process
from support.apiserver import APIServer
from support.operators import Page
from support.ports import LOOPBACK
from support.springline_process import searched
from support.waiting import PATIENCE, eventually

if TYPE_CHECKING:
    import subprocess

__all__ = ["OperatorProcess"]

DEADLINE = 2 * PATIENCE
_EXPANSION = re.compile(r"\$\$|\$\((\w+)\)")


class OperatorProcess:
    """One operator, of the Deployment `deployment` in `namespace`.

    `secrets` must not show in what it writes. `program` stands in for `python -m springline`.
    """

    def __init__(
        self,
        directory: Path,
        server: APIServer,
        *secrets: str,
        namespace: str = "springline-system",
        deployment: str = "springline",
        program: tuple[str, ...] = (sys.executable, "-m", "springline"),
        kubeconfig: Callable[..., str] | None = None,
        with_loopback: bool = True,
        service_host: str = "",
    ) -> None:
        """Prepare the directory and lease a port; nothing runs yet.

        `kubeconfig`, in place of the server's own, leads to the API server by another way.
        `with_loopback` lets it connect to brokers on this machine. `service_host` is what it is
        told to be the address of the Service `kubernetes`, as every pod is.
        """
        directory.mkdir(parents=True, exist_ok=True)
        self.namespace = namespace
        self.deployment = deployment
        self._server = server
        self._secrets = secrets
        self._with_loopback = with_loopback
        self._service_host = service_host
        self._program = program
        self._kubeconfig_text = kubeconfig or server.kubeconfig
        self._kubeconfig = directory / "kubeconfig"
        self._token_file = directory / "token"
        self._output = directory / "output.log"
        self._lease = ports.lease(1)
        [self.port] = self._lease.ports
        self._process: subprocess.Popen[bytes] | None = None
        self._tokens: list[str] = []
        self.pod_name = ""
        """Of the last start: every pod has a name of its own."""

    # --- its life

    @property
    def running(self) -> bool:
        """Whether the process exists, frozen or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def holder(self) -> str:
        """What status calls it, as of the last start."""
        return f"{self.namespace}/{self.pod_name}"

    @property
    def pid(self) -> int:
        """The process' id, as of the last start."""
        assert self._process is not None
        return self._process.pid

    def start(self, *options: str, token_seconds: int = 3600) -> None:
        """Start it as the Deployment says now, with a fresh token. Idempotent.

        That it has ended by itself fails the test.
        """
        if self._process is not None:
            assert self.running, f"it has ended by itself\n{self.output}"
            self.resume()
            return
        pod = self._pod()
        self.pod_name = f"{self.deployment}-{secrets.token_hex(4)}"
        self._kubeconfig.write_text(self._kubeconfig_text(tokenFile=str(self._token_file)))
        self.renew_token(token_seconds)
        [container] = pod["containers"]
        given = self._environment(container)
        arguments = [_expanded(each, given) for each in container.get("args", ())]
        # Tests have no time to lose; what limits them is tested by itself.
        quick = ["--least-retry-delay", "0", "--least-renewal-interval", "0"]
        overriding = ["--listen", f"{LOOPBACK}:{self.port}", "--log-level", "debug", *quick]
        if self._with_loopback:
            overriding += springline_process.ALLOW_LOOPBACK
        environment = {**springline_process.environment(), **given}
        for name in ("KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"):
            environment.pop(name, None)
        if self._service_host:
            environment["KUBERNETES_SERVICE_HOST"] = self._service_host
        self._process = processes.spawn(
            [*self._program, *arguments, *overriding, *options],
            env={**environment, "KUBECONFIG": str(self._kubeconfig)},
            output=self._output,
        )

    def stop(self, timeout: float = DEADLINE) -> None:
        """Ask it to stop, as the kubelet does, and wait for its end. Idempotent.

        That it takes longer than `timeout` seconds, or says that it failed, fails the test.
        """
        if self._process is None:
            return
        self.resume()
        self._process.terminate()
        code = self._process.wait(timeout)
        self._process = None
        assert code == 0, f"it ended with {code}\n{self.output}"

    def kill(self) -> None:
        """End it at once. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self) -> None:
        """Freeze it."""
        if self._process is not None and self.running:
            processes.freeze(self._process)

    def resume(self) -> None:
        """Let it go on when it was frozen. Idempotent."""
        self._send(signal.SIGCONT)

    def restart(self) -> None:
        """Stop it and start it as the Deployment says now."""
        self.stop()
        self.start()

    def close(self) -> None:
        """End it if it has not ended, and search everything that it wrote. Idempotent."""
        self.kill()
        self._lease.release()
        searched(self.output, *self._secrets, *self._tokens)

    def plant(self, *secrets: str) -> None:
        """Name more secrets that must not show."""
        self._secrets += secrets

    # --- its ServiceAccount

    def renew_token(self, expiration_seconds: int = 3600) -> None:
        """Put a new token in place of the old one, as the kubelet does while a pod runs."""
        account = self._pod()["serviceAccountName"]
        token = self._server.token_for(
            self.namespace, account, expiration_seconds=expiration_seconds
        )
        self.replace_token(token)

    @property
    def token(self) -> str:
        """What was put in place last."""
        return self._tokens[-1]

    def replace_token(self, token: str) -> None:
        """Put any text in place of the token: one that is of no use, for a test."""
        self._tokens.append(token)
        temporary = self._token_file.with_suffix(".new")
        temporary.write_text(token)
        temporary.replace(self._token_file)

    # --- what it says

    @property
    def output(self) -> str:
        """Everything written so far, both streams and all starts together."""
        if not self._output.exists():
            return ""
        return self._output.read_text(encoding="utf-8", errors="replace")

    def get(self, path: str) -> Page:
        """Ask its HTTP server. Raises `OSError` where nobody answers."""
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=10)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return Page(response.status, response.read().decode())
        except http.client.HTTPException as error:
            raise ConnectionError(f"{path}: {error!r}") from error
        finally:
            connection.close()

    async def until_ready(self) -> None:
        """Wait until the Deployment's readiness probe succeeds."""
        [container] = self._pod()["containers"]
        path = container["readinessProbe"]["httpGet"]["path"]

        def is_ready() -> bool:
            with contextlib.suppress(OSError):
                return self.get(path).code == http.client.OK
            return False

        await self.eventually(is_ready, "it is ready")

    async def until_said(self, text: str) -> None:
        """Wait until it has logged something."""
        await self.eventually(lambda: text in self.output, f"it says {text!r}")

    async def eventually(self, predicate: Any, what: str, *, timeout: float = DEADLINE) -> None:
        """Wait for a condition; the process must not end meanwhile."""

        def checked() -> object:
            value = predicate()
            assert value or self.running, "it has ended"
            return value

        try:
            await eventually(checked, timeout=timeout, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None

    # --- what the chart says

    def _pod(self) -> dict[str, Any]:
        path = f"/apis/apps/v1/namespaces/{self.namespace}/deployments/{self.deployment}"
        answer = self._server.request("GET", path)
        assert answer.code == http.client.OK, answer.message
        pod: dict[str, Any] = answer.content["spec"]["template"]["spec"]
        return pod

    def _environment(self, container: Mapping[str, Any]) -> dict[str, str]:
        assert not container.get("envFrom"), "envFrom is not understood here"
        fields = {
            "metadata.name": self.pod_name,
            "metadata.namespace": self.namespace,
            "spec.serviceAccountName": self._pod()["serviceAccountName"],
            "spec.nodeName": "node-1",
            "status.podIP": LOOPBACK,
        }
        found: dict[str, str] = {}
        for each in container.get("env", ()):
            match each:
                case {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}:
                    found[name] = fields[path]
                case {"name": name, "valueFrom": other}:
                    raise AssertionError(f"{name}: {other} is not understood here")
                case {"name": name}:
                    found[name] = _expanded(each.get("value", ""), found)
        return found

    def _send(self, number: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(number)


def _expanded(text: str, environment: Mapping[str, str]) -> str:
    """Put variables in, as the kubelet does; what is unknown stays as it is."""

    def value(match: re.Match[str]) -> str:
        return "$" if match[1] is None else environment.get(match[1], match[0])

    return _EXPANSION.sub(value, text)
