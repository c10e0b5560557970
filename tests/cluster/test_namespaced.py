"""An operator for some namespaces only: what is declared elsewhere is not its business."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.apiserver import APIServer
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.team import CONNECTIONS, Team


@pytest.fixture
def others(kubectl: Kubectl, team: Team) -> Iterator[list[Team]]:
    """The same people in two namespaces more."""
    teams = [team.inside(f"{team.namespace}-{letter}") for letter in "bc"]
    for each in teams:
        kubectl.run("create", "namespace", each.namespace)
    yield teams
    for each in teams:
        kubectl.delete("namespace", each.namespace, wait=False)


@pytest.mark.kind
async def test_only_the_listed_namespaces_are_looked_after(
    kubectl: Kubectl,
    team: Team,
    others: list[Team],
    configured: Callable[..., None],
    springline: Operator,
) -> None:
    """By Roles there and no ClusterRole; elsewhere nothing is read and nothing written."""
    [second, elsewhere] = others
    served = [team, second]
    watched = {"namespaces": [each.namespace for each in served]}
    await asyncio.to_thread(configured, watch=watched)
    await springline.until_ready()
    for each in (elsewhere, *served):
        await each.declare("orders")
    for each in served:
        await each.until_ready("orders")
        await each.until_held("orders")
        await each.until_condition("rabbit", "Reachable", "True", plural="brokers")
        await each.until_events("orders", "Connected")
    assert await elsewhere.is_unseen("orders")
    assert await elsewhere.is_unseen("rabbit", "brokers")
    assert await elsewhere.held() == []
    # Changes are noticed there, too.
    await second.put_secret("n0t-the-password")
    await second.until_condition("orders", "CredentialsValid", "False", "Rejected")
    await second.put_secret()
    await second.until_ready("orders")
    selector = "--selector=app.kubernetes.io/instance=springline"
    bindings = kubectl.table("clusterrolebindings", selector, "--output=name")
    assert bindings.split() == []
    roles = kubectl.table("roles", selector, "--all-namespaces", "--output=json")
    assert all(f'"namespace": "{each.namespace}"' in roles for each in served)
    assert f'"namespace": "{elsewhere.namespace}"' not in roles


async def test_nothing_is_asked_for_elsewhere(
    apiserver: APIServer,
    team: Team,
    others: list[Team],
    configured: Callable[..., None],
    springline: Operator,
) -> None:
    """Not even in vain: nothing is refused for want of a right."""
    assert isinstance(springline, OperatorProcess)
    user = f"system:serviceaccount:{springline.namespace}:springline"
    watched = {"namespaces": [team.namespace]}
    await asyncio.to_thread(configured, watch=watched)
    before = len([each for each in apiserver.audit() if each.user == user])
    await springline.until_ready()
    for each in (*others, team):
        await each.declare("orders")
    await team.until_ready("orders")
    await team.until_events("orders", "Connected")
    asked = [each for each in apiserver.audit() if each.user == user][before:]
    beside_its_lease = [each for each in asked if each.resource not in ("", "leases")]
    assert {each.namespace for each in beside_its_lease} <= {team.namespace}
    leases = {each.namespace for each in asked if each.resource == "leases"}
    assert leases == {springline.namespace}
    assert [each for each in asked if each.code == 403] == []


@pytest.mark.kind
async def test_a_cluster_broker_is_not_looked_after_there(
    team: Team, configured: Callable[..., None], springline: Operator
) -> None:
    """Unless the chart is told so; a connection that refers to one says why it has no session."""
    shared: dict[str, Any] = team.rabbit.document(name=f"shared-{team.namespace}")
    await team.apply("clusterbrokers", {**shared, "kind": "ClusterBroker"})
    name = shared["metadata"]["name"]
    watched = {"namespaces": [team.namespace]}
    try:
        await asyncio.to_thread(configured, watch=watched)
        await springline.until_ready()
        await team.put_secret()
        reference = {"kind": "ClusterBroker", "name": name}
        await team.declare_connections("orders", brokerRef=reference)
        status = await team.until_condition("orders", "Connected", "False", "BrokerNotFound")
        assert "does not look after ClusterBrokers" in str(status["conditions"])
        assert await team.held() == []
        await asyncio.to_thread(configured, watch={**watched, "clusterBrokers": True})
        await springline.until_ready()
        await team.until_ready("orders")
        await team.until_held("orders")
        await team.until_condition(name, "Reachable", "True", plural="clusterbrokers")
    finally:
        await team.delete(CONNECTIONS)
        await team.delete("clusterbrokers", name)


async def test_a_namespace_without_its_role_does_not_keep_the_others_waiting(
    kubectl: Kubectl,
    team: Team,
    others: list[Team],
    configured: Callable[..., None],
    springline: Operator,
) -> None:
    """A Role goes with its namespace, also while the operator is restarted."""
    without = others[0]
    watched = {"namespaces": [team.namespace, without.namespace]}
    await asyncio.to_thread(configured, watch=watched)
    await springline.until_ready()
    bindings = kubectl.list_json("rolebindings", namespace=without.namespace)
    [binding] = [each for each in bindings if each["metadata"]["name"] == "springline"]
    kubectl.delete("rolebinding", "springline", namespace=without.namespace)
    springline.stop()
    springline.start()
    for each in (team, without):
        await each.declare("orders")
    await team.until_ready("orders")
    await springline.until_ready()
    assert await without.is_unseen("orders")

    del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
    kubectl.apply(binding)
    await kubectl.until(
        "brokerconnection",
        "orders",
        lambda document: document.get("status", {}).get("state") == "Connected",
        namespace=without.namespace,
        timeout=90,
    )
    await team.until_held("orders")
