"""What the other tests here rely on: a control plane that behaves like one, and what drives it."""

import asyncio
import http.client
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.apiserver import APIServer
from support.helm import Installed
from support.identities import Tenant
from support.kubectl import Kubectl, KubectlFailed
from support.kubectl_proxy import KubectlProxy
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.shared_broker import SharedBroker
from support.waiting import eventually


def configmap(name: str, **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": {"key": "value"},
    }


@pytest.mark.kind
def test_kubectl_applies_and_gets(kubectl: Kubectl, namespace: str) -> None:
    """What is not there is empty, and what is refused says why."""
    assert kubectl.get_json("configmap", "orders", namespace=namespace) == {}
    kubectl.apply([configmap("orders"), configmap("billing")], namespace=namespace)
    kubectl.annotate("configmap", "orders", namespace=namespace, **{"example.com/key": "new"})
    found = kubectl.get_json("configmap", "orders", namespace=namespace)
    assert found["data"] == {"key": "value"}
    assert found["metadata"]["annotations"] == {"example.com/key": "new"}
    with pytest.raises(KubectlFailed, match="datta"):
        kubectl.apply({**configmap("orders"), "datta": {}}, namespace=namespace)


@pytest.mark.kind
def test_a_deleted_namespace_goes_with_all_it_holds(kubectl: Kubectl, namespace: str) -> None:
    """As on every cluster; without the controllers it would be terminating for ever."""
    kubectl.apply(configmap("orders"), namespace=namespace)
    kubectl.delete("namespace", namespace)
    assert kubectl.get_json("namespace", namespace) == {}


@pytest.mark.kind
async def test_what_belongs_to_a_deleted_object_is_collected(
    kubectl: Kubectl, namespace: str
) -> None:
    """By its owner reference."""
    kubectl.apply(configmap("owner"), namespace=namespace)
    uid = kubectl.get_json("configmap", "owner", namespace=namespace)["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": uid}
    kubectl.apply(configmap("owned", ownerReferences=[reference]), namespace=namespace)
    kubectl.delete("configmap", "owner", namespace=namespace)
    await kubectl.until(
        "configmap", "owned", lambda found: not found, namespace=namespace, what="collected"
    )


async def test_a_service_accounts_token_may_do_what_its_roles_say(
    apiserver: APIServer, kubectl: Kubectl, namespace: str
) -> None:
    """And nothing else, so that a gap in the chart's roles fails a test."""
    secrets = f"/api/v1/namespaces/{namespace}/secrets"
    kubectl.run("create", "serviceaccount", "reader", f"--namespace={namespace}")
    token = apiserver.token_for(namespace, "reader")
    assert apiserver.request("GET", secrets, token=token).code == http.client.FORBIDDEN
    role = ["--verb=list", "--resource=secrets", f"--namespace={namespace}"]
    kubectl.run("create", "role", "reader", *role)
    binding = ["--role=reader", f"--serviceaccount={namespace}:reader", f"--namespace={namespace}"]
    kubectl.run("create", "rolebinding", "reader", *binding)
    await eventually(
        lambda: apiserver.request("GET", secrets, token=token).code == http.client.OK,
        what="the role counts",
    )
    assert apiserver.request("POST", secrets, {}, token=token).code == http.client.FORBIDDEN


async def test_requests_are_counted_and_their_senders_known(
    apiserver: APIServer, namespace: str, kubectl: Kubectl
) -> None:
    """By resource and verb; server-side apply is a verb of its own for the counters."""
    before = apiserver.requests("configmaps", verb="APPLY", subresource="")
    kubectl.apply(configmap("orders"), namespace=namespace)
    assert apiserver.requests("configmaps", verb="APPLY", subresource="") == before + 1

    def audited() -> list[tuple[str, str, int]]:
        return [
            (each.verb, each.name, each.code)
            for each in apiserver.audit()
            if (each.namespace, each.resource, each.user) == (namespace, "configmaps", "admin")
            and each.user_agent.startswith("kubectl/")
        ]

    await eventually(lambda: ("patch", "orders", 201) in audited(), what="it is in the audit log")


CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


@pytest.mark.parametrize("end", [APIServer.stop, APIServer.kill], ids=["in order", "by a crash"])
def test_a_restarted_api_server_has_its_data_and_keys(
    disposable_apiserver: APIServer, end: Callable[[APIServer], None]
) -> None:
    """Its clients need nothing new, whether it ended in order or not."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": end.__name__}}
    made = disposable_apiserver.request(
        "POST", "/api/v1/namespaces/default/serviceaccounts", account
    )
    assert made.code == http.client.CREATED, made.message
    token = disposable_apiserver.token_for("default", end.__name__)
    end(disposable_apiserver)
    with pytest.raises(OSError, match="refused"):
        disposable_apiserver.request("GET", CONFIGMAPS)
    disposable_apiserver.start()
    answer = disposable_apiserver.request("GET", CONFIGMAPS, token=token)
    assert answer.code == http.client.FORBIDDEN, "the token is still known"


def test_history_can_be_forgotten(disposable_apiserver: APIServer) -> None:
    """A watch that goes on from before is told 410 Gone, as after a long absence."""
    version = disposable_apiserver.request("GET", CONFIGMAPS).content["metadata"]["resourceVersion"]
    disposable_apiserver.forget_history()
    watch = f"{CONFIGMAPS}?watch=1&timeoutSeconds=5&resourceVersion={version}"
    told = disposable_apiserver.request("GET", watch).content
    assert (told["type"], told["object"]["code"]) == ("ERROR", http.client.GONE)


# Says how it was started, and serves what an operator serves.
STAND_IN = """
import http.server, json, os, sys

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"argv": sys.argv[1:], "env": dict(os.environ)}).encode())

host, _, port = sys.argv[sys.argv.index("--listen") + 1].partition(":")
if "--say" in sys.argv:
    print("the password is", sys.argv[sys.argv.index("--say") + 1], flush=True)
http.server.HTTPServer((host, int(port)), Handler).serve_forever()
"""


@pytest.fixture
def stand_in(
    apiserver: APIServer, kubectl: Kubectl, namespace: str, tmp_path: Path
) -> Iterator[OperatorProcess]:
    """A program that is started as an operator is, of a Deployment like the chart's."""
    program = tmp_path / "stand_in.py"
    program.write_text(STAND_IN)
    pod = {
        "serviceAccountName": "operator",
        "containers": [
            {
                "name": "operator",
                "image": "springline",
                "args": ["operator", "--holder=$(POD)"],
                "env": [
                    {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                    {"name": "SPRINGLINE_OPERATOR_LOG_FORMAT", "value": "json"},
                ],
                "readinessProbe": {"httpGet": {"path": "/readyz", "port": 8080}},
            }
        ],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "springline"},
        "spec": {
            "selector": {"matchLabels": {"app": "springline"}},
            "template": {"metadata": {"labels": {"app": "springline"}}, "spec": pod},
        },
    }
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}}
    kubectl.apply([account, deployment], namespace=namespace)
    process = OperatorProcess(
        tmp_path / "operator",
        apiserver,
        "s3cret",
        namespace=namespace,
        program=(sys.executable, str(program)),
    )
    yield process
    process.kill()


async def test_an_operator_is_run_as_its_deployment_says(
    stand_in: OperatorProcess, apiserver: APIServer, namespace: str
) -> None:
    """With its arguments, its environment and its ServiceAccount."""
    stand_in.start()
    await stand_in.until_ready()
    told = json.loads(stand_in.get("/").text)
    assert told["argv"][:2] == ["operator", f"--holder={stand_in.pod_name}"]
    assert told["env"]["SPRINGLINE_OPERATOR_LOG_FORMAT"] == "json"
    directory = Path(told["env"]["KUBECONFIG"]).parent
    review = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
    reviews = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
    answer = apiserver.request("POST", reviews, review, token=(directory / "token").read_text())
    user = answer.content["status"]["userInfo"]["username"]
    assert user == f"system:serviceaccount:{namespace}:operator"
    stand_in.close()


async def test_what_an_operator_must_not_say_fails_the_test(stand_in: OperatorProcess) -> None:
    """In whatever line it is."""
    stand_in.start("--say", "s3cret")
    await stand_in.until_said("the password is")
    with pytest.raises(AssertionError):
        stand_in.close()


@pytest.mark.kind
async def test_the_operator_and_the_broker_find_each_other(
    springline: Operator, kubectl: Kubectl, namespace: str, rabbit: SharedBroker, tenant: Tenant
) -> None:
    """The operator of the chart, with the chart's rights, holds what a user declares."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "orders-amqp"},
        "stringData": {"username": tenant.username, "password": tenant.secret},
    }
    connection = {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": "orders"},
        "spec": {
            "brokerRef": {"name": "rabbit"},
            "virtualHost": tenant.vhost,
            "credentials": {"secretRef": {"name": "orders-amqp"}},
        },
    }
    kubectl.apply([rabbit.document(), secret, connection], namespace=namespace)
    await asyncio.to_thread(
        kubectl.wait, "brokerconnection", "orders", "condition=Ready", namespace=namespace
    )
    held = [each.user for each in await asyncio.to_thread(rabbit.administration.connections)]
    assert tenant.username in held
    assert springline.get("/healthz").code == http.client.OK


async def test_other_values_of_the_chart_reach_the_operator(
    springline: Operator, configured: Callable[..., None]
) -> None:
    """For one test, by an upgrade of the release."""
    assert isinstance(springline, OperatorProcess)
    configured(shutdownTimeout=7)
    await springline.until_ready()
    command = await asyncio.to_thread(Path(f"/proc/{springline.pid}/cmdline").read_text)
    assert "--shutdown-timeout=7" in command.split("\0")


async def test_values_of_before_are_forgotten(
    springline: Operator, installed: Installed, configured: Callable[..., None]
) -> None:
    """When the release is installed without any, it has the chart's own again."""
    assert isinstance(springline, OperatorProcess)
    configured(shutdownTimeout=7)
    await springline.until_ready()
    installed.install()
    springline.restart()
    await springline.until_ready()
    command = await asyncio.to_thread(Path(f"/proc/{springline.pid}/cmdline").read_text)
    assert "--shutdown-timeout=7" not in command.split("\0")


async def test_any_cluster_is_asked_by_way_of_kubectl(
    kubectl: Kubectl, cluster: APIServer, namespace: str, tmp_path: Path
) -> None:
    """With the same answers, of which the tests for existing clusters live."""
    path = f"/api/v1/namespaces/{namespace}/configmaps"
    with KubectlProxy(tmp_path / "proxy", kubectl.kubeconfig) as proxy:
        made = proxy.request("POST", path, configmap("orders"))
        assert made.code == http.client.CREATED
        change = {"metadata": {"labels": {"team": "shop"}}}
        assert proxy.request("PATCH", f"{path}/orders", change).code == http.client.OK
        assert proxy.request("GET", f"{path}/nowhere").code == http.client.NOT_FOUND
        found = proxy.request("GET", f"{path}/orders")
    assert found == cluster.request("GET", f"{path}/orders")
