"""`kubectl springline`: what a person is told of a cluster, and what they can have done there."""

import asyncio
import base64
import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support import waiting
from support.apiserver import APIServer
from support.kubectl import Kubectl, rows
from support.operator_process import OperatorProcess
from support.plugin import SCRIPTS, Done, Plugin
from support.springline_process import searched
from support.team import CONNECTIONS, Team

PLANTED = "pl4nted-s3cret"
PREFIX = "brokerconnection.springline.dev/"


@pytest.fixture
def plugin(kubectl: Kubectl, tmp_path: Path) -> Plugin:
    return Plugin(tmp_path / "plugin", kubectl.kubeconfig, PLANTED)


@pytest.fixture
def pod(kubectl: Kubectl, process: OperatorProcess) -> Iterator[str]:
    """A pod as the operator's would be, if there were a kubelet; its name."""
    name, where = process.pod_name, process.namespace
    container = {"name": "springline", "image": "springline"}
    kubectl.apply(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app.kubernetes.io/name": "springline"}},
            "spec": {"serviceAccountName": "springline", "containers": [container]},
        },
        namespace=where,
    )
    status = {"phase": "Running", "startTime": "2026-11-21T08:00:00Z"}
    kubectl.run(
        *("patch", "pod", name, f"--namespace={where}", "--subresource=status", "--type=merge"),
        f"--patch={json.dumps({'status': status})}",
    )
    yield name
    kubectl.run("delete", "pod", name, f"--namespace={where}", "--grace-period=0", "--force")


async def of(plugin: Plugin, team: Team, command: str, *args: str, **more: Any) -> Done:
    """Run a command in the team's namespace."""
    return await asyncio.to_thread(plugin.run, command, "-n", team.namespace, *args, **more)


# --- seeing


async def test_account_of_a_connection_tells_everything(
    plugin: Plugin, team: Team, kubectl: Kubectl, pod: str
) -> None:
    """By kubectl, which finds the plugin in PATH; and it says when its holder is gone."""
    await team.declare("orders")
    await team.until_ready("orders")
    await team.until_condition("orders", "Blocked", "False")
    await team.until_events("orders", "Connected")
    done = await asyncio.to_thread(
        plugin.by_kubectl, "springline", "status", "orders", "-n", team.namespace
    )
    assert (done.code, done.err) == (0, "")
    assert done.line("Ready:").startswith("yes for ")
    assert done.line("State:").startswith("Connected since 20")
    assert done.line("Broker:") == f"Broker rabbit, virtual host {team.tenant.vhost}"
    assert f":{team.rabbit.port}" in done.line("Endpoint:")
    assert done.line("Server:").startswith("RabbitMQ ")
    assert "PLAIN, en_US, heartbeat " in done.line("Negotiated:")
    login = f"user {team.tenant.username}, from secretRef: valid (Accepted)"
    assert done.line("Credential:") == login
    assert "when the session was opened" in done.out
    assert done.line("Blocked:") == "no"
    assert done.line("Held by:").startswith(f"springline-system/{pod}, which is running for ")
    assert "Normal" in done.out
    assert "\x1b" not in done.out, "colours are for terminals"

    where = kubectl.get_json("pod", pod, namespace="springline-system")["metadata"]["namespace"]
    kubectl.run(
        "label", "pod", pod, f"--namespace={where}", "app.kubernetes.io/name=other", "--overwrite"
    )
    done = await of(plugin, team, "status", "orders")
    assert "of which there is no pod" in done.line("Held by:")


async def test_several_are_a_table_and_documents(plugin: Plugin, team: Team) -> None:
    """Like `kubectl get`, with the reason; below it why one is not as it should be."""
    await team.declare("orders")
    await team.declare_connections("billing", virtualHost="no-such-vhost")
    await team.until_ready("orders")
    await team.until_condition("billing", "Ready", "False", "VirtualHostNotFound")
    done = await of(plugin, team, "status")
    found = {row["NAME"]: row for row in rows(done.out)}
    assert found.keys() == {"billing", "orders"}
    assert (found["orders"]["READY"], found["orders"]["REASON"]) == ("True", "Connected")
    assert (found["billing"]["READY"], found["billing"]["STATE"]) == ("False", "Rejected")
    assert done.err.startswith(f"{team.namespace}/billing: ")
    assert "no-such-vhost" in done.err

    wide = rows((await of(plugin, team, "status", "-o", "wide", "orders", "billing")).out)
    assert wide[0]["NAME"] == "orders", "in the order of the names that were given"
    assert wide[0]["HEARTBEAT"].endswith("s")
    everywhere = await of(plugin, team, "status", "-A")
    assert {team.namespace} <= {row["NAMESPACE"] for row in rows(everywhere.out)}
    names = await of(plugin, team, "status", "-o", "name")
    assert names.out.split() == [f"{PREFIX}billing", f"{PREFIX}orders"]
    of_kubectl = await asyncio.to_thread(
        plugin.by_kubectl, "get", "-n", team.namespace, "-o", "name", *names.out.split()
    )
    assert of_kubectl.out == names.out

    document = json.loads((await of(plugin, team, "status", "orders", "-o", "json")).out)
    assert (document["kind"], document["metadata"]["name"]) == ("BrokerConnection", "orders")
    assert "managedFields" not in document["metadata"]
    listed = yaml.safe_load((await of(plugin, team, "status", "-o", "yaml")).out)
    assert [each["kind"] for each in listed["items"]] == ["BrokerConnection"] * 2

    done = await of(plugin, team, "status", "billing")
    assert done.line("Ready:").endswith(": VirtualHostNotFound")
    assert done.out.rstrip().endswith("explain VirtualHostNotFound says what to do.")
    done = await of(plugin, team, "status", "order")
    assert done.code == 2
    assert 'there is no BrokerConnection "order"' in done.err
    assert "did you mean orders?" in done.err


async def test_watch_follows_changes_as_lines(plugin: Plugin, team: Team) -> None:
    """One line for each change, until Ctrl-C; that is no failure."""
    await team.declare("orders")
    await team.until_ready("orders")
    watching = _started(plugin, team, subprocess.PIPE)
    assert watching.stdout is not None
    first = await asyncio.to_thread(watching.stdout.readline)
    assert f"{team.namespace}/orders" in first
    assert "Connected, Ready True" in first
    await team.patch(CONNECTIONS, "orders", {"spec": {"suspend": True}})
    seen = ""
    while "Suspended: " not in seen:
        line = await asyncio.to_thread(watching.stdout.readline)
        assert line, "it has ended"
        seen += line
    await team.delete(CONNECTIONS, "orders")
    while "deleted" not in seen:
        seen += await asyncio.to_thread(watching.stdout.readline)
    watching.send_signal(signal.SIGINT)
    out, err = await asyncio.to_thread(watching.communicate, timeout=waiting.PATIENCE)
    assert (watching.returncode, err) == (0, "")
    searched(first + seen + out, PLANTED)


async def test_watch_is_a_live_table_on_a_terminal(plugin: Plugin, team: Team) -> None:
    await team.declare("orders")
    await team.until_ready("orders")
    ours, theirs = pty.openpty()
    try:
        watching = _started(plugin, team, theirs)
        os.set_blocking(ours, False)
        seen = ""

        def read() -> str:
            nonlocal seen
            with contextlib.suppress(BlockingIOError):
                seen += os.read(ours, 65536).decode(errors="replace")
            return seen

        await waiting.eventually(
            lambda: "STATE" in read() and "orders" in seen, what="the table is drawn"
        )
        watching.send_signal(signal.SIGINT)
        await asyncio.to_thread(watching.communicate, timeout=waiting.PATIENCE)
        read()
        assert watching.returncode == 0
        assert "\x1b[?25h" in seen, "the cursor is shown again"
        searched(seen, PLANTED)
    finally:
        os.close(ours)
        os.close(theirs)


def _started(plugin: Plugin, team: Team, stdout: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [str(SCRIPTS / "kubectl-springline"), "watch", "-n", team.namespace],
        env={**plugin.environment(), "TERM": "xterm", "COLUMNS": "200", "LINES": "30"},
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
    )


# --- steering


async def test_sessions_are_opened_anew_and_credentials_renewed(plugin: Plugin, team: Team) -> None:
    """With --wait, the command ends when it is done."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    before = await team.until_held("billing", "orders")
    done = await of(plugin, team, "reconnect", "orders", "--wait")
    assert (done.code, done.err) == (0, "")
    assert done.out == f"{PREFIX}orders reconnect requested\n{PREFIX}orders Ready\n"
    now = await team.until_held("billing", "orders")
    assert [each in before for each in now] == [True, False]

    done = await of(plugin, team, "renew", "--all", "--wait")
    assert (done.code, done.err) == (0, "")
    assert done.out.count(" renewal requested\n") == done.out.count(" Ready\n") == 2
    assert await team.held() == now
    for name in ("orders", "billing"):
        assert "renewRequestedAt" in (await team.status(name))["lastHandled"]


async def test_sessions_are_suspended_and_resumed(plugin: Plugin, team: Team) -> None:
    """Chosen by labels; nobody waits for what cannot come."""
    await team.declare("orders", "billing")
    labels = {"metadata": {"labels": {"team": "orders"}}}
    await team.patch(CONNECTIONS, "orders", labels)
    await team.until_ready("orders", "billing")
    done = await of(plugin, team, "suspend", "-l", "team=orders", "--wait")
    assert (done.code, done.out) == (0, f"{PREFIX}orders suspended\n{PREFIX}orders Suspended\n")
    await team.until_held("billing")
    done = await of(plugin, team, "reconnect", "orders", "--wait")
    assert done.code == 1
    assert "it is suspended" in done.err
    done = await of(plugin, team, "resume", "orders", "--wait")
    assert (done.code, done.out) == (0, f"{PREFIX}orders resumed\n{PREFIX}orders Ready\n")
    await team.until_held("billing", "orders")


async def test_names_that_are_printed_are_taken_back(
    plugin: Plugin, team: Team, kubectl: Kubectl
) -> None:
    """From every namespace, by xargs; and what kubectl prints, in its own namespace."""
    other = team.inside(f"{team.namespace}-b")
    kubectl.run("create", "namespace", other.namespace)
    for each in (team, other):
        await each.declare("orders")
        await each.until_ready("orders")
    shell = (
        f"kubectl springline status -A -o name | grep -E '/{team.namespace}(-b)?/' |"
        " xargs kubectl springline reconnect --wait"
    )
    piped = await asyncio.to_thread(plugin.in_shell, shell)
    assert (piped.code, piped.err) == (0, "")
    ours, theirs = (f"{PREFIX}{each.namespace}/orders" for each in (team, other))
    assert sorted(piped.out.splitlines()[:2]) == sorted(
        [f"{ours} reconnect requested", f"{theirs} reconnect requested"]
    )
    assert sorted(piped.out.splitlines()[2:]) == sorted([f"{ours} Ready", f"{theirs} Ready"])
    for each in (team, other):
        assert "reconnectRequestedAt" in (await each.status("orders"))["lastHandled"]

    printed = kubectl.run("get", "bconn", "-o", "name", f"--namespace={team.namespace}").split()
    for name in (*printed, "brokerconnections/orders", "BrokerConnection/orders", "bconn/orders"):
        done = await of(plugin, team, "status", name, "-o", "name")
        assert (done.code, done.out) == (0, f"{PREFIX}orders\n"), name

    done = await asyncio.to_thread(plugin.run, "status", ours, theirs, f"{PREFIX}nowhere/orders")
    assert done.code == 2
    assert {row["NAMESPACE"] for row in rows(done.out)} == {team.namespace, other.namespace}
    assert 'there is no BrokerConnection "orders" in namespace "nowhere"' in done.err
    done = await of(plugin, team, "suspend", theirs)
    assert done.code == 2
    assert "another namespace than --namespace" in done.err


async def test_waiting_has_an_end(plugin: Plugin, team: Team) -> None:
    """It says what is in the way."""
    await team.declare("orders", virtualHost="no-such-vhost")
    await team.until_condition("orders", "Ready", "False", "VirtualHostNotFound")
    done = await of(plugin, team, "reconnect", "orders", "nobody", "--wait", "--timeout", "3s")
    assert done.code == 2, "the worst of it: there is no connection nobody"
    assert 'there is no BrokerConnection "nobody"' in done.err
    assert "orders: not Ready within 3 s: VirtualHostNotFound: " in done.err


# --- rights


async def test_rights_are_those_of_the_caller(
    apiserver: APIServer, kubectl: Kubectl, team: Team, tmp_path: Path
) -> None:
    """Who may see can see, and is told what is missing; the role to change lets them change."""
    await team.declare("orders")
    await team.until_ready("orders")
    kubectl.run("create", "serviceaccount", "ann", f"--namespace={team.namespace}")
    account = f"--serviceaccount={team.namespace}:ann"

    def bind(role: str) -> None:
        kubectl.run(
            *("create", "rolebinding", role, f"--clusterrole={role}", account),
            f"--namespace={team.namespace}",
        )

    token = apiserver.token_for(team.namespace, "ann")
    kubeconfig = tmp_path / "kubeconfig"
    document = yaml.safe_load(apiserver.kubeconfig(token=token))
    document["contexts"][0]["context"]["namespace"] = team.namespace
    kubeconfig.write_text(yaml.safe_dump(document))
    plugin = Plugin(tmp_path / "ann", kubeconfig, PLANTED, token)

    done = await asyncio.to_thread(plugin.run, "status")
    assert done.code == 3
    assert f'you may not list brokerconnections in namespace "{team.namespace}"' in done.err
    assert "springline-view" in done.err

    bind("springline-view")
    done = await asyncio.to_thread(plugin.run, "status", "orders")
    assert done.code == 0, done.err
    assert 'cannot be told: you may not list pods in namespace "springline-system"' in done.out
    assert done.line("Events:").startswith("not known: you may not list events")
    done = await asyncio.to_thread(plugin.run, "suspend", "orders")
    assert done.code == 3
    assert "you may not patch brokerconnections" in done.err

    report = tmp_path / "report"
    done = await asyncio.to_thread(plugin.run, "report", "-o", report)
    assert done.code == 0, done.err
    for missing in (
        f"you may not get secrets in namespace {team.namespace}",
        f"you may not list events in namespace {team.namespace}",
        'you may not list pods in namespace "springline-system"',
        "you may not list deployments in namespace springline-system",
        "you may not list leases in namespace springline-system",
        "you may not get customresourcedefinitions",
    ):
        assert missing in done.err
        assert missing in (report / "missing.txt").read_text()
    for written in report.rglob("*.*"):
        searched(written.read_text(), team.tenant.secret, token)
    assert "orders" in (report / "connections.txt").read_text()

    bind("springline-edit")
    done = await asyncio.to_thread(plugin.run, "reconnect", "orders", "--wait")
    assert (done.code, done.err) == (0, "")


# --- reporting


async def test_report_has_what_helps_and_no_secret(
    plugin: Plugin, team: Team, kubectl: Kubectl, pod: str, tmp_path: Path
) -> None:
    """Planted in a Secret, an annotation, the last apply, and in what a broker is told."""
    everywhere = "pl4nted-everywhere"  # also where it is a mistake to have one
    await team.declare("orders")
    await team.until_ready("orders")
    await team.until_events("orders", "Connected")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "planted"},
        "stringData": {"password": everywhere},
    }
    kubectl.apply(secret, namespace=team.namespace)
    planted = {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": "planted", "annotations": {"note": everywhere}},
        "spec": {
            "brokerRef": {"name": "rabbit"},
            "credentials": {"secretRef": {"name": "planted"}},
            "clientProperties": {"note": everywhere},
            "suspend": True,
        },
    }
    file = tmp_path / "planted.yaml"
    file.write_text(yaml.safe_dump(planted))
    # With what kubectl keeps of the last apply.
    kubectl.run("apply", "-f", str(file), f"--namespace={team.namespace}")
    written = kubectl.run("get", "bconn/planted", "-o", "yaml", f"--namespace={team.namespace}")
    assert "last-applied" in written

    path = tmp_path / "report.tar.gz"
    done = await of(plugin, team, "report", "-o", str(path))
    assert (done.code, done.out) == (0, f"{path}\n")
    assert f"log of {pod}, springline" in done.err
    assert everywhere not in done.err
    with tarfile.open(path) as archive:
        texts = {}
        for entry in archive.getmembers():
            content = archive.extractfile(entry)
            assert content is not None
            texts[entry.name.removeprefix("report/")] = content.read().decode()
    for name, text in texts.items():
        searched(text, everywhere, team.tenant.secret)
        assert base64.b64encode(team.tenant.secret.encode()).decode() not in text, name
        assert "managedFields" not in text or name == "README.txt"
    found = json.loads(texts["objects/brokerconnections.json"])
    assert {each["metadata"]["name"] for each in found} == {"orders", "planted"}
    [broker] = json.loads(texts["objects/brokers.json"])
    assert broker["metadata"]["name"] == "rabbit"
    sizes = {each["name"]: each["bytesByKey"] for each in json.loads(texts["secrets.json"])}
    assert sizes["planted"] == {"password": len(everywhere)}
    assert "Connected" in {each["reason"] for each in json.loads(texts["events.json"])}
    leases = json.loads(texts["operator/leases.json"])
    assert pod in {each["metadata"]["name"] for each in leases}
    assert pod in {each["metadata"]["name"] for each in json.loads(texts["operator/pods.json"])}
    assert json.loads(texts["operator/deployments.json"])[0]["kind"] == "Deployment"
    versions = json.loads(texts["versions.json"])
    assert versions["kubernetes"]["gitVersion"].startswith("v1.")
    assert [each["versions"][0]["name"] for each in versions["definitions"]] == ["v1alpha1"] * 3

    again = await of(plugin, team, "report", "-o", str(path))
    assert again.code == 2
    assert "is not overwritten" in again.err


# --- checking

STAND_IN = """\
#!{python}
# In place of a kubelet: what kubectl would run in the pod runs here.
import pathlib, subprocess, sys
pathlib.Path("{record}").write_text("\\n".join(sys.argv[1:]))
command = sys.argv[sys.argv.index("--") + 1 :]
assert command[0] == "springline"
sys.exit(subprocess.run(["{springline}", *command[1:]]).returncode)
"""


async def test_manifests_are_checked_from_here_or_from_the_operators_pod(
    plugin: Plugin, team: Team, pod: str, tmp_path: Path
) -> None:
    """kubectl exec is a stand-in; the command, what it is given and its exit code are real."""
    documents = [
        team.rabbit.document(),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders-amqp"},
            "stringData": {"username": team.tenant.username, "password": team.tenant.secret},
        },
        team.connection("orders"),
    ]
    files = tmp_path / "files"
    files.mkdir()
    for number, document in enumerate(documents):
        (files / f"{number}.yaml").write_text(yaml.safe_dump(document))
    done = await asyncio.to_thread(plugin.run, "check", "-f", files)
    assert done.code == 0, done.err
    assert rows(done.out)[0]["READY"] == "True"

    stand_in = tmp_path / "bin" / "kubectl"
    stand_in.parent.mkdir()
    record = tmp_path / "arguments"
    stand_in.write_text(
        STAND_IN.format(python=sys.executable, record=record, springline=SCRIPTS / "springline")
    )
    stand_in.chmod(0o755)
    before = (stand_in.parent,)
    done = await asyncio.to_thread(
        plugin.run, "check", "--in-cluster", "-f", files, "-o", "json", before=before
    )
    assert done.code == 0, done.err
    [checked] = json.loads(done.out)["items"]
    assert checked["status"]["state"] == "Connected"
    assert record.read_text().splitlines() == [
        *("exec", "--stdin", f"--kubeconfig={plugin.kubeconfig}"),
        *("--namespace=springline-system", pod, "--container=springline", "--"),
        *("springline", "check", "--filename=-", "--output=json", "--log-level=warning"),
    ]
    wrong = yaml.safe_dump(team.connection("orders", virtualHost="no-such-vhost"))
    given = "---\n".join([*map(yaml.safe_dump, documents[:2]), wrong])
    done = await asyncio.to_thread(
        plugin.run, "check", "--in-cluster", "-f", "-", given=given, before=before
    )
    assert done.code == 1
    assert rows(done.out)[0]["REASON"] == "VirtualHostNotFound"


# --- the shell


async def test_kubectl_completes_by_asking_it(plugin: Plugin, team: Team) -> None:
    """kubectl's own completion looks for kubectl_complete-springline."""
    await team.declare("orders")
    typed = ("__complete", "springline")
    done = await asyncio.to_thread(plugin.by_kubectl, *typed, "sus")
    assert done.out.splitlines()[0].split("\t")[0] == "suspend"
    done = await asyncio.to_thread(plugin.by_kubectl, *typed, "status", "-n", team.namespace, "or")
    assert done.out.splitlines() == ["orders", ":4"]
    everywhere = f"bconn/{team.namespace}/or"
    done = await asyncio.to_thread(plugin.by_kubectl, *typed, "renew", everywhere)
    assert done.out.splitlines() == [f"{everywhere}ders", ":4"]
