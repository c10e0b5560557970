"""Values that are wrong are refused before anything is sent, and the message says which."""

from typing import Any

import pytest

from support import chart_files
from support.chart import Helm, HelmFailed, nested, with_all
from support.chart_values import EVERYTHING

# The value, and a word that the message has.
WRONG: list[Any] = [
    pytest.param("replicas", 2, "replicas", id="a value that there is not"),
    pytest.param("image.tagg", "1", "tagg", id="a slip of the pen"),
    pytest.param("watch.namespace", "orders", "namespace", id="a namespace that is not listed"),
    pytest.param("watch.namespaces", "orders", "namespaces", id="a namespace without a list"),
    pytest.param("watch.namespaces", ["Orders"], "namespaces", id="a namespace in capitals"),
    pytest.param("watch.namespaces", ["a", "a"], "namespaces", id="a namespace listed twice"),
    pytest.param("watch.namespaces", [7], "namespaces", id="a number for a namespace"),
    pytest.param("watch.namespaces", [""], "namespaces", id="an empty namespace"),
    pytest.param("watch.clusterBrokers", "yes", "clusterBrokers", id="a word for a truth"),
    pytest.param("security.requireSecretLabel", "true", "requireSecretLabel", id="a text, too"),
    pytest.param("security.allowAddresses", ["nodes"], "allowAddresses", id="a name for a range"),
    pytest.param("security.allowAddresses", "::1", "allowAddresses", id="a range without a list"),
    pytest.param("binding.enabled", "no", "enabled", id="another word for a truth"),
    pytest.param("serviceAccountTokens", True, "serviceAccountTokens", id="no enabled in it"),
    pytest.param("crds.install", None, "install", id="a truth that is taken away"),
    pytest.param("crds.annotations", {"a": 1}, "annotations", id="an annotation with a number"),
    pytest.param("commonLabels", {"a": "b c"}, "commonLabels", id="a label that is none"),
    pytest.param("podLabels", {"a": True}, "podLabels", id="a label with a truth"),
    pytest.param("nameOverride", "Lines", "nameOverride", id="a name in capitals"),
    pytest.param("fullnameOverride", "n" * 54, "fullnameOverride", id="a name too long"),
    pytest.param("fullnameOverride", "1st", "fullnameOverride", id="a digit first in a Service"),
    pytest.param("image.repository", "", "repository", id="no repository"),
    pytest.param("image.repository", "x y", "repository", id="a space in a repository"),
    pytest.param("image.tag", 1.1, "tag", id="a number for a tag"),
    pytest.param("image.digest", "sha256:abc", "digest", id="a digest too short"),
    pytest.param("image.pullPolicy", "Sometimes", "pullPolicy", id="a policy that there is not"),
    pytest.param("imagePullSecrets", "pull", "imagePullSecrets", id="a pull secret without a list"),
    pytest.param("imagePullSecrets", [{}], "name", id="a pull secret without a name"),
    pytest.param("global.imagePullSecrets", [""], "imagePullSecrets", id="an empty pull secret"),
    pytest.param("global.imageRegistry", "https://x", "imageRegistry", id="a URL for a registry"),
    pytest.param("commonAnnotations", {"a": True}, "commonAnnotations", id="a truth to note"),
    pytest.param("metrics.service.ipFamilies", ["IPv5"], "ipFamilies", id="a family of none"),
    pytest.param("metrics.service.ipFamilyPolicy", "Dual", "ipFamilyPolicy", id="no such policy"),
    pytest.param("hostUsers", "no", "hostUsers", id="a word for a truth of the Pod"),
    pytest.param("tmp.sizeLimit", "much", "sizeLimit", id="a size that is none"),
    pytest.param("extraContainers", [{"image": "x"}], "extraContainers", id="no name to call it"),
    pytest.param("extraInitContainers", {}, "extraInitContainers", id="containers as an object"),
    pytest.param(
        "extraObjects", [{"kind": "Secret"}], "extraObjects", id="an object of no version"
    ),
    pytest.param("uninstall.stopFirst", "yes", "stopFirst", id="a word for one more truth"),
    pytest.param("listen.port", 80, "port", id="a port for root"),
    pytest.param("listen.port", "8080", "port", id="a text for a port"),
    pytest.param("listen.host", "::", "host", id="IPv6 without brackets"),
    pytest.param("log.level", "trace", "level", id="a level that there is not"),
    pytest.param("log.format", "xml", "format", id="a format that there is not"),
    pytest.param("shutdownTimeout", "20s", "shutdownTimeout", id="a duration for seconds"),
    pytest.param("shutdownTimeout", 601, "shutdownTimeout", id="longer than the operator waits"),
    pytest.param("metrics.service.port", 0, "port", id="port 0"),
    pytest.param("metrics.serviceMonitor.interval", 30, "interval", id="seconds for a duration"),
    pytest.param(
        "metrics.podMonitor.interval", "half a minute", "interval", id="a duration in words"
    ),
    pytest.param("dashboard.labels.grafana_dashboard", 1, "labels", id="a number for a label"),
    pytest.param("dashboard.json", "{}", "json", id="another dashboard"),
    pytest.param("prometheusRule.interval", "often", "interval", id="a word for a duration"),
    pytest.param("prometheusRule.runbookURL", "ftp://x", "runbookURL", id="a link to no page"),
    pytest.param("prometheusRule.alertLabels", {"a-b": "c"}, "a-b", id="no label of Prometheus"),
    pytest.param(
        "prometheusRule.alerts", {"SpringlineDown": {"after": "1m"}}, "after", id="no such setting"
    ),
    pytest.param("networkPolicy.ingressFrom", [{}], "ingressFrom", id="a peer that is nobody"),
    pytest.param("networkPolicy.ingressFrom", [{"pods": {}}], "pods", id="a peer of no kind"),
    pytest.param("networkPolicy.dnsPorts", [], "dnsPorts", id="no port for DNS"),
    pytest.param("networkPolicy.egress", [{"from": []}], "from", id="from in egress"),
    pytest.param("networkPolicy.egressExcept", ["10.0.0.1"], "egressExcept", id="no network"),
    pytest.param("networkPolicy.apiServerPorts", ["https"], "apiServerPorts", id="a port's name"),
    pytest.param(
        "podDisruptionBudget.minAvailable", "one", "minAvailable", id="a word for a number"
    ),
    pytest.param("resources.limit", {"memory": "1Gi"}, "limit", id="limit for limits"),
    pytest.param("resources.limits.memory", "1 GB", "memory", id="a quantity that is none"),
    pytest.param("probes.liveness.period", 5, "period", id="a time without its unit"),
    pytest.param("probes.liveness.periodSeconds", 0, "periodSeconds", id="never"),
    pytest.param(
        "probes.readiness.terminationGracePeriodSeconds", 5, "readiness", id="an end of readiness"
    ),
    pytest.param("probes.liveness.successThreshold", 2, "successThreshold", id="alive twice over"),
    pytest.param("extraArgs", "--context=x", "extraArgs", id="an argument without a list"),
    pytest.param("extraEnv", [{"value": "x"}], "extraEnv", id="a variable without a name"),
    pytest.param("extraEnv", {"A": "b"}, "extraEnv", id="variables as an object"),
    pytest.param("tolerations", {"key": "a"}, "tolerations", id="a toleration without a list"),
    pytest.param("affinity.pod", {}, "pod", id="an affinity of no kind"),
    pytest.param("dnsPolicy", "Cluster", "dnsPolicy", id="a DNS policy that there is not"),
    pytest.param("hostAliases", [{"hostnames": ["x"]}], "ip", id="an alias without an address"),
    pytest.param("tests", False, "tests", id="a truth for an object"),
]


@pytest.mark.parametrize(("path", "value", "word"), WRONG)
def test_a_wrong_value_is_refused_by_name(helm: Helm, path: str, value: object, word: str) -> None:
    """Helm checks values.schema.json before it renders."""
    with pytest.raises(HelmFailed) as failed:
        helm.template(nested(path, value))
    message = str(failed.value)
    assert "meet the specifications of the schema" in message
    assert word in message.partition("springline:")[2]


TOGETHER: list[Any] = [
    pytest.param(
        [
            nested("metrics.serviceMonitor.enabled", True),
            nested("metrics.podMonitor.enabled", True),
        ],
        "choose one",
        id="two monitors",
    ),
    pytest.param(
        [
            nested("metrics.serviceMonitor.enabled", True),
            nested("metrics.service.enabled", False),
        ],
        "metrics.serviceMonitor.enabled needs metrics.service.enabled",
        id="a ServiceMonitor without a Service",
    ),
    pytest.param(
        [{"podDisruptionBudget": {"enabled": True, "maxUnavailable": 1}}],
        "exactly one of minAvailable and maxUnavailable is needed",
        id="two budgets",
    ),
    pytest.param(
        [{"podDisruptionBudget": {"enabled": True, "minAvailable": None}}],
        "exactly one of minAvailable and maxUnavailable is needed",
        id="no budget",
    ),
    pytest.param(
        [nested("uninstall.stopFirst", True), nested("rbac.create", False)],
        "uninstall.stopFirst needs rbac.create",
        id="a hook without rights",
    ),
]


@pytest.mark.parametrize(("values", "sentence"), TOGETHER)
def test_values_that_do_not_go_together_are_refused_with_a_sentence(
    helm: Helm, values: list[dict[str, Any]], sentence: str
) -> None:
    """Each alone is right."""
    with pytest.raises(HelmFailed, match=sentence):
        helm.template(with_all(values))


@pytest.mark.parametrize("path", [value.path for value in chart_files.values()])
def test_a_value_that_is_taken_away_is_missed_by_name_or_not_at_all(helm4: Helm, path: str) -> None:
    """With null, Helm leaves a default out; no template may stumble over that."""
    said = ""
    try:
        helm4.template(with_all([EVERYTHING, nested(path, None)]))
    except HelmFailed as error:
        said = str(error)
    assert not said or path.rpartition(".")[2] in said
    assert "nil pointer" not in said
