"""What the operator and people may do: exactly what is documented, in every mode."""

import re
from typing import Any

import pytest

from support.chart import NAMESPACE, Helm, Objects, with_all
from support.chart_files import CHART
from support.chart_values import EVERYTHING, MODES

Rights = set[tuple[str, str, str]]

READ = ("get", "list", "watch")
IN_NAMESPACES: Rights = {
    *(("springline.dev", kind, verb) for kind in ("brokers", "brokerconnections") for verb in READ),
    ("springline.dev", "brokers/status", "patch"),
    ("springline.dev", "brokerconnections/status", "patch"),
    *(("", kind, verb) for kind in ("secrets", "configmaps") for verb in READ),
    ("", "services", "get"),
    ("discovery.k8s.io", "endpointslices", "list"),
    *(("", "events", verb) for verb in ("create", "patch")),
}
# Unless they are switched off.
OF_BINDINGS: Rights = {("", "secrets", verb) for verb in ("create", "update", "delete")}
IN_NAMESPACES |= OF_BINDINGS
FOR_CLUSTER_BROKERS: Rights = {
    *(("springline.dev", "clusterbrokers", verb) for verb in READ),
    ("springline.dev", "clusterbrokers/status", "patch"),
    *(("", "namespaces", verb) for verb in READ),
}
# In its own namespace, and beyond namespaces where it has rights there at all.
OF_ITS_LEASE: Rights = {
    ("coordination.k8s.io", "leases", verb)
    for verb in ("create", "get", "list", "update", "delete")
}
OF_OTHER_LEASES: Rights = {("coordination.k8s.io", "leases", "get")}
# Only where they are switched on.
OF_SERVICE_ACCOUNT_TOKENS: Rights = {("", "serviceaccounts/token", "create")}
ON_DEMAND = OF_SERVICE_ACCOUNT_TOKENS
OF_STOPPING: Rights = {("apps", "deployments/scale", "patch"), ("", "pods", "list")}
WRITE = ("create", "update", "patch", "delete", "deletecollection")


def hook(document: dict[str, Any]) -> str | None:
    """When Helm makes it, None for what is a part of the release."""
    found: str | None = document["metadata"].get("annotations", {}).get("helm.sh/hook")
    return found


def rights(role: dict[str, Any], *, named: bool = False) -> Rights:
    """Everything that a role allows, one by one. Names are used where told, and URLs never."""
    fields = {"apiGroups", "resources", "verbs"}
    for rule in role["rules"]:
        assert rule.keys() - ({"resourceNames"} if named else set()) == fields
    return {
        (group, resource, verb)
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def of_the_operator(helm: Helm, values: dict[str, Any]) -> dict[str, Rights]:
    """What the operator's ServiceAccount is bound to, by namespace; empty is the whole cluster."""
    objects = [each for each in helm.template(values) if not hook(each)]
    bindings = [each for each in objects if each["kind"].endswith("Binding")]
    found = {}
    for binding in bindings:
        assert binding["subjects"] == [
            {"kind": "ServiceAccount", "name": "springline", "namespace": NAMESPACE}
        ]
        namespace = binding["metadata"].get("namespace", "")
        assert binding["roleRef"]["kind"] == ("Role" if namespace else "ClusterRole")
        [role] = [
            each
            for each in objects
            if each["kind"] == binding["roleRef"]["kind"]
            and each["metadata"]["name"] == binding["roleRef"]["name"]
            and each["metadata"].get("namespace", "") == namespace
        ]
        found[namespace] = rights(role)
    assert len(found) == len(bindings)
    return found


EXPECTED: dict[str, dict[str, Rights]] = {
    "the cluster": {
        "": IN_NAMESPACES | FOR_CLUSTER_BROKERS | OF_OTHER_LEASES,
        NAMESPACE: OF_ITS_LEASE,
    },
    "the cluster without ClusterBrokers": {
        "": IN_NAMESPACES | OF_OTHER_LEASES,
        NAMESPACE: OF_ITS_LEASE,
    },
    "two namespaces": {
        "orders": IN_NAMESPACES,
        "billing": IN_NAMESPACES,
        NAMESPACE: OF_ITS_LEASE,
    },
    "two namespaces and ClusterBrokers": {
        "orders": IN_NAMESPACES,
        "billing": IN_NAMESPACES,
        "": FOR_CLUSTER_BROKERS | OF_OTHER_LEASES,
        NAMESPACE: OF_ITS_LEASE,
    },
}


@pytest.mark.parametrize("mode", MODES)
def test_the_operator_has_the_documented_rights_and_no_others(helm4: Helm, mode: str) -> None:
    """Some only where they are switched on, and then where the others are."""
    assert of_the_operator(helm4, MODES[mode]) == EXPECTED[mode]
    assert of_the_operator(helm4, with_all([EVERYTHING, MODES[mode]])) == {
        namespace: allowed | ON_DEMAND if allowed >= IN_NAMESPACES else allowed
        for namespace, allowed in EXPECTED[mode].items()
    }


@pytest.mark.parametrize("mode", MODES)
def test_tokens_of_service_accounts_are_created_only_if_allowed(helm4: Helm, mode: str) -> None:
    """Nothing else comes with it."""
    allowed = of_the_operator(
        helm4, with_all([MODES[mode], {"serviceAccountTokens": {"enabled": True}}])
    )
    for namespace, expected in EXPECTED[mode].items():
        more = OF_SERVICE_ACCOUNT_TOKENS if expected >= IN_NAMESPACES else set()
        assert allowed[namespace] == expected | more


@pytest.mark.parametrize("mode", MODES)
def test_secrets_are_written_only_if_allowed(helm4: Helm, mode: str) -> None:
    """Nothing else goes with it."""
    allowed = of_the_operator(helm4, with_all([MODES[mode], {"binding": {"enabled": False}}]))
    assert allowed == {
        namespace: expected - OF_BINDINGS for namespace, expected in EXPECTED[mode].items()
    }


def test_what_stops_the_operator_has_its_rights_only_then(helm4: Helm) -> None:
    """They are made when the release is uninstalled, are good for this operator, and go again."""
    assert [each for each in helm4.template({}) if hook(each) == "pre-delete"] == []
    objects = helm4.objects({"uninstall": {"stopFirst": True}})
    account, role, binding, job = (
        objects[f"{kind}/springline-stop"]
        for kind in ("ServiceAccount", "Role", "RoleBinding", "Job")
    )
    for each in (account, role, binding, job):
        assert hook(each) == "pre-delete"
        policy = each["metadata"]["annotations"]["helm.sh/hook-delete-policy"]
        assert set(policy.split(",")) == {"before-hook-creation", "hook-succeeded", "hook-failed"}
    assert rights(role, named=True) == OF_STOPPING
    assert role["rules"][0]["resourceNames"] == ["springline"]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    [subject] = binding["subjects"]
    assert subject["name"] == account["metadata"]["name"]
    assert job["spec"]["template"]["spec"]["serviceAccountName"] == subject["name"]


def test_service_binding_controllers_find_connections(helm4: Helm) -> None:
    """Service Binding specification: by a label that their role aggregates; no Secrets with it."""
    name = "ClusterRole/springline-service-binding"
    role = helm4.objects({})[name]
    assert role["metadata"]["labels"]["servicebinding.io/controller"] == "true"
    assert rights(role) == {("springline.dev", "brokerconnections", verb) for verb in READ}
    assert name not in helm4.objects({"binding": {"enabled": False}})


def test_the_definition_says_that_it_has_bindings(helm4: Helm) -> None:
    """Service Binding specification: by a label, so that services can be found."""
    label = "servicebinding.io/provisioned-service"
    labelled = {
        name
        for name, each in helm4.objects({}).items()
        if each["metadata"].get("labels", {}).get(label) == "true"
    }
    assert labelled == {"CustomResourceDefinition/brokerconnections.springline.dev"}


@pytest.fixture(scope="module")
def defaults(helm4: Helm) -> Objects:
    return helm4.objects({})


def test_people_are_given_rights_by_the_roles_they_have(defaults: Objects) -> None:
    """Kubernetes' view, edit and admin take in what carries their label."""
    roles = {
        name: {
            label.rpartition("/aggregate-to-")[2]
            for label in role["metadata"]["labels"]
            if "/aggregate-to-" in label
        }
        for name, role in defaults.items()
        if name.startswith("ClusterRole/")
    }
    assert roles == {
        "ClusterRole/springline": set(),
        "ClusterRole/springline-view": {"view", "edit", "admin", "cluster-reader"},
        "ClusterRole/springline-edit": {"edit", "admin"},
        "ClusterRole/springline-service-binding": set(),
        # ClusterBrokers are matters of the platform.
        "ClusterRole/springline-clusterbroker-viewer": set(),
        "ClusterRole/springline-clusterbroker-editor": set(),
    }


def test_people_have_the_documented_rights_and_no_others(defaults: Objects) -> None:
    """Nobody may write status but the operator, and nobody is given Secrets."""
    kinds = ("brokers", "brokerconnections")
    seen = {("springline.dev", "clusterbrokers", verb) for verb in READ} | {
        ("springline.dev", "clusterbrokers/status", "get")
    }
    expected = {
        "view": {
            *(("springline.dev", kind, verb) for kind in kinds for verb in READ),
            *(("springline.dev", f"{kind}/status", "get") for kind in kinds),
        },
        "edit": {("springline.dev", kind, verb) for kind in kinds for verb in WRITE},
        "clusterbroker-viewer": seen,
        "clusterbroker-editor": seen
        | {("springline.dev", "clusterbrokers", verb) for verb in WRITE},
    }
    for name, allowed in expected.items():
        assert rights(defaults[f"ClusterRole/springline-{name}"]) == allowed


def test_a_release_can_be_without_anything_of_the_cluster(helm4: Helm) -> None:
    """Somebody who administers a namespace can install it there."""
    values = with_all(
        [
            EVERYTHING,
            {"watch": {"namespaces": ["orders"]}},
            {"crds": {"install": False}, "rbac": {"userRoles": False}},
        ]
    )
    assert [
        each["kind"] for each in helm4.template(values) if "namespace" not in each["metadata"]
    ] == []


def test_the_readme_tells_the_rights() -> None:
    """The two tables of the operator's rights, right by right."""
    text = (CHART / "README.md").read_text(encoding="utf-8")
    told = {
        (resource, verb)
        for line in text.splitlines()
        if (row := re.fullmatch(r"\| (`[a-z/`, ]+`) \| ([a-z, ]+) \| .* \|", line))
        for resource in re.findall(r"`([a-z/]+)`", row[1])
        for verb in row[2].split(", ")
    }
    assert told == {
        (resource, verb)
        for _, resource, verb in IN_NAMESPACES
        | FOR_CLUSTER_BROKERS
        | OF_ITS_LEASE
        | ON_DEMAND
        | OF_STOPPING
    }
