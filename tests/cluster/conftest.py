"""The cluster that the suite runs on, with the operator in it and a broker beside it.

It is private: a real API server, and the operator as a process that the chart's Deployment
describes. With SPRINGLINE_TEST_KUBECONFIG it is the cluster of that kubeconfig instead, with
everything in pods: for tests that are marked `kind`, which use `kubectl`, `springline`, `rabbit`
and what is built on these, and no `apiserver`.
"""

import itertools
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.apiserver import APIServer, APIServerMissing
from support.helm import Release
from support.identities import Tenant
from support.kubectl import Kubectl
from support.on_cluster import OperatorPod, RabbitMQPod
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.shared_broker import SharedBroker
from support.tools import ToolMissing

CRDS = Path(__file__).resolve().parent.parent.parent / "crds"
RABBITMQ = Path(__file__).resolve().parent / "rabbitmq.yaml"
DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
EXISTING = os.environ.get("SPRINGLINE_TEST_KUBECONFIG")
# Of every tenant; it must not show in anything that the operator writes.
PLANTED = "pl4nted-s3cret"

_numbers = itertools.count()


@pytest.fixture(scope="session")
def apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIServer]:
    """A running API server; skipped, with the reason, where there is none to be had."""
    yield from _apiserver(tmp_path_factory.mktemp("apiserver"), audited=True)


@pytest.fixture(scope="module")
def disposable_apiserver(tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIServer]:
    """One with nothing in it, for a module to do with as it likes."""
    yield from _apiserver(tmp_path_factory.mktemp("disposable"))


def _apiserver(directory: Path, *, audited: bool = False) -> Iterator[APIServer]:
    if EXISTING:
        pytest.skip("this test needs an API server of its own")
    try:
        server = APIServer(directory, audited=audited)
    except APIServerMissing as error:
        pytest.skip(f"the cluster tests did not run: {error}")
    with server:
        yield server


@pytest.fixture(scope="session")
def cluster(apiserver: APIServer) -> APIServer:
    """The API server with our resources served."""
    # As if Helm had installed them with the chart, so that it can do so afterwards.
    labels = {"app.kubernetes.io/managed-by": "Helm"}
    annotations = {
        "meta.helm.sh/release-name": "springline",
        "meta.helm.sh/release-namespace": "springline-system",
    }
    for path in sorted(CRDS.glob("*.yaml")):
        definition = yaml.safe_load(path.read_text())
        metadata = definition["metadata"]
        metadata["labels"] = metadata.get("labels", {}) | labels
        metadata["annotations"] = metadata.get("annotations", {}) | annotations
        answer = apiserver.request(
            "PATCH",
            f"{DEFINITIONS}/{metadata['name']}?fieldManager=helm",
            definition,
            content_type="application/apply-patch+yaml",
        )
        assert answer.code == 201, answer.message
    deadline = time.monotonic() + 30
    for path in sorted(CRDS.glob("*.yaml")):
        name = yaml.safe_load(path.read_text())["metadata"]["name"]
        while not _is_served(apiserver, name):
            assert time.monotonic() < deadline, f"{name} is not served"
            time.sleep(0.05)
    return apiserver


def _is_served(apiserver: APIServer, name: str) -> bool:
    status = apiserver.request("GET", f"{DEFINITIONS}/{name}").content.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    plural, _, group = name.partition(".")
    served = apiserver.request("GET", f"/apis/{group}/v1alpha1/{plural}").code == 200
    return conditions.get("Established") == "True" and served


@pytest.fixture(scope="session")
def controllers(apiserver: APIServer) -> APIServer:
    """The API server with the controllers that clean up; skipped where they are not to be had."""
    if not apiserver.has_controllers:
        pytest.skip("there is no kube-controller-manager: run make apiserver")
    return apiserver


@pytest.fixture(scope="session")
def kubectl(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """kubectl as an administrator."""
    directory = tmp_path_factory.mktemp("kubectl")
    kubeconfig = Path(EXISTING) if EXISTING else directory / "kubeconfig"
    if not EXISTING:
        server: APIServer = request.getfixturevalue("cluster")
        kubeconfig.write_text(server.kubeconfig())
    try:
        return Kubectl(directory, kubeconfig)
    except ToolMissing as error:
        pytest.skip(str(error))


@dataclass(frozen=True, slots=True)
class Installed:
    """The release that the session's operator belongs to."""

    release: Release
    # What the suite itself needs; a test's own come on top.
    values: Mapping[str, Any]

    def install(self, **values: Any) -> None:
        """Install, or upgrade, with these values of the chart and the suite's."""
        # Nothing runs pods in the private cluster, so there is nothing to wait for. Elsewhere tests
        # scale the Deployment, which makes Helm hesitate.
        options = ["--wait", "--force-conflicts"] if EXISTING else []
        self.release.install({**self.values, **values}, *options)


@pytest.fixture(scope="session")
def installed(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kubectl: Kubectl
) -> Installed:
    """The chart, installed."""
    values: dict[str, Any] = {}
    if image := os.environ.get("SPRINGLINE_TEST_IMAGE"):
        repository, _, tag = image.rpartition(":")
        values = {"image": {"repository": repository, "tag": tag, "pullPolicy": "Never"}}
    else:
        request.getfixturevalue("controllers")
    installed = Installed(Release(tmp_path_factory.mktemp("helm"), kubectl.kubeconfig), values)
    installed.install()
    return installed


@pytest.fixture(scope="session")
def _operator(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    kubectl: Kubectl,
    installed: Installed,
) -> Iterator[Operator]:
    operator: Operator
    if EXISTING:
        operator = OperatorPod(kubectl, PLANTED, namespace=installed.release.namespace)
    else:
        operator = OperatorProcess(
            tmp_path_factory.mktemp("operator"),
            request.getfixturevalue("apiserver"),
            PLANTED,
            namespace=installed.release.namespace,
        )
    yield operator
    operator.close()


@pytest.fixture
async def springline(_operator: Operator) -> Operator:
    """The operator, ready; tests share it, and may stop, kill and freeze it."""
    _operator.start()
    await _operator.until_ready()
    return _operator


@pytest.fixture
def configured(installed: Installed, springline: Operator) -> Iterator[Callable[..., None]]:
    """What installs the chart with other values for a test, and starts the operator with them."""
    changed = False

    def configure(**values: Any) -> None:
        nonlocal changed
        changed = True
        installed.install(**values)
        springline.stop()
        springline.start()

    yield configure
    if changed:
        installed.install()
        springline.stop()


@pytest.fixture
def namespace(kubectl: Kubectl, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace for a test; its connections are gone when the test is over, and soon it is."""
    # An existing cluster has our resources once the chart is installed.
    request.getfixturevalue("installed" if EXISTING else "controllers")
    name = f"test-{next(_numbers)}"
    kubectl.run("create", "namespace", name)
    yield name
    kinds = "brokerconnections,brokers"
    kubectl.run("delete", kinds, "--all", f"--namespace={name}", "--ignore-not-found")
    kubectl.delete("namespace", name, wait=False)


@pytest.fixture(scope="session")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """A private node, for tests that stop or freeze it; they leave it running."""
    if EXISTING:
        pytest.skip("this test needs a broker of its own")
    try:
        node = RabbitMQNode(tmp_path_factory.mktemp("rabbitmq"))
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with node:
        yield node


@pytest.fixture(scope="session")
def rabbit(request: pytest.FixtureRequest, kubectl: Kubectl) -> SharedBroker:
    """The broker that all tests share; they leave it without alarms."""
    if not EXISTING:
        node: RabbitMQNode = request.getfixturevalue("rabbitmq")
        return SharedBroker(administration=node, host=LOOPBACK, port=node.amqp_port)
    kubectl.apply(RABBITMQ.read_text())
    limit = "--timeout=300s"
    where = "--namespace=springline-rabbitmq"
    kubectl.run("rollout", "status", "deployment/rabbitmq", where, limit, timeout=330)
    pod = RabbitMQPod(kubectl, namespace="springline-rabbitmq", deployment="rabbitmq")
    return SharedBroker(administration=pod, host="rabbitmq.springline-rabbitmq.svc", port=5672)


@pytest.fixture
def tenant(rabbit: SharedBroker) -> Iterator[Tenant]:
    """A tenant on the shared broker, gone after the test with its connections."""
    number = next(_numbers)
    tenant = Tenant(vhost=f"orders-{number}", username=f"ann-{number}", secret=PLANTED)
    rabbit.administration.add_vhost(tenant.vhost)
    rabbit.administration.add_user(tenant.username, tenant.secret)
    rabbit.administration.set_permissions(tenant.username, tenant.vhost)
    yield tenant
    rabbit.administration.delete_user(tenant.username)
    rabbit.administration.delete_vhost(tenant.vhost)
