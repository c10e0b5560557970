"""The cluster that the suite runs on, with the operator in it and a broker beside it.

It is private: a real API server, and the operator as a process that the chart's Deployment
describes. With SPRINGLINE_TEST_KUBECONFIG it is the cluster of that kubeconfig instead, with
everything in pods: for tests that are marked `kind`, which use `kubectl`, `springline`, `rabbit`
and what is built on these, and no `apiserver`.
"""

import itertools
import os
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.apiserver import APIServer, APIServerMissing
from support.definitions import Definitions
from support.helm import Installed, Release
from support.identities import Tenant
from support.kubectl import Kubectl
from support.kubectl_proxy import Administrator, KubectlProxy
from support.on_cluster import OperatorPod, RabbitMQPod
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.shared_broker import SharedBroker
from support.team import Team
from support.tools import ToolMissing

RABBITMQ = Path(__file__).resolve().parent / "rabbitmq.yaml"
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
    Definitions(apiserver).install()
    return apiserver


@pytest.fixture
def definitions(cluster: APIServer) -> Iterator[Definitions]:
    """Our resources' definitions, as they should be again after the test."""
    definitions = Definitions(cluster)
    yield definitions
    cluster.start()
    definitions.install()


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
    if EXISTING:
        # Some tests have a peer, or nobody, at a pod's own address.
        values["security"] = {"allowAddresses": ["127.0.0.0/8"]}
    # Nothing runs pods in the private cluster, so there is nothing to wait for. Elsewhere tests
    # scale the Deployment, which makes Helm hesitate.
    options = ("--wait", "--force-conflicts") if EXISTING else ()
    release = Release(tmp_path_factory.mktemp("helm"), kubectl.kubeconfig)
    if EXISTING:
        kubectl.apply(_restricted(release.namespace))
    installed = Installed(release, values, options)
    installed.install()
    return installed


def _restricted(name: str) -> dict[str, Any]:
    """Return a namespace whose pods have to meet the strictest Pod Security Standard."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    metadata = {"name": name, "labels": labels}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


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
def process(springline: Operator) -> OperatorProcess:
    """The operator, for tests of what happens to its process."""
    assert isinstance(springline, OperatorProcess)
    return springline


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
        # From RabbitMQ 4 on the plugin is there and does nothing.
        node = RabbitMQNode(
            tmp_path_factory.mktemp("rabbitmq"), plugins=("rabbitmq_amqp1_0",), management=True
        )
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with node:
        yield node


@pytest.fixture(scope="session")
def rabbit(request: pytest.FixtureRequest, kubectl: Kubectl) -> SharedBroker:
    """The broker that all tests share; they leave it without alarms."""
    if not EXISTING:
        node: RabbitMQNode = request.getfixturevalue("rabbitmq")
        return SharedBroker(
            administration=node, host=LOOPBACK, port=node.amqp_port, http_port=node.http_port
        )
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


@pytest.fixture(scope="session")
def administrator(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, kubectl: Kubectl
) -> Iterator[Administrator]:
    """Who asks the API server without a kubectl for each question."""
    if not EXISTING:
        yield request.getfixturevalue("cluster")
        return
    with KubectlProxy(tmp_path_factory.mktemp("proxy"), kubectl.kubeconfig) as proxy:
        yield proxy


@pytest.fixture
async def team(
    springline: Operator,  # noqa: ARG001 - it looks after what the team declares
    administrator: Administrator,
    namespace: str,
    rabbit: SharedBroker,
    tenant: Tenant,
) -> AsyncIterator[Team]:
    """A team in a namespace of its own; nothing that is said there may hold its password."""
    team = Team(administrator, namespace, rabbit, tenant)
    yield team
    for plural in ("brokerconnections", "brokers", "events"):
        assert PLANTED not in str(await team.get(plural, ""))


@pytest.fixture
def mended(
    team: Team, process: OperatorProcess, apiserver: APIServer, rabbitmq: RabbitMQNode
) -> Iterator[None]:
    """For tests that break things: after them everything runs."""
    assert team is not None, "it is taken down after this"
    yield
    process.resume()
    apiserver.start()
    rabbitmq.resume()
    rabbitmq.start()
