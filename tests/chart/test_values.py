"""Every value: explained, in the schema, in the table, and doing what it says."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

import springline
from support import chart_files
from support.chart import Helm, nested, with_all
from support.chart_files import CHART


def test_every_value_is_explained() -> None:
    """A comment with two dashes in front of it, or of the object that it is a part of."""
    assert chart_files.undocumented() == []


def test_every_explanation_is_a_sentence() -> None:
    """It is a row of a table."""
    for value in chart_files.values():
        assert value.description.rstrip("`").endswith((".", ".'")), value.path
        assert "  " not in value.description, value.path


# What each value does


@dataclass(frozen=True, slots=True)
class Has:
    """A list or a text that holds this."""

    what: object


@dataclass(frozen=True, slots=True)
class Effect:
    """What becomes of a value: a place in a rendered object, and what is there."""

    value: object
    # Kind and name, then the way to the place.
    place: tuple[str | int, ...]
    # None: there is no such place.
    rendered: object
    # Other values it takes.
    beside: dict[str, Any]


def effect(value: object, place: str, rendered: object, beside: Any = None) -> Effect:
    """`place` is the object, then the way to it, with spaces in between."""
    steps = tuple(int(step) if step.isdecimal() else step for step in place.split())
    return Effect(value, steps, rendered, beside or {})


LABELS = {"example.com/team": "messaging"}
SERVICE_MONITOR = nested("metrics.serviceMonitor.enabled", True)
POD_MONITOR = nested("metrics.podMonitor.enabled", True)
DASHBOARD = nested("dashboard.enabled", True)
RULES = nested("prometheusRule.enabled", True)
POLICY = nested("networkPolicy.enabled", True)
BUDGET = nested("podDisruptionBudget.enabled", True)
ARGS = "Deployment/springline spec template spec containers 0 args"
CONTAINER = "Deployment/springline spec template spec containers 0"
POD = "Deployment/springline spec template spec"
SCRAPED = "ServiceMonitor/springline spec endpoints 0"
POD_SCRAPED = "PodMonitor/springline spec podMetricsEndpoints 0"
RULE = "PrometheusRule/springline"
CRD = "CustomResourceDefinition/brokers.springline.dev metadata"
DIGEST = f"sha256:{'ab' * 32}"
RELABELING = [{"action": "labeldrop", "regex": "endpoint"}]
TOLERATION = [{"key": "infra", "operator": "Exists"}]
VOLUME = [{"name": "tmp", "emptyDir": {"medium": "Memory"}}]
MOUNT = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - in a container
HELPER = {"name": "helper", "image": "helper:1"}
OBJECT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "own"}}
PEER = {"podSelector": {"matchLabels": {"app": "prometheus"}}}
ONE_PORT = [{"ports": [{"port": 5671, "protocol": "TCP"}]}]

EFFECTS: dict[str, Effect] = {
    "nameOverride": effect(
        "lines", "Deployment/springline-lines metadata name", "springline-lines"
    ),
    "fullnameOverride": effect("lines", "Deployment/lines metadata name", "lines"),
    "namespaceOverride": effect("other", "Deployment/springline metadata namespace", "other"),
    "global.imageRegistry": effect(
        "mirror.example.com",
        f"{CONTAINER} image",
        f"mirror.example.com/springline/springline:{springline.__version__}",
    ),
    "global.imagePullSecrets": effect(["a"], f"{POD} imagePullSecrets", [{"name": "a"}]),
    "commonLabels": effect(LABELS, "Service/springline metadata labels", Has(LABELS)),
    "commonAnnotations": effect(LABELS, "Service/springline metadata annotations", LABELS),
    "watch.namespaces": effect(["orders"], ARGS, Has("--namespace=orders")),
    "watch.clusterBrokers": effect(False, ARGS, Has("--no-cluster-brokers")),
    "security.requireSecretLabel": effect(True, ARGS, Has("--require-secret-label")),
    "security.allowAddresses": effect(["::1"], ARGS, Has("--allow-addresses=::1")),
    "binding.enabled": effect(False, "ClusterRole/springline-service-binding", None),
    "serviceAccountTokens.enabled": effect(
        True,
        "ClusterRole/springline rules",
        Has({"apiGroups": [""], "resources": ["serviceaccounts/token"], "verbs": ["create"]}),
    ),
    "crds.install": effect(False, CRD, None),
    "crds.keep": effect(False, f"{CRD} annotations", None),
    "crds.annotations": effect(LABELS, f"{CRD} annotations", Has(LABELS)),
    "crds.labels": effect(LABELS, f"{CRD} labels", Has(LABELS)),
    "image.repository": effect("mirror.example.com/x", f"{CONTAINER} image", Has("mirror.ex")),
    "image.tag": effect("7", f"{CONTAINER} image", "ghcr.io/springline/springline:7"),
    "image.digest": effect(DIGEST, f"{CONTAINER} image", f"ghcr.io/springline/springline@{DIGEST}"),
    "image.pullPolicy": effect("Always", f"{CONTAINER} imagePullPolicy", "Always"),
    "imagePullSecrets": effect([{"name": "a"}], f"{POD} imagePullSecrets", [{"name": "a"}]),
    "rbac.create": effect(False, "ClusterRole/springline", None),
    "rbac.userRoles": effect(False, "ClusterRole/springline-edit", None),
    "rbac.aggregate": effect(
        False,
        "ClusterRole/springline-edit metadata labels rbac.authorization.k8s.io/aggregate-to-edit",
        None,
    ),
    "serviceAccount.create": effect(False, f"{POD} serviceAccountName", "default"),
    "serviceAccount.name": effect("robot", f"{POD} serviceAccountName", "robot"),
    "serviceAccount.annotations": effect(
        LABELS, "ServiceAccount/springline metadata annotations", LABELS
    ),
    "serviceAccount.labels": effect(
        LABELS, "ServiceAccount/springline metadata labels", Has(LABELS)
    ),
    "serviceAccount.automount": effect(False, f"{POD} automountServiceAccountToken", False),
    "listen.host": effect("[::]", ARGS, Has("--listen=[::]:8080")),
    "listen.port": effect(9090, f"{CONTAINER} ports 0 containerPort", 9090),
    "log.level": effect("debug", ARGS, Has("--log-level=debug")),
    "log.format": effect("plain", ARGS, Has("--log-format=plain")),
    "shutdownTimeout": effect(60, ARGS, Has("--shutdown-timeout=60")),
    "limits.leastRetryDelay": effect(3, ARGS, Has("--least-retry-delay=3")),
    "limits.leastRenewalInterval": effect(30, ARGS, Has("--least-renewal-interval=30")),
    "limits.attemptsAtOnce": effect(50, ARGS, Has("--attempts-at-once=50")),
    "limits.nameLookups": effect(16, ARGS, Has("--name-lookups=16")),
    "metrics.perObject": effect(False, ARGS, Has("--no-per-object-metrics")),
    "metrics.service.enabled": effect(False, "Service/springline", None),
    "metrics.service.port": effect(80, "Service/springline spec ports 0 port", 80),
    "metrics.service.ipFamilyPolicy": effect(
        "PreferDualStack", "Service/springline spec ipFamilyPolicy", "PreferDualStack"
    ),
    "metrics.service.ipFamilies": effect(["IPv6"], "Service/springline spec ipFamilies", ["IPv6"]),
    "metrics.service.annotations": effect(
        LABELS, "Service/springline metadata annotations", LABELS
    ),
    "metrics.service.labels": effect(LABELS, "Service/springline metadata labels", Has(LABELS)),
    "metrics.serviceMonitor.enabled": effect(True, f"{SCRAPED} port", "http"),
    "metrics.serviceMonitor.namespace": effect(
        "mon", "ServiceMonitor/springline metadata namespace", "mon", SERVICE_MONITOR
    ),
    "metrics.serviceMonitor.labels": effect(
        LABELS, "ServiceMonitor/springline metadata labels", Has(LABELS), SERVICE_MONITOR
    ),
    "metrics.serviceMonitor.annotations": effect(
        LABELS, "ServiceMonitor/springline metadata annotations", LABELS, SERVICE_MONITOR
    ),
    "metrics.serviceMonitor.interval": effect(
        "1m30s", f"{SCRAPED} interval", "1m30s", SERVICE_MONITOR
    ),
    "metrics.serviceMonitor.scrapeTimeout": effect(
        "5s", f"{SCRAPED} scrapeTimeout", "5s", SERVICE_MONITOR
    ),
    "metrics.serviceMonitor.honorLabels": effect(
        False, f"{SCRAPED} honorLabels", False, SERVICE_MONITOR
    ),
    "metrics.serviceMonitor.relabelings": effect(
        RELABELING, f"{SCRAPED} relabelings", RELABELING, SERVICE_MONITOR
    ),
    "metrics.serviceMonitor.metricRelabelings": effect(
        RELABELING, f"{SCRAPED} metricRelabelings", RELABELING, SERVICE_MONITOR
    ),
    "metrics.podMonitor.enabled": effect(True, f"{POD_SCRAPED} port", "http"),
    "metrics.podMonitor.namespace": effect(
        "mon", "PodMonitor/springline metadata namespace", "mon", POD_MONITOR
    ),
    "metrics.podMonitor.labels": effect(
        LABELS, "PodMonitor/springline metadata labels", Has(LABELS), POD_MONITOR
    ),
    "metrics.podMonitor.annotations": effect(
        LABELS, "PodMonitor/springline metadata annotations", LABELS, POD_MONITOR
    ),
    "metrics.podMonitor.interval": effect("30s", f"{POD_SCRAPED} interval", "30s", POD_MONITOR),
    "metrics.podMonitor.scrapeTimeout": effect(
        "5s", f"{POD_SCRAPED} scrapeTimeout", "5s", POD_MONITOR
    ),
    "metrics.podMonitor.honorLabels": effect(
        False, f"{POD_SCRAPED} honorLabels", False, POD_MONITOR
    ),
    "metrics.podMonitor.relabelings": effect(
        RELABELING, f"{POD_SCRAPED} relabelings", RELABELING, POD_MONITOR
    ),
    "metrics.podMonitor.metricRelabelings": effect(
        RELABELING, f"{POD_SCRAPED} metricRelabelings", RELABELING, POD_MONITOR
    ),
    "dashboard.enabled": effect(
        True, "ConfigMap/springline-dashboard data", Has("springline.json")
    ),
    "dashboard.namespace": effect(
        "mon", "ConfigMap/springline-dashboard metadata namespace", "mon", DASHBOARD
    ),
    "dashboard.labels": effect(
        LABELS, "ConfigMap/springline-dashboard metadata labels", Has(LABELS), DASHBOARD
    ),
    "dashboard.annotations": effect(
        LABELS, "ConfigMap/springline-dashboard metadata annotations", LABELS, DASHBOARD
    ),
    "dashboard.folder": effect(
        "Brokers",
        "ConfigMap/springline-dashboard metadata annotations",
        {"grafana_folder": "Brokers"},
        DASHBOARD,
    ),
    "prometheusRule.enabled": effect(True, f"{RULE} spec groups 0 name", "springline-connections"),
    "prometheusRule.namespace": effect("mon", f"{RULE} metadata namespace", "mon", RULES),
    "prometheusRule.labels": effect(LABELS, f"{RULE} metadata labels", Has(LABELS), RULES),
    "prometheusRule.annotations": effect(LABELS, f"{RULE} metadata annotations", LABELS, RULES),
    "prometheusRule.interval": effect("1m", f"{RULE} spec groups 0 interval", "1m", RULES),
    "prometheusRule.job": effect("x", f"{RULE} spec groups 2 rules 0 expr", Has('job="x"'), RULES),
    "prometheusRule.runbookURL": effect(
        "https://docs.example.com/{alert}",
        f"{RULE} spec groups 2 rules 0 annotations runbook_url",
        "https://docs.example.com/SpringlineDown",
        RULES,
    ),
    "prometheusRule.alertLabels": effect(
        {"team": "messaging"},
        f"{RULE} spec groups 0 rules 0 labels",
        Has({"team": "messaging"}),
        RULES,
    ),
    "prometheusRule.alerts": effect(
        {"SpringlineDown": {"severity": "page"}},
        f"{RULE} spec groups 2 rules 0 labels severity",
        "page",
        RULES,
    ),
    "networkPolicy.enabled": effect(
        True, "NetworkPolicy/springline spec policyTypes", ["Ingress", "Egress"]
    ),
    "networkPolicy.ingressFrom": effect(
        [PEER], "NetworkPolicy/springline spec ingress 0 from", Has(PEER), POLICY
    ),
    "networkPolicy.dnsPorts": effect(
        [54],
        "NetworkPolicy/springline spec egress 0 ports",
        [{"port": 54, "protocol": "UDP"}, {"port": 54, "protocol": "TCP"}],
        POLICY,
    ),
    "networkPolicy.egress": effect(
        ONE_PORT, "NetworkPolicy/springline spec egress 1", ONE_PORT[0], POLICY
    ),
    "networkPolicy.egressExcept": effect(
        ["10.0.0.0/8"],
        "NetworkPolicy/springline spec egress 2 to",
        Has({"ipBlock": {"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}}),
        POLICY,
    ),
    "networkPolicy.apiServerPorts": effect(
        [8443],
        "NetworkPolicy/springline spec egress 1 ports",
        [{"port": 8443, "protocol": "TCP"}],
        POLICY,
    ),
    "podDisruptionBudget.enabled": effect(
        True, "PodDisruptionBudget/springline spec minAvailable", 1
    ),
    "podDisruptionBudget.minAvailable": effect(
        0, "PodDisruptionBudget/springline spec minAvailable", 0, BUDGET
    ),
    "podDisruptionBudget.maxUnavailable": effect(
        "100%",
        "PodDisruptionBudget/springline spec maxUnavailable",
        "100%",
        {"podDisruptionBudget": {"enabled": True, "minAvailable": None}},
    ),
    "resources": effect(
        {"limits": {"memory": "1Gi"}}, f"{CONTAINER} resources limits memory", "1Gi"
    ),
    "probes.startup": effect(
        {"failureThreshold": 9}, f"{CONTAINER} startupProbe failureThreshold", 9
    ),
    "probes.liveness": effect({"periodSeconds": 9}, f"{CONTAINER} livenessProbe periodSeconds", 9),
    "probes.readiness": effect(
        {"timeoutSeconds": 9}, f"{CONTAINER} readinessProbe timeoutSeconds", 9
    ),
    "podSecurityContext": effect(
        {"runAsUser": None, "runAsGroup": None},
        f"{POD} securityContext",
        {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    ),
    "securityContext": effect({"runAsUser": 7}, f"{CONTAINER} securityContext runAsUser", 7),
    "hostUsers": effect(False, f"{POD} hostUsers", False),
    "tmp.enabled": effect(
        True,
        f"{CONTAINER} volumeMounts",
        [{"name": "springline-tmp", "mountPath": "/tmp"}],  # noqa: S108 - in a container
    ),
    "tmp.sizeLimit": effect(
        "1Mi", f"{POD} volumes 0 emptyDir sizeLimit", "1Mi", nested("tmp.enabled", True)
    ),
    "deploymentAnnotations": effect(LABELS, "Deployment/springline metadata annotations", LABELS),
    "podAnnotations": effect(
        LABELS, "Deployment/springline spec template metadata annotations", Has(LABELS)
    ),
    "podLabels": effect(LABELS, "Deployment/springline spec template metadata labels", Has(LABELS)),
    "revisionHistoryLimit": effect(0, "Deployment/springline spec revisionHistoryLimit", 0),
    "nodeSelector": effect({"disk": "ssd"}, f"{POD} nodeSelector disk", "ssd"),
    "affinity": effect({"podAffinity": {}}, f"{POD} affinity", {"podAffinity": {}}),
    "tolerations": effect(TOLERATION, f"{POD} tolerations", TOLERATION),
    "topologySpreadConstraints": effect(
        [{"maxSkew": 1}], f"{POD} topologySpreadConstraints", [{"maxSkew": 1}]
    ),
    "priorityClassName": effect("high", f"{POD} priorityClassName", "high"),
    "hostAliases": effect([{"ip": "10.0.0.1"}], f"{POD} hostAliases", [{"ip": "10.0.0.1"}]),
    "dnsPolicy": effect("Default", f"{POD} dnsPolicy", "Default"),
    "dnsConfig": effect({"searches": ["x"]}, f"{POD} dnsConfig", {"searches": ["x"]}),
    "extraArgs": effect(["--context=x"], ARGS, Has("--context=x")),
    "extraEnv": effect([{"name": "A"}], f"{CONTAINER} env", Has({"name": "A"})),
    "extraEnvFrom": effect(
        [{"secretRef": {"name": "a"}}], f"{CONTAINER} envFrom", [{"secretRef": {"name": "a"}}]
    ),
    "extraVolumes": effect(VOLUME, f"{POD} volumes", VOLUME),
    "extraVolumeMounts": effect(MOUNT, f"{CONTAINER} volumeMounts", MOUNT),
    "extraContainers": effect([HELPER], f"{POD} containers 1", HELPER),
    "extraInitContainers": effect([HELPER], f"{POD} initContainers", [HELPER]),
    "extraObjects": effect([OBJECT], "ConfigMap/own", OBJECT),
    "uninstall.stopFirst": effect(True, "Job/springline-stop spec backoffLimit", 0),
    "tests.enabled": effect(False, "Pod/springline-ready", None),
}
# For another chart, which takes this one in; see test_files.py.
WITHOUT_EFFECT = {"enabled"}


def test_of_every_value_the_effect_is_known() -> None:
    """A value that nothing comes of is not there."""
    assert EFFECTS.keys() | WITHOUT_EFFECT == {value.path for value in chart_files.values()}


@pytest.mark.parametrize("path", EFFECTS)
def test_a_value_does_what_it_says(helm4: Helm, path: str) -> None:
    """And the default does not."""
    each = EFFECTS[path]
    assert _matches(helm4, with_all([each.beside, nested(path, each.value)]), each)
    # What is chosen beside it could not be rendered without it.
    if path != "podDisruptionBudget.maxUnavailable":
        assert not _matches(helm4, each.beside, each)


def _matches(helm: Helm, values: dict[str, Any], wanted: Effect) -> bool:
    found: Any = helm.objects(values)
    for step in wanted.place:
        if isinstance(step, int):
            found = found[step] if step < len(found) else None
        else:
            found = found.get(step)
        if found is None:
            break
    match wanted.rendered:
        case Has(what=dict(items)) if isinstance(found, dict):
            return items.items() <= found.items()
        case Has(what=what):
            return found is not None and what in found
        case _:
            return bool(found == wanted.rendered)


# The schema


def schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text("utf-8"))
    return loaded


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """A part of the schema, or what it refers to."""
    reference = part.get("$ref")
    if reference is None:
        return part
    definition: dict[str, Any] = schema()["definitions"][reference.rpartition("/")[2]]
    return definition


def declared(part: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """The paths of all properties of the schema, without those of lists' items."""
    for name, each in part.get("properties", {}).items():
        yield f"{prefix}{name}"
        yield from declared(resolved(each), f"{prefix}{name}.")


def test_the_schema_knows_every_value_and_no_others() -> None:
    """What is in it below a documented object of Kubernetes' is Kubernetes' own."""
    values = {value.path for value in chart_files.values()}
    above = {path.rpartition(".")[0] for path in values} | {"metrics"} - {""}
    paths = set(declared(schema()))
    assert paths >= values
    others = paths - values - above
    assert {path for path in others if not any(path.startswith(f"{each}.") for each in values)} == (
        set()
    )


def test_the_schema_is_strict() -> None:
    """Every object names its fields, or says what all of them are, or is Kubernetes' own."""

    def loose(part: Any, path: str) -> Iterator[str]:
        if isinstance(part, list):
            for number, each in enumerate(part):
                yield from loose(each, f"{path}/{number}")
        if not isinstance(part, dict):
            return
        if part.get("type") == "object" and "additionalProperties" not in part:
            yield path
        for name, each in part.items():
            yield from loose(each, f"{path}/{name}")

    # Parts of Kubernetes' API, which grow; the API server checks them.
    assert set(loose(schema(), "")) == {"/definitions/anything", "/definitions/named/items"}
