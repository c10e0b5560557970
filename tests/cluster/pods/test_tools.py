"""What people use on a running pod: its log, a forwarded port, the plugin."""

import asyncio
import json
import urllib.request
from pathlib import Path

import pytest

from support.kubectl import Kubectl
from support.plugin import Plugin
from support.pods import Pods
from support.port_forward import forwarded
from support.ports import LOOPBACK
from support.team import Team

pytestmark = pytest.mark.kind

PLANTED = "pl4nted-s3cret"


async def test_the_log_is_json_and_tells_of_the_connection(
    team: Team, pods: Pods, kubectl: Kubectl
) -> None:
    """One object a line, from the first line to the last."""
    await team.declare("orders")
    await team.until_ready("orders")
    text = kubectl.run("logs", f"--namespace={pods.namespace}", "deployment/springline")
    lines = [json.loads(line) for line in text.splitlines()]
    session = f"{team.namespace}/orders"
    assert any(session in str(line) and "connected" in line["message"] for line in lines)


async def test_metrics_are_seen_through_a_forwarded_port(
    team: Team, pods: Pods, kubectl: Kubectl, tmp_path: Path
) -> None:
    """`kubectl port-forward` to the Deployment, as the documentation has it."""
    await team.declare("orders")
    await team.until_ready("orders")
    async with forwarded(kubectl, tmp_path, namespace=pods.namespace) as port:
        text = await asyncio.to_thread(_metrics, port)
    assert f'springline_session_ready{{namespace="{team.namespace}",name="orders"}} 1' in text


def _metrics(port: int) -> str:
    with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=5) as answer:
        return str(answer.read().decode())


async def test_the_plugin_finds_the_pod_that_holds_a_connection(
    team: Team, pods: Pods, kubectl: Kubectl, tmp_path: Path
) -> None:
    """It names the pod, checks from inside of it, and has a session opened again."""
    plugin = Plugin(tmp_path / "plugin", kubectl.kubeconfig, PLANTED)
    await team.declare("orders")
    await team.until_ready("orders")
    held = await team.until_held("orders")
    done = await asyncio.to_thread(plugin.run, "status", "orders", "-n", team.namespace)
    assert done.code == 0, done.err
    assert done.line("Ready:").startswith("yes")
    assert pods.name() in done.out
    done = await asyncio.to_thread(plugin.run, "reconnect", "orders", "-n", team.namespace)
    assert done.code == 0, done.err
    await team.until_held("orders", other_than=held)


async def test_a_report_has_the_log_and_the_metrics_of_the_pod(
    team: Team, pods: Pods, kubectl: Kubectl, tmp_path: Path
) -> None:
    plugin = Plugin(tmp_path / "plugin", kubectl.kubeconfig, PLANTED, team.tenant.secret)
    await team.declare("orders")
    await team.until_ready("orders")
    report = tmp_path / "report"
    options = ("-n", team.namespace, "-o", str(report), "--operator-namespace", pods.namespace)
    done = await asyncio.to_thread(plugin.run, "report", *options)
    assert done.code == 0, done.err
    parts = {
        str(path.relative_to(report)): path.read_text()
        for path in report.rglob("*")
        if path.is_file()
    }
    name = f"{pods.namespace}.{pods.name()}"
    assert f"{team.namespace}/orders" in parts[f"operator/logs/{name}.springline.log"]
    metrics = parts[f"operator/metrics/{name}.txt"]
    assert f'springline_session_ready{{namespace="{team.namespace}",name="orders"}} 1' in metrics
    assert parts["missing.txt"] == "nothing\n"
    assert not any(team.tenant.secret in text for text in parts.values())


def test_the_container_has_nothing_to_write_to(pods: Pods, kubectl: Kubectl) -> None:
    """Its user is nobody's, its root file system is read-only."""
    where = ["exec", f"--namespace={pods.namespace}", pods.name(), "--"]
    said = kubectl.run(*where, "sh", "-c", "id -u; touch /opt/x /x 2>&1 || true")
    assert said.startswith("65532\n")
    assert said.count("Read-only file system") == 2
