"""Springline and RabbitMQ as pods of an existing cluster, such as kind's, reached by kubectl alone.

The counterparts of `operator_process` and `rabbitmq`, so that the same tests run there. Calls
block: use `asyncio.to_thread` from async code.
"""

import dataclasses
import itertools
import json
import os
from pathlib import Path
from typing import Any

from support.administration import Administration
from support.erlang import ErlangError, ErlangNode
from support.kubectl import Kubectl, KubectlFailed
from support.operators import Page
from support.springline_process import searched
from support.waiting import eventually

__all__ = ["OperatorPod", "RabbitMQPod"]

_DEADLINE = 120.0
# The expression comes by standard input. $1 is a name that no other caller has.
_EVALUATE = """
if command -v erl_call >/dev/null; then
    exec erl_call -h "$1" -sname "rabbit@$(hostname)" -e
fi
exec rabbitmqctl --quiet eval "$(cat)"
"""

_calls = itertools.count(1)


class OperatorPod:
    """The operator in the pod of a Deployment that the chart has installed."""

    def __init__(
        self,
        kubectl: Kubectl,
        *secrets: str,
        namespace: str = "springline-system",
        deployment: str = "springline",
    ) -> None:
        self.namespace = namespace
        self.deployment = deployment
        self._kubectl = kubectl
        self._secrets = secrets

    @property
    def output(self) -> str:
        """What the pod has logged since it was started; empty without a pod."""
        names = [pod["metadata"]["name"] for pod in self._pods()]
        return "".join(self._run("logs", name, "--tail=-1") for name in names)

    def get(self, path: str) -> Page:
        """Ask its HTTP server by way of the API server. Only success is an answer here."""
        [pod] = self._pods()
        [container] = pod["spec"]["containers"]
        port = container["ports"][0]["containerPort"]
        where = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}:{port}/proxy"
        try:
            return Page(200, self._kubectl.run("get", "--raw", f"{where}{path}"))
        except KubectlFailed as error:
            raise ConnectionError(str(error)) from error

    def start(self) -> None:
        """Have one pod, and wait until it is ready. Idempotent."""
        self._scale(1)
        limit = f"--timeout={_DEADLINE:g}s"
        self._run("rollout", "status", f"deployment/{self.deployment}", limit, timeout=_DEADLINE)

    def stop(self) -> None:
        """Have no pod, and wait until it is gone. Idempotent."""
        self._scale(0)
        options = ["--for=delete", f"--selector={self._selector()}", f"--timeout={_DEADLINE:g}s"]
        self._run("wait", "pods", *options, timeout=_DEADLINE)

    def kill(self) -> None:
        """Delete the pod without its grace period; the Deployment makes another."""
        options = ["--grace-period=0", "--force", f"--selector={self._selector()}"]
        self._run("delete", "pods", *options)

    def plant(self, *secrets: str) -> None:
        """Name more secrets that must not show."""
        self._secrets += secrets

    def close(self) -> None:
        """Search what it has logged; it goes on."""
        searched(self.output, *self._secrets)

    async def until_ready(self) -> None:
        """Wait until its pod is ready."""
        limit = f"--timeout={_DEADLINE:g}s"
        self._run("rollout", "status", f"deployment/{self.deployment}", limit, timeout=_DEADLINE)

    async def until_said(self, text: str) -> None:
        """Wait until it has logged something."""
        await eventually(lambda: text in self.output, timeout=_DEADLINE, what=f"says {text!r}")

    def _scale(self, replicas: int) -> None:
        self._run("scale", f"deployment/{self.deployment}", f"--replicas={replicas}")

    def _selector(self) -> str:
        found = self._kubectl.get_json("deployment", self.deployment, namespace=self.namespace)
        labels = found["spec"]["selector"]["matchLabels"]
        return ",".join(f"{key}={value}" for key, value in labels.items())

    def _pods(self) -> list[dict[str, Any]]:
        text = self._run("get", "pods", f"--selector={self._selector()}", "--output=json")
        return list(json.loads(text)["items"])

    def _run(self, *args: str, timeout: float = 30.0) -> str:
        return self._kubectl.run(*args, f"--namespace={self.namespace}", timeout=timeout + 30)


class RabbitMQPod(Administration):
    """RabbitMQ in the pod of a Deployment."""

    def __init__(self, kubectl: Kubectl, *, namespace: str, deployment: str) -> None:
        self._node = _NodeInPod(
            name=deployment,
            env={},
            rabbitmqctl=Path("rabbitmqctl"),
            kubectl=kubectl,
            namespace=namespace,
        )

    def eval(self, expression: str) -> str:
        """Evaluate an Erlang expression in the broker and return its value as Erlang prints it."""
        return self._node.eval(expression)

    def eval_json(self, expression: str) -> object:
        """Evaluate an Erlang expression in the broker and return its value by way of JSON."""
        return self._node.eval_json(expression)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _NodeInPod(ErlangNode):
    """The same answers by another way."""

    kubectl: Kubectl
    namespace: str

    def _run(self, script: str, *, timeout: float) -> str:
        pod = [f"--namespace={self.namespace}", f"deployment/{self.name}"]
        # The shell is in the pod. See `erlang` for why erl_call comes first.
        asked = ["sh", "-c", _EVALUATE, "sh", f"caller-{os.getpid()}-{next(_calls)}"]
        try:
            return self.kubectl.run(
                "exec", "--stdin", *pod, "--", *asked, given=script, timeout=timeout
            )
        except KubectlFailed as error:
            raise ErlangError(str(error)) from error
