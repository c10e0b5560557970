"""Pods are deleted, rolled over, drained, killed and frozen: each connection is back, once."""

import asyncio
import json
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from support.kubectl import Kubectl, KubectlFailed
from support.pods import Measured, Pods
from support.team import Team, condition
from support.waiting import eventually

pytestmark = pytest.mark.kind

FIFTY = [f"orders-{number:02}" for number in range(50)]


@pytest.fixture
def drained(kubectl: Kubectl) -> Iterator[Callable[[], None]]:
    """What drains the node; afterwards it takes pods again."""
    [node, *_] = kubectl.list_json("nodes")
    name = node["metadata"]["name"]

    def drain() -> None:
        options = ["--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=20s"]
        # The broker of the tests stays: what is drained here is the operator.
        selector = "--pod-selector=app.kubernetes.io/name=springline"
        kubectl.run("drain", name, *options, selector)

    yield drain
    kubectl.run("uncordon", name)


async def until_back(team: Team, *names: str, before: dict[str, str]) -> None:
    """Wait until each connection is Ready with another holder, or on another connection."""
    for name in names:
        await team.until(
            name,
            lambda status, name=name: (  # type: ignore[misc]
                condition(status, "Ready")[0] == "True" and connected_at(status) != before[name]
            ),
            "is Ready again, on a connection of its own",
        )


def connected_at(status: dict[str, Any]) -> str:
    """Return who holds the connection, and since when."""
    since = [
        each["lastTransitionTime"] for each in status["conditions"] if each["type"] == "Connected"
    ]
    return json.dumps([status["holder"], status.get("connection", {}), since])


async def told(team: Team, *names: str) -> dict[str, str]:
    """Return who holds each connection, and since when."""
    return {name: connected_at(await team.status(name)) for name in names}


async def test_fifty_connections_come_back_once_each_after_their_pod_is_deleted(
    team: Team,
    pods: Pods,
    kubectl: Kubectl,
    measured: Measured,
) -> None:
    """The pod ends in order, its successor opens each of them, and no other."""
    with measured("50 connections applied → all Ready"):
        await team.declare(*FIFTY)
        await team.until_ready(*FIFTY)
    before, held = await told(team, *FIFTY), await team.until_held(*FIFTY)
    name = pods.name()
    with measured("pod deleted → 50 connections Ready again"):
        where = f"--namespace={pods.namespace}"
        await asyncio.to_thread(kubectl.run, "delete", "pod", name, where)
        await until_back(team, *FIFTY, before=before)
    await team.until_held(*FIFTY, other_than=held)
    assert pods.name() != name


async def test_a_rollout_never_has_two_pods(
    team: Team,
    pods: Pods,
    kubectl: Kubectl,
    measured: Measured,
) -> None:
    """The old pod is gone before the new one begins, so the broker sees each session once."""
    await team.declare("orders")
    await team.until_ready("orders")
    before, name = await told(team, "orders"), pods.name()
    where = f"--namespace={pods.namespace}"
    with measured("rollout restart → Ready again"):
        await asyncio.to_thread(kubectl.run, "rollout", "restart", "deployment/springline", where)
        most = 0

        def is_over() -> bool:
            nonlocal most
            found = pods.all()
            most = max(most, len(found))
            return [each["metadata"]["name"] for each in found] != [name] and len(found) == 1

        await eventually(is_over, timeout=90, what="there is another pod")
        await until_back(team, "orders", before=before)
    assert most == 1
    await team.until_held("orders")


async def test_a_drained_node_closes_its_sessions_and_takes_them_again(
    team: Team,
    pods: Pods,
    kubectl: Kubectl,
    drained: Callable[[], None],
    measured: Measured,
) -> None:
    """While there is no node for the operator, status says that the connection is closed."""
    await team.declare("orders")
    await team.until_ready("orders")
    before = await told(team, "orders")
    await asyncio.to_thread(drained)
    await team.until_condition("orders", "Connected", "False", "ClientClosed")
    await team.until_held()
    [node, *_] = kubectl.list_json("nodes")
    with measured("node takes pods again → Ready"):
        kubectl.run("uncordon", node["metadata"]["name"])
        await until_back(team, "orders", before=before)
    await pods.until_ready()


async def test_a_disruption_budget_keeps_the_pod_on_a_node_that_is_drained(
    team: Team,
    configured: Callable[..., None],
    pods: Pods,
    drained: Callable[[], None],
) -> None:
    """With the chart's budget a drain waits for an administrator, and no session is lost."""
    await asyncio.to_thread(configured, podDisruptionBudget={"enabled": True})
    await pods.until_ready()
    await team.declare("orders")
    await team.until_ready("orders")
    before = await team.until_held("orders")
    with pytest.raises(KubectlFailed, match="disruption budget"):
        await asyncio.to_thread(drained)
    assert await team.held() == before


async def test_a_killed_container_is_started_again_in_its_pod(
    team: Team,
    pods: Pods,
    measured: Measured,
) -> None:
    """As after it ran out of memory: what the broker still holds is not what is told."""
    await team.declare("orders")
    await team.until_ready("orders")
    held, name, restarts = await team.until_held("orders"), pods.name(), pods.restarts()
    with measured("container killed → Ready again"):
        pods.send(signal.SIGKILL)
        await pods.until_ready(restarts=restarts + 1)
        await team.until_held("orders", other_than=held)
        await team.until_ready("orders")
    assert pods.name() == name


async def test_a_frozen_container_is_replaced(
    team: Team,
    pods: Pods,
    measured: Measured,
) -> None:
    """The liveness probe notices; its grace period is short, as nothing can end in order."""
    await team.declare("orders")
    await team.until_ready("orders")
    held, restarts = await team.until_held("orders"), pods.restarts()
    with measured("container frozen → Ready again"):
        pods.send(signal.SIGSTOP)
        await pods.until_ready(restarts=restarts + 1)
        await team.until_held("orders", other_than=held)
        await team.until_ready("orders")
