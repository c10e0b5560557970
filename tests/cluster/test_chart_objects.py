"""Everything that the chart renders, at a real API server: it accepts each object to the letter."""

import copy
import http.client
from collections.abc import Iterable
from typing import Any

import pytest

from support import monitors
from support.apiserver import Answer, APIServer
from support.chart import NAMESPACE, VERSIONS, Helm, with_all
from support.chart_values import EVERYTHING, EXTRA_OBJECTS, MODES, OWN_EGRESS, POD_MONITOR
from support.tools import ToolMissing
from support.waiting import eventually

PLURALS = {
    "ClusterRole": "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "ClusterRoleBinding": "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "ConfigMap": "/api/v1/namespaces/{}/configmaps",
    "CustomResourceDefinition": "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
    "Deployment": "/apis/apps/v1/namespaces/{}/deployments",
    "Job": "/apis/batch/v1/namespaces/{}/jobs",
    "NetworkPolicy": "/apis/networking.k8s.io/v1/namespaces/{}/networkpolicies",
    "Pod": "/api/v1/namespaces/{}/pods",
    "PodDisruptionBudget": "/apis/policy/v1/namespaces/{}/poddisruptionbudgets",
    "PodMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/podmonitors",
    "PrometheusRule": "/apis/monitoring.coreos.com/v1/namespaces/{}/prometheusrules",
    "Role": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/roles",
    "RoleBinding": "/apis/rbac.authorization.k8s.io/v1/namespaces/{}/rolebindings",
    "Service": "/api/v1/namespaces/{}/services",
    "ServiceAccount": "/api/v1/namespaces/{}/serviceaccounts",
    "ServiceMonitor": "/apis/monitoring.coreos.com/v1/namespaces/{}/servicemonitors",
}
OF_PROMETHEUS = {"ServiceMonitor", "PodMonitor", "PrometheusRule"}
RESTRICTED = "springline-restricted"


@pytest.fixture(scope="module")
def helm(tmp_path_factory: pytest.TempPathFactory) -> Helm:
    try:
        return Helm(program=VERSIONS["Helm 4"](), directory=tmp_path_factory.mktemp("helm"))
    except ToolMissing as error:
        pytest.skip(f"the chart's objects were not looked at: {error}")


@pytest.fixture(scope="module")
def server(cluster: APIServer) -> APIServer:
    """An API server that has the namespaces; nothing of the chart is kept in it."""
    enforce = {"pod-security.kubernetes.io/enforce": "restricted"}
    for name in (NAMESPACE, "orders", "billing", "monitoring", RESTRICTED):
        labels = enforce if name == RESTRICTED else {}
        namespace = {
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        }
        answer = cluster.request("POST", "/api/v1/namespaces", namespace)
        assert answer.code in (http.client.CREATED, http.client.CONFLICT), answer.message
    for name in ("springline", "springline-stop"):
        account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}}
        where = f"/api/v1/namespaces/{RESTRICTED}/serviceaccounts"
        assert cluster.request("POST", where, account).code == http.client.CREATED
    return cluster


def judged(server: APIServer, document: dict[str, Any]) -> Answer:
    """Let the API server look at an object without keeping it; unknown fields are refused."""
    metadata = document["metadata"]
    where = PLURALS[document["kind"]].format(metadata.get("namespace"))
    options = "dryRun=All&fieldValidation=Strict&fieldManager=tests&force=true"
    return server.request(
        "PATCH",
        f"{where}/{metadata['name']}?{options}",
        document,
        content_type="application/apply-patch+yaml",
    )


def faults(server: APIServer, documents: Iterable[dict[str, Any]]) -> list[str]:
    """What the API server has against objects."""
    found = []
    for each in documents:
        answer = judged(server, each)
        name = f"{each['kind']}/{each['metadata']['name']}"
        if answer.code not in (http.client.OK, http.client.CREATED):
            found.append(f"{name}: {answer.message}")
        found += [f"{name}: {warning}" for warning in answer.warnings]
    return found


VALUES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "everything": with_all([EVERYTHING, EXTRA_OBJECTS]),
    "the chart's own rules for the network": OWN_EGRESS,
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("values", VALUES)
def test_every_object_is_accepted_without_a_warning(
    server: APIServer, helm: Helm, mode: str, values: str
) -> None:
    """In every mode, by default and with everything switched on."""
    # Under a name that nobody has installed, or it would be judged as a change of what is there.
    objects = helm.template(with_all([VALUES[values], MODES[mode]]), release="judged-springline")
    kinds = {each["kind"] for each in objects}
    assert {"CustomResourceDefinition", "Deployment", "Pod", "ServiceAccount"} <= kinds
    ours = (each for each in objects if each["kind"] not in OF_PROMETHEUS)
    assert faults(server, ours) == []


def test_an_unknown_field_would_be_noticed(server: APIServer, helm: Helm) -> None:
    """Otherwise the test above would prove little."""
    deployment = copy.deepcopy(helm.objects({})["Deployment/springline"])
    deployment["spec"]["template"]["spec"]["containers"][0]["arguments"] = []
    answer = judged(server, deployment)
    assert answer.code != http.client.OK
    assert "arguments" in answer.message


@pytest.mark.parametrize("values", VALUES)
def test_its_pods_are_let_into_a_restricted_namespace(
    server: APIServer, helm: Helm, values: str
) -> None:
    """Pod Security is enforced on Pods, not on what makes them."""
    objects = helm.objects(VALUES[values])
    template = objects["Deployment/springline"]["spec"]["template"]
    pods = [template, objects["Pod/springline-ready"]]
    if job := objects.get("Job/springline-stop"):
        pods.append(job["spec"]["template"])
    for number, pod in enumerate(pods):
        metadata = {**pod["metadata"], "name": f"pod-{number}", "namespace": RESTRICTED}
        document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}
        assert faults(server, [document]) == []
        # And the namespace really is as strict as it says.
        loose = copy.deepcopy(document)
        del loose["spec"]["containers"][0]["securityContext"]["capabilities"]
        answer = judged(server, loose)
        assert answer.code == http.client.FORBIDDEN
        assert 'violates PodSecurity "restricted' in answer.message


@pytest.fixture(scope="module")
def monitored(server: APIServer) -> APIServer:
    """The API server with the Prometheus operator's kinds."""
    try:
        definitions = monitors.definitions()
    except ToolMissing as error:
        pytest.skip(str(error))
    for definition in definitions:
        answer = server.request("POST", PLURALS["CustomResourceDefinition"], definition)
        assert answer.code == http.client.CREATED, answer.message
    return server


@pytest.mark.parametrize("kind", sorted(OF_PROMETHEUS))
async def test_its_objects_are_what_the_prometheus_operator_takes(
    monitored: APIServer, helm: Helm, kind: str
) -> None:
    """By its own definitions."""
    values = [EVERYTHING, POD_MONITOR if kind == "PodMonitor" else {}]
    document = helm.objects(with_all(values))[f"{kind}/springline"]
    path = PLURALS[kind].format("monitoring")
    await eventually(lambda: monitored.request("GET", path).code == http.client.OK)
    assert faults(monitored, [document]) == []
