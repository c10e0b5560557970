"""The operator's Pod: what it may do, what it is told, and what else selects it."""

import http.server
import subprocess
import sys
import threading
from ipaddress import ip_network
from pathlib import Path
from typing import Any, ClassVar

import pytest
import yaml

import springline
from springline import cli
from support import ports
from support.chart import Helm, Objects, with_all
from support.chart_values import EVERYTHING, MODES
from support.markdown import Page

ROOT = Path(__file__).resolve().parents[2]
DEPLOYMENT = "Deployment/springline"
# What the pod says of itself, by the downward API.
OWN = ("holder", "lease_namespace")


@pytest.fixture(scope="module", params=["defaults", "everything"])
def objects(request: pytest.FixtureRequest, helm4: Helm) -> Objects:
    return helm4.objects(EVERYTHING if request.param == "everything" else {})


def pods(objects: Objects) -> dict[str, dict[str, Any]]:
    """Metadata and spec of every Pod that the chart leads to."""
    found = {
        "operator": objects[DEPLOYMENT]["spec"]["template"],
        "test": objects["Pod/springline-ready"],
    }
    if job := objects.get("Job/springline-stop"):
        found["stop"] = job["spec"]["template"]
    return found


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    """The chart's own, which is the first; others are those of `extraContainers`."""
    container: dict[str, Any] = pod["spec"]["containers"][0]
    return container


def test_a_pod_has_no_rights_on_its_node(objects: Objects) -> None:
    """The Pod Security Standard `restricted`, and a file system that cannot be written."""
    for pod in pods(objects).values():
        spec = pod["spec"]
        assert spec["securityContext"] == {
            "runAsNonRoot": True,
            "runAsUser": 65532,
            "runAsGroup": 65532,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        assert container_of(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "privileged": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert spec.keys().isdisjoint({"hostNetwork", "hostPID", "hostIPC"})


def test_a_pod_asks_for_what_it_needs_and_has_a_limit_of_memory(objects: Objects) -> None:
    """A limit of CPU would throttle heartbeats."""
    for pod in pods(objects).values():
        resources = container_of(pod)["resources"]
        assert resources["requests"].keys() == {"cpu", "memory"}
        assert resources["limits"].keys() == {"memory"}


def test_only_the_operator_has_containers_of_others(objects: Objects) -> None:
    """What is to be beside it is of no use beside a program that ends."""
    found = pods(objects)
    extra = "initContainers" in found.pop("operator")["spec"]
    assert extra == (objects.keys() >= {"Job/springline-stop"})
    for pod in found.values():
        assert len(pod["spec"]["containers"]) == 1
        assert "initContainers" not in pod["spec"]


def test_the_operator_writes_no_file(helm4: Helm) -> None:
    """There is nowhere to, unless that is asked for; and then it is memory."""
    assert "volumes" not in pods(helm4.objects({}))["operator"]["spec"]
    pod = pods(helm4.objects({"tmp": {"enabled": True}}))["operator"]
    [mount] = container_of(pod)["volumeMounts"]
    [volume] = pod["spec"]["volumes"]
    assert mount["name"] == volume["name"]
    assert volume["emptyDir"] == {"medium": "Memory", "sizeLimit": "16Mi"}


def test_there_is_never_a_second_operator(objects: Objects) -> None:
    """It would hold every session a second time."""
    spec = objects[DEPLOYMENT]["spec"]
    assert spec["replicas"] == 1
    assert spec["strategy"] == {"type": "Recreate"}


def test_health_is_asked_for_where_it_is_served(objects: Objects) -> None:
    """Probes, Service and monitors name the port; the operator is told its number."""
    container = container_of(pods(objects)["operator"])
    [port] = container["ports"]
    assert port["name"] == "http"
    [listen] = [each for each in container["args"] if each.startswith("--listen=")]
    assert listen.endswith(f":{port['containerPort']}")
    asked = {
        name: container[f"{name}Probe"]["httpGet"] for name in ("startup", "liveness", "readiness")
    }
    assert asked == {
        "startup": {"path": "/healthz", "port": "http"},
        "liveness": {"path": "/healthz", "port": "http"},
        "readiness": {"path": "/readyz", "port": "http"},
    }
    [served] = objects["Service/springline"]["spec"]["ports"]
    assert served["targetPort"] == "http"


def test_services_of_the_namespace_are_no_options(objects: Objects) -> None:
    """Kubernetes would make SPRINGLINE_… variables of a Service with such a name."""
    for pod in pods(objects).values():
        assert pod["spec"]["enableServiceLinks"] is False


def test_status_names_the_pod(objects: Objects) -> None:
    """Whatever the host is called."""
    container = container_of(pods(objects)["operator"])
    assert container["env"][0] == {
        "name": "SPRINGLINE_OPERATOR_HOLDER",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}},
    }
    assert "holder" in {each.name for each in cli.main.commands["operator"].params}


def test_the_lease_is_where_the_role_for_it_is(objects: Objects) -> None:
    """In the namespace of the pod, whatever a kubeconfig says."""
    container = container_of(pods(objects)["operator"])
    assert container["env"][1] == {
        "name": "SPRINGLINE_OPERATOR_LEASE_NAMESPACE",
        "valueFrom": {"fieldRef": {"fieldPath": "metadata.namespace"}},
    }
    assert "lease_namespace" in {each.name for each in cli.main.commands["operator"].params}
    role = objects["Role/springline-lease"]
    where = objects[DEPLOYMENT]["metadata"]["namespace"]
    assert role["metadata"]["namespace"] == where


def test_no_other_pod_is_taken_for_the_operator(objects: Objects) -> None:
    """Otherwise the Service would ask it for metrics, and the budget would count it."""
    selectors = {
        DEPLOYMENT: objects[DEPLOYMENT]["spec"]["selector"]["matchLabels"],
        "Service/springline": objects["Service/springline"]["spec"]["selector"],
    }
    for kind in ("ServiceMonitor", "PodDisruptionBudget"):
        if each := objects.get(f"{kind}/springline"):
            selectors[kind] = each["spec"]["selector"]["matchLabels"]
    if policy := objects.get("NetworkPolicy/springline"):
        selectors["NetworkPolicy"] = policy["spec"]["podSelector"]["matchLabels"]
    labels = {name: pod["metadata"]["labels"] for name, pod in pods(objects).items()}
    for selector in selectors.values():
        assert {name for name, each in labels.items() if selector.items() <= each.items()} == {
            "operator"
        }


def test_a_new_chart_with_the_same_image_leaves_the_pod_alone(objects: Objects) -> None:
    """Sessions would be closed for nothing."""
    assert "helm.sh/chart" in objects[DEPLOYMENT]["metadata"]["labels"]
    labels = objects[DEPLOYMENT]["spec"]["template"]["metadata"]["labels"]
    assert labels.keys() & {"helm.sh/chart", "app.kubernetes.io/version"} == set()


def test_the_test_pod_may_pass_the_network_policy(helm4: Helm) -> None:
    """Also where others are few."""
    objects = helm4.objects(EVERYTHING)
    [rule] = objects["NetworkPolicy/springline"]["spec"]["ingress"]
    selected = [
        each["podSelector"]["matchLabels"] for each in rule["from"] if "podSelector" in each
    ]
    labels = pods(objects)["test"]["metadata"]["labels"]
    assert any(selector.items() <= labels.items() for selector in selected)


def test_the_test_pods_program_is_python(objects: Objects) -> None:
    """Of the image, without a shell."""
    container = container_of(pods(objects)["test"])
    python, option, program, url = container["command"]
    assert (python, option) == ("python", "-c")
    compile(program, "ready", "exec")
    port = objects["Service/springline"]["spec"]["ports"][0]["port"]
    assert url == f"http://springline.springline-system.svc:{port}/readyz"


class _Ready(http.server.BaseHTTPRequestHandler):
    """Answers that it is not ready, and then that it is."""

    answers: ClassVar = [503, 200]

    def do_GET(self) -> None:
        self.send_response(self.answers.pop(0) if self.path == "/readyz" else 404)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_the_test_pods_program_waits_until_the_operator_is_ready(objects: Objects) -> None:
    """A Deployment that was just installed may still be starting."""
    container = container_of(pods(objects)["test"])
    _, option, program, _ = container["command"]
    _Ready.answers = [503, 200]
    lease = ports.lease(1)
    url = f"http://{ports.LOOPBACK}:{lease.ports[0]}/readyz"
    with http.server.HTTPServer((ports.LOOPBACK, lease.ports[0]), _Ready) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        command = [sys.executable, option, program, url]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        server.shutdown()
        serving.join()
    lease.release()
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{url}: ready\n", "")
    assert _Ready.answers == []


def settings(helm: Helm, values: dict[str, Any]) -> dict[str, Any]:
    """What the operator's command line makes of the arguments that it is given."""
    name, *args = container_of(helm.objects(values)[DEPLOYMENT]["spec"]["template"])["args"]
    command = cli.main.commands[name]
    return command.make_context(name, args, parent=None).params


@pytest.mark.parametrize("mode", MODES)
def test_the_operator_understands_its_arguments(helm4: Helm, mode: str) -> None:
    """In every mode, and with everything switched on."""
    watch = MODES[mode].get("watch", {})
    for values in (MODES[mode], with_all([EVERYTHING, MODES[mode]])):
        understood = settings(helm4, values)
        assert understood["namespaces"] == tuple(watch.get("namespaces", ()))
        assert understood["cluster_brokers"] == watch.get("clusterBrokers")


def test_values_arrive_as_settings(helm4: Helm) -> None:
    """Each in the option that means the same; more arguments count last."""
    understood = settings(helm4, with_all([EVERYTHING, {"shutdownTimeout": 7}]))
    assert {name: each for name, each in understood.items() if name not in OWN} == {
        "listen": "[::]:9090",
        "namespaces": (),
        "cluster_brokers": None,
        "require_secret_label": True,
        "allow_addresses": (ip_network("169.254.20.0/24"), ip_network("::1")),
        "token_dir": None,
        "per_object_metrics": False,
        "least_retry_delay": 2.5,
        "least_renewal_interval": 5.0,
        "attempts_at_once": 50,
        "shutdown_timeout": 7.0,
        "log_level": "debug",
        "log_format": "json",
        "kubeconfig": None,
        "context": None,
        "lease_duration": 15,
        "name_lookups": 64,
    }


def test_a_volume_of_tokens_is_mounted_where_the_operator_looks(helm4: Helm) -> None:
    """With the values that docs/operations.md shows, for the connection that it shows."""
    page = Page(ROOT / "docs" / "operations.md")
    blocks = [yaml.safe_load(each.text) for each in page.blocks if each.language == "yaml"]
    [values] = [each for each in blocks if "extraVolumes" in each]
    [connection] = [each for each in blocks if "credentials" in each]
    directory = settings(helm4, values)["token_dir"]
    spec = helm4.objects(values)[DEPLOYMENT]["spec"]["template"]["spec"]
    [volume] = spec["volumes"]
    [mount] = spec["containers"][0]["volumeMounts"]
    [source] = volume["projected"]["sources"]
    assert mount["name"] == volume["name"]
    found = Path(mount["mountPath"]) / source["serviceAccountToken"]["path"]
    assert found == directory / "orders" / connection["credentials"]["tokenFile"]["name"]


def test_kubernetes_waits_longer_than_sessions_may_take(helm4: Helm) -> None:
    """Otherwise their last status is lost."""
    spec = helm4.objects({"shutdownTimeout": 60})[DEPLOYMENT]["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 70


# Health


def probe(helm: Helm, name: str) -> dict[str, Any]:
    found: dict[str, Any] = container_of(pods(helm.objects({}))["operator"])[f"{name}Probe"]
    return found


def test_the_first_probe_comes_when_the_operator_listens(helm4: Helm) -> None:
    """Kubernetes writes a warning for each that fails; and a slow start is given a minute."""
    startup = probe(helm4, "startup")
    assert startup["initialDelaySeconds"] == 5
    assert startup["failureThreshold"] * startup["periodSeconds"] >= 60


def test_a_frozen_operator_is_not_waited_for(helm4: Helm) -> None:
    """It cannot close what it is given the time for; one that is stopped has that time."""
    pod = pods(helm4.objects({}))["operator"]
    assert probe(helm4, "liveness")["terminationGracePeriodSeconds"] == 5
    assert pod["spec"]["terminationGracePeriodSeconds"] == 30
    # An API server refuses it where nothing is ended.
    assert "terminationGracePeriodSeconds" not in probe(helm4, "readiness")


# Its image


@pytest.mark.parametrize(
    ("repository", "image"),
    [
        ("ghcr.io/springline/springline", "mirror.example.com/springline/springline"),
        ("registry.example.com:5000/a/b/c", "mirror.example.com/a/b/c"),
        ("localhost/springline", "mirror.example.com/springline"),
        ("springline/springline", "mirror.example.com/springline/springline"),
        ("springline", "mirror.example.com/springline"),
    ],
)
def test_a_registry_for_all_charts_takes_the_place_of_the_images_own(
    helm: Helm, repository: str, image: str
) -> None:
    """What is before the first slash is a registry if it could be a host; else there is none."""
    for registry in ("mirror.example.com", "mirror.example.com/"):
        values = {"global": {"imageRegistry": registry}, "image": {"repository": repository}}
        objects = helm.objects({**values, "uninstall": {"stopFirst": True}})
        found = {container_of(pod)["image"] for pod in pods(objects).values()}
        assert found == {f"{image}:{springline.__version__}"}


def test_every_pod_has_the_operators_image(objects: Objects) -> None:
    """There is no other to pull, and all are pulled in the same way."""
    same = {
        (
            container_of(pod)["image"],
            container_of(pod)["imagePullPolicy"],
            str(pod["spec"].get("imagePullSecrets")),
        )
        for pod in pods(objects).values()
    }
    assert len(same) == 1


def test_pull_secrets_of_the_chart_and_of_all_charts_are_both_used(helm: Helm) -> None:
    """Each once, whether it is a name or an object with one."""
    values = {
        "imagePullSecrets": ["a", {"name": "b"}],
        "global": {"imagePullSecrets": [{"name": "a"}, "c"]},
    }
    for pod in pods(helm.objects(values)).values():
        assert pod["spec"]["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}, {"name": "c"}]
    for pod in pods(helm.objects({"global": {"imagePullSecrets": None}})).values():
        assert "imagePullSecrets" not in pod["spec"]
