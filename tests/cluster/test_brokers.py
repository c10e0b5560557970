"""Brokers that move, go, come back, are shared, or are found by Services and Secrets."""

import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from support.apiserver import APIServer
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQNode
from support.shared_broker import SharedBroker
from support.team import CONNECTIONS, RETRY, Team, condition


@pytest.fixture(scope="module")
def second_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """Another broker than the one that all tests share."""
    with RabbitMQNode(tmp_path_factory.mktemp("second")) as node:
        yield node


@pytest.fixture
def elsewhere(second_node: RabbitMQNode, team: Team) -> Team:
    """The same team at the other broker."""
    tenant = team.tenant
    second_node.add_vhost(tenant.vhost)
    second_node.add_user(tenant.username, tenant.secret)
    second_node.set_permissions(tenant.username, tenant.vhost)
    there = SharedBroker(administration=second_node, host=LOOPBACK, port=second_node.amqp_port)
    return team.at(there)


# Brokers that change -----------------------------------------------------------------------------


async def test_sessions_move_with_their_broker(team: Team, elsewhere: Team) -> None:
    """A changed endpoint is another broker: there they are opened, here they are closed."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    await team.until_held("orders", "billing")
    await team.apply("brokers", elsewhere.rabbit.document(retry=RETRY))
    await elsewhere.until_held("orders", "billing")
    await team.until_held()
    where = f"{elsewhere.rabbit.host}:{elsewhere.rabbit.port}"
    for name in ("orders", "billing"):
        await team.until(
            name,
            lambda status: (
                condition(status, "Ready") == ("True", "Connected")
                and status["endpoint"].startswith(where)
            ),
            "status tells of the new endpoint",
        )


async def test_an_endpoint_more_moves_nobody(team: Team, elsewhere: Team) -> None:
    """As long as the one in use is still declared; when it goes, the other one is taken."""
    await team.declare("orders")
    await team.until_ready("orders")
    before = await team.until_held("orders")
    endpoints = [{"host": each.rabbit.host, "port": each.rabbit.port} for each in (elsewhere, team)]
    await team.apply("brokers", team.rabbit.document(retry=RETRY, endpoints=endpoints))
    generation = (await team.get("brokers", "rabbit"))["metadata"]["generation"]
    await team.until(
        "rabbit",
        lambda status: (
            status.get("observedGeneration") == generation
            and condition(status, "Ready")[0] == "True"
        ),
        "the change is observed",
        plural="brokers",
    )
    assert await team.held() == before
    await team.apply("brokers", team.rabbit.document(retry=RETRY, endpoints=endpoints[:1]))
    await elsewhere.until_held("orders")
    await team.until_held()


@pytest.mark.kind
async def test_a_deleted_broker_is_missed_until_it_is_back(team: Team) -> None:
    """Its sessions are closed, and opened again."""
    await team.declare("orders")
    await team.until_ready("orders")
    before = await team.until_held("orders")
    await team.delete("brokers", "rabbit")
    status = await team.until_condition("orders", "Connected", "False", "BrokerNotFound")
    assert condition(status, "Ready") == ("False", "BrokerNotFound")
    assert '"rabbit"' in str(status["conditions"])
    await team.until_held()
    await team.apply("brokers", team.rabbit.document(retry=RETRY))
    await team.until_ready("orders")
    await team.until_held("orders", other_than=before)


@pytest.mark.kind
async def test_a_broker_tells_of_all_its_sessions(team: Team) -> None:
    """Whether there are any, how many are well, and who it is."""
    await team.declare()

    async def until_counted(declared: int, ready: int) -> dict[str, Any]:
        return await team.until(
            "rabbit",
            lambda status: (
                status.get("connections") == {"declared": declared, "ready": ready, "blocked": 0}
            ),
            f"{ready} of {declared} are ready",
            plural="brokers",
        )

    status = await until_counted(0, 0)
    assert condition(status, "Ready") == ("True", "Usable")
    assert condition(status, "Reachable") == ("Unknown", "NotChecked")
    await team.declare_connections("refused", virtualHost="nowhere")
    status = await until_counted(1, 0)
    status = await team.until_condition(
        "rabbit", "Reachable", "False", "VirtualHostNotFound", plural="brokers"
    )
    await team.declare_connections("orders", "billing")
    status = await until_counted(3, 2)
    assert condition(status, "Reachable") == ("True", "Connected")
    assert status["server"]["product"] == "RabbitMQ"
    assert status["server"]["version"]
    document = await team.get("brokers", "rabbit")
    assert status["observedGeneration"] == document["metadata"]["generation"]
    assert "finalizers" not in document["metadata"]
    await team.delete(CONNECTIONS)
    status = await until_counted(0, 0)


# ClusterBrokers ----------------------------------------------------------------------------------


@pytest.fixture
async def shared(team: Team) -> AsyncIterator[str]:
    """The name of a ClusterBroker for namespaces with the label `shop` that says so."""
    name = f"shared-{team.namespace}"
    allowed = {"from": "Selector", "selector": {"matchLabels": {"shop": team.namespace}}}
    document = team.rabbit.document(name=name, retry=RETRY, allowedNamespaces=allowed)
    await team.apply("clusterbrokers", {**document, "kind": "ClusterBroker"})
    yield name
    await team.delete("clusterbrokers", name)


@pytest.mark.kind
async def test_a_shared_broker_is_for_namespaces_with_its_label(
    kubectl: Kubectl, team: Team, shared: str
) -> None:
    """When the label comes the session is opened, and closed when it goes."""
    await team.put_secret()
    await team.declare_connections("orders", brokerRef={"kind": "ClusterBroker", "name": shared})
    status = await team.until_condition("orders", "Connected", "False", "NamespaceNotAllowed")
    assert condition(status, "Ready") == ("False", "NamespaceNotAllowed")
    assert await team.held() == []
    counts = {"declared": 1, "ready": 1, "blocked": 0}
    for _ in range(2):
        kubectl.run("label", "namespace", team.namespace, f"shop={team.namespace}")
        await team.until_ready("orders")
        await team.until_held("orders")
        await team.until(
            shared,
            lambda status: status.get("connections") == counts,
            "it is counted",
            plural="clusterbrokers",
        )
        kubectl.run("label", "namespace", team.namespace, "shop-")
        await team.until_condition("orders", "Connected", "False", "NamespaceNotAllowed")
        await team.until_held()


@pytest.mark.kind
async def test_a_shared_broker_can_be_for_everybody(team: Team, shared: str) -> None:
    """Which is what it is when nothing else is said."""
    await team.put_secret()
    await team.declare_connections("orders", brokerRef={"kind": "ClusterBroker", "name": shared})
    await team.until_condition("orders", "Connected", "False", "NamespaceNotAllowed")
    document = team.rabbit.document(name=shared, retry=RETRY)
    await team.apply("clusterbrokers", {**document, "kind": "ClusterBroker"})
    await team.until_ready("orders")
    await team.until_held("orders")


# Brokers that are found --------------------------------------------------------------------------


async def test_the_secret_that_says_where_the_broker_is_can_say_another_place(
    team: Team, elsewhere: Team
) -> None:
    """The session is replaced: open there before it is closed here."""

    async def put_place(rabbit: SharedBroker) -> None:
        text = {"host": rabbit.host, "port": str(rabbit.port)}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "rabbit-default-user"}}
        await team.apply("secrets", {**secret, "stringData": text})

    document = team.rabbit.document(retry=RETRY)
    del document["spec"]["endpoints"]
    document["spec"]["endpointsFrom"] = {"secretRef": {"name": "rabbit-default-user"}}
    await team.put_secret()
    await team.apply("brokers", document)
    await team.declare_connections("orders")
    await team.until_condition("orders", "Connected", "False", "NameResolutionFailed")
    await put_place(team.rabbit)
    await team.until_ready("orders")
    await team.until_held("orders")
    await put_place(elsewhere.rabbit)
    await elsewhere.until_held("orders")
    await team.until_held()
    status = await team.until(
        "orders",
        lambda status: (
            f":{elsewhere.rabbit.port} " in status.get("endpoint", "")
            and condition(status, "Ready") == ("True", "Connected")
        ),
        "status tells of the new place",
    )
    assert status["credentials"]["method"] == "Replaced"


# R5.1
async def test_the_pods_behind_a_service_are_looked_up_for_each_attempt(
    springline: Operator, apiserver: APIServer, kubectl: Kubectl, team: Team
) -> None:
    """With the rights of the chart; what is missing is told, and the addresses are the slices'.

    No slice may hold a loopback address, so what is found here is an address that nobody has.
    """
    assert isinstance(springline, OperatorProcess)
    document = team.rabbit.document(retry=RETRY, connectTimeout="1s")
    del document["spec"]["endpoints"]
    document["spec"]["endpointsFrom"] = {"service": {"name": "rabbit", "port": "amqp"}}
    await team.put_secret()
    await team.apply("brokers", document)
    await team.declare_connections("orders")

    async def until_told(words: str, *reasons: str) -> None:
        await team.until(
            "orders",
            lambda status: (
                condition(status, "Connected")[1] in reasons and words in str(status["conditions"])
            ),
            words,
        )

    await until_told("there is no Service", "NameResolutionFailed")
    service: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "rabbit"},
        "spec": {"ports": [{"name": "management", "port": 15672}]},
    }
    kubectl.apply(service, namespace=team.namespace)
    await until_told("it has 15672 (management)", "NameResolutionFailed")
    service["spec"]["ports"] = [{"name": "amqp", "port": 5672}]
    kubectl.apply(service, namespace=team.namespace)
    await until_told("nothing behind port amqp", "NameResolutionFailed")
    of_the_service = {"kubernetes.io/service-name": "rabbit"}
    found: dict[str, Any] = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "rabbit-1", "labels": of_the_service},
        "addressType": "IPv4",
        # From a range that is for documentation.
        "endpoints": [{"addresses": ["192.0.2.7"]}],
        "ports": [{"name": "amqp", "port": 25672}],
    }
    kubectl.apply(found, namespace=team.namespace)
    host = f"rabbit.{team.namespace}.svc:25672"
    await until_told(host, "ConnectTimeout", "ConnectionRefused")
    await springline.until_said("192.0.2.7")
    user = f"system:serviceaccount:{springline.namespace}:springline"
    lookups = {
        (each.verb, each.resource, each.code)
        for each in apiserver.audit()
        if (each.user, each.namespace) == (user, team.namespace)
        and each.resource in ("services", "endpointslices")
    }
    assert lookups == {
        ("get", "services", 404),
        ("get", "services", 200),
        ("list", "endpointslices", 200),
    }
    assert not re.search("bind a role", str(await team.status("orders")))
