"""The page for newcomers, command by command as it is written."""

import asyncio
import contextlib
import json
import os
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import tools
from support.apiserver import APIServer
from support.kubectl import Kubectl
from support.markdown import Page
from support.operator_process import OperatorProcess
from support.ports import LOOPBACK
from support.rabbitmq import ErlangError, RabbitMQNode
from support.tools import ToolMissing

ROOT = Path(__file__).parents[2]
PAGE = Page(ROOT / "docs" / "tutorial.md")
IN_POD = "kubectl exec -n messaging deployment/rabbitmq -- "
# What nobody can foresee: ages, versions, addresses.
TOLD = ("NAME", "READY", "BLOCKED", "STATE", "CONNECTIONS")


class Nodes:
    """What the nodes of a cluster do with the tutorial's two Deployments, by other means.

    The API server is real and has no nodes: the operator is a process that its Deployment
    describes, and RabbitMQ a node of this machine.
    """

    def __init__(self, operator: OperatorProcess, rabbitmq: RabbitMQNode, kubectl: Kubectl) -> None:
        self.operator = operator
        self.rabbitmq = rabbitmq
        self._kubectl = kubectl

    async def bring_up(self, namespace: str, deployment: str) -> None:
        """Run it, and say so in its status."""
        if deployment == "springline":
            await asyncio.to_thread(self.operator.start)
            await self.operator.until_ready()
        found = self._kubectl.get_json("deployment", deployment, namespace=namespace)
        count = {"replicas": 1, "updatedReplicas": 1, "readyReplicas": 1, "availableReplicas": 1}
        status = {"observedGeneration": found["metadata"]["generation"], **count}
        patch = [
            "--subresource=status",
            "--type=merge",
            f"--patch={json.dumps({'status': status})}",
        ]
        self._kubectl.run("patch", "deployment", deployment, f"--namespace={namespace}", *patch)


@pytest.fixture
async def nodes(
    disposable_apiserver: APIServer, rabbitmq: RabbitMQNode, tmp_path: Path
) -> AsyncIterator[Nodes]:
    """An empty cluster, and a broker without the tutorial's user."""
    if not disposable_apiserver.has_controllers:
        pytest.skip("there is no kube-controller-manager: run make apiserver")
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(disposable_apiserver.kubeconfig())
    try:
        tools.helm4()
        kubectl = Kubectl(tmp_path / "kubectl", kubeconfig)
    except ToolMissing as error:
        pytest.skip(str(error))
    secrets = ("change-me", "a-typo", "the-new-one")
    operator = OperatorProcess(tmp_path / "operator", disposable_apiserver, *secrets)
    yield Nodes(operator, rabbitmq, kubectl)
    operator.close()
    await asyncio.to_thread(rabbitmq.clear_alarm, "memory")
    with contextlib.suppress(ErlangError):  # where the page was not followed so far
        await asyncio.to_thread(rabbitmq.delete_user, "orders")


async def test_every_command_of_the_tutorial_does_what_it_says(
    nodes: Nodes, tmp_path: Path
) -> None:
    """From nothing to a rotated password, and nothing left.

    The page is followed to the letter, but for the address of the broker, who gets there by
    `kubectl exec`, and the nodes that a cluster has.
    """
    for block in PAGE.blocks:
        if block.language == "yaml":
            name = block.text.splitlines()[0].removeprefix("# ")
            text = block.text.replace("host: rabbitmq.messaging.svc", f"host: {LOOPBACK}")
            if name == "broker.yaml":
                text = text.replace("port: 5672", f"port: {nodes.rabbitmq.amqp_port}")
            (tmp_path / name).write_text(text, encoding="utf-8")
    assert len(PAGE.commands) > 30
    for block in PAGE.blocks:
        if block.language == "console":
            for command, expected in steps(block.text):
                shown = await follow(command, nodes, tmp_path)
                assert not expected or told(shown) == told(expected), f"{command}\n{shown}"
    assert not nodes.operator.running


def steps(console: str) -> list[tuple[str, str]]:
    """Each command of a block, with what the page shows of its output."""
    commands = console.removeprefix("$ ").split("\n$ ")
    return [(first, rest) for first, _, rest in (each.partition("\n") for each in commands)]


async def follow(command: str, nodes: Nodes, directory: Path) -> str:
    """Do what a command says, and return what it shows."""
    if command.startswith(IN_POD):
        words = command.removeprefix(f"{IN_POD}rabbitmqctl ").replace("'", "").split()
        return await asyncio.to_thread(nodes.rabbitmq.ctl, *words)
    words = command.split()
    if "rollout" in words:
        [deployment] = [word for word in words if word.startswith("deployment/")]
        namespace = words[words.index("-n" if "-n" in words else "--namespace") + 1]
        await nodes.bring_up(namespace, deployment.removeprefix("deployment/"))
    done = await asyncio.to_thread(_run, command, directory)
    assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{nodes.operator.output}"
    if "scale" in words:
        await asyncio.to_thread(nodes.operator.stop)
    return done.stdout


def told(output: str) -> object:
    """What can be foreseen of an output: the columns that are the same every time, or the text."""
    lines = output.splitlines()
    if not lines or not lines[0].startswith("NAME "):
        return output.strip()
    starts = {title: lines[0].index(title) for title in lines[0].split()}
    return lines[0].split(), [
        {title: line[starts[title] :].split()[0] for title in TOLD if title in starts}
        for line in lines[1:]
    ]


def _run(command: str, directory: Path) -> subprocess.CompletedProcess[str]:
    """Run it as a reader's shell does, in the root of the repository."""
    found = [str(tools.kubectl().parent), str(tools.helm4().parent)]
    path = os.pathsep.join([*found, os.environ.get("PATH", os.defpath)])
    return subprocess.run(
        ["sh", "-c", command.replace("-f ", f"-f {directory}/")],
        cwd=ROOT,
        env={"PATH": path, "HOME": str(directory), "KUBECONFIG": str(directory / "kubeconfig")},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
