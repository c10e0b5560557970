"""What stops the operator before an uninstall: the chart's Job's program, at a real API server.

It runs as a process beside the tests, with a token of its ServiceAccount and no more rights than
the chart gives it. That Helm runs it is tested in test_chart_release.py.
"""

import http.client
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import ports, processes
from support.apiserver import APIServer
from support.chart import VERSIONS, Helm
from support.ports import LOOPBACK
from support.requests_seen import AuditedRequest
from support.tools import ToolMissing
from support.waiting import eventually

RIGHTS = {
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
}
VALUES: dict[str, Any] = {"uninstall": {"stopFirst": True}, "crds": {"install": False}}

_numbers = itertools.count()


class Namespace:
    """One with what the chart makes in it, and the program that stops the operator."""

    def __init__(self, directory: Path, server: APIServer, name: str, helm: Helm) -> None:
        self.directory = directory
        self.server = server
        self.name = name
        self.objects = helm.objects(VALUES, namespace=name)
        self.pods = f"/api/v1/namespaces/{name}/pods"
        self.deployments = f"/apis/apps/v1/namespaces/{name}/deployments"
        self.output = directory / "output.log"
        self.process: subprocess.Popen[bytes] | None = None

    def post(self, path: str, document: dict[str, Any]) -> None:
        answer = self.server.request("POST", path, document)
        assert answer.code == http.client.CREATED, answer.message

    # What is there

    def give_rights(self, *kinds: str) -> None:
        """Make what Helm makes before the Job, or a part of it."""
        for kind in kinds or RIGHTS:
            self.post(RIGHTS[kind].format(self.name), self.objects[f"{kind}/springline-stop"])

    def deploy(self) -> None:
        self.post(self.deployments, self.objects["Deployment/springline"])

    def pod_labels(self, owner: str) -> dict[str, str]:
        """Of the Pod of a Deployment or a Job."""
        labels: dict[str, str] = self.objects[owner]["spec"]["template"]["metadata"]["labels"]
        return labels

    def run_pod(self, name: str, labels: dict[str, str]) -> None:
        """A Pod on a node; nothing runs it, so once deleted it stops until it is forced."""
        container = {"name": "springline", "image": "springline:1"}
        spec = {"nodeName": "node-1", "containers": [container]}
        metadata = {"name": name, "labels": labels}
        self.post(
            self.pods, {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        )

    def delete_pod(self, name: str, **options: object) -> None:
        document = {"apiVersion": "v1", "kind": "DeleteOptions", **options}
        self.server.request("DELETE", f"{self.pods}/{name}", document)

    def replicas(self) -> int:
        content = self.server.request("GET", f"{self.deployments}/springline").content
        replicas: int = content["spec"]["replicas"]
        return replicas

    # The program

    def start(self, *, seconds: float = 60, port: int | None = None, mounted: bool = True) -> None:
        """Run it as the Job's container would, for so many seconds at most."""
        account = self.directory / "serviceaccount"
        if mounted:
            account.mkdir()
            (account / "ca.crt").write_bytes(self.server.certificate.read_bytes())
            token = self.server.token_for(self.name, "springline-stop")
            (account / "token").write_text(token)
        pod = self.objects["Job/springline-stop"]["spec"]["template"]["spec"]
        python, *args, _, _ = pod["containers"][0]["command"]
        assert python == "python"
        environment = {
            "KUBERNETES_SERVICE_HOST": LOOPBACK,
            "KUBERNETES_SERVICE_PORT": str(port or self.server.port),
        }
        command = [sys.executable, *args, str(seconds), str(account)]
        self.process = processes.spawn(command, env=environment, output=self.output)

    @property
    def code(self) -> int | None:
        """What it has ended with, None while it runs."""
        assert self.process is not None
        return self.process.poll()

    def asked(self) -> list[AuditedRequest]:
        """What it has asked the API server so far."""
        user = f"system:serviceaccount:{self.name}:springline-stop"
        return [each for each in self.server.audit() if each.user == user]

    async def until_asked_again(self) -> None:
        """Wait until it has looked once more, and had the answer."""
        before = len(self.asked())
        # The first of two may have been asked for before this.
        await eventually(lambda: len(self.asked()) >= before + 2, timeout=30, what="it looks")

    async def until_ended(self) -> str:
        """Wait until it has ended well, and return what it has written."""
        await eventually(lambda: self.code is not None, timeout=60, what="it ends")
        said = self.output.read_text(encoding="utf-8")
        assert self.code == 0, said
        return said

    def end(self) -> None:
        """End it if it still runs, and Pods that would stop for ever."""
        if self.process is not None:
            processes.terminate(self.process, timeout=10)
        now = {"apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0}
        self.server.request("DELETE", self.pods, now)


@pytest.fixture
def namespace(apiserver: APIServer, tmp_path: Path) -> Iterator[Namespace]:
    """A namespace of its own, with nothing in it yet."""
    try:
        helm = Helm(program=VERSIONS["Helm 4"](), directory=tmp_path)
    except ToolMissing as error:
        pytest.skip(f"the chart's program was not tried: {error}")
    made = Namespace(tmp_path, apiserver, f"stopping-{next(_numbers)}", helm)
    metadata = {"name": made.name}
    made.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    yield made
    made.end()
    apiserver.request("DELETE", f"/api/v1/namespaces/{made.name}")


async def test_the_program_waits_until_the_operators_pod_is_gone(namespace: Namespace) -> None:
    """Not only until it has been asked to stop: its sessions are closed, and status says so."""
    namespace.give_rights()
    namespace.deploy()
    namespace.run_pod("operator", namespace.pod_labels("Deployment/springline"))
    namespace.run_pod("other", namespace.pod_labels("Job/springline-stop"))
    namespace.start()
    await eventually(lambda: namespace.replicas() == 0, timeout=30, what="it is scaled down")
    namespace.delete_pod("operator")
    await namespace.until_asked_again()
    assert namespace.code is None
    namespace.delete_pod("operator", gracePeriodSeconds=0)
    assert await namespace.until_ended() == "the operator has stopped\n"
    asked = {(each.verb, each.resource, each.subresource) for each in namespace.asked()}
    assert asked == {("patch", "deployments", "scale"), ("list", "pods", "")}


async def test_there_may_be_nothing_to_stop(namespace: Namespace) -> None:
    """The Deployment may have been deleted before."""
    namespace.give_rights()
    namespace.start()
    assert await namespace.until_ended() == "there is no operator\n"


async def test_a_pod_that_never_stops_holds_nothing_up(namespace: Namespace) -> None:
    """Such as one whose node is gone."""
    namespace.give_rights()
    namespace.deploy()
    namespace.run_pod("operator", namespace.pod_labels("Deployment/springline"))
    namespace.start(seconds=0)
    said = await namespace.until_ended()
    assert said == "the operator was not seen to stop: it is still stopping\n"


async def test_missing_rights_hold_nothing_up(namespace: Namespace) -> None:
    """They are told in the Job's log."""
    namespace.give_rights("ServiceAccount")
    namespace.deploy()
    namespace.start(seconds=0)
    said = await namespace.until_ended()
    assert said.startswith("the operator was not seen to stop: ")
    assert "403" in said
    assert namespace.replicas() == 1


async def test_an_api_server_that_is_away_holds_nothing_up(namespace: Namespace) -> None:
    """A policy for the network may be in between."""
    namespace.give_rights()
    lease = ports.lease(1)
    namespace.start(seconds=0, port=lease.ports[0])
    said = await namespace.until_ended()
    lease.release()
    assert "Connection refused" in said


async def test_what_the_kubelet_has_not_mounted_yet_holds_nothing_up(namespace: Namespace) -> None:
    """Like every other failure."""
    namespace.give_rights()
    namespace.start(seconds=0, mounted=False)
    assert "No such file" in await namespace.until_ended()
