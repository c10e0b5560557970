"""Releases of the chart: tested by Helm, upgraded, rolled back, and two of them side by side."""

import asyncio
from collections.abc import Callable

import pytest

from support.helm import Installed, Release
from support.kubectl import Kubectl
from support.pods import Pods
from support.team import Team

pytestmark = pytest.mark.kind


async def test_helm_test_passes_under_the_restricted_standard(
    installed: Installed, pods: Pods, kubectl: Kubectl
) -> None:
    """The namespace enforces it, so every pod of the chart has been held to it."""
    labels = kubectl.get_json("namespace", pods.namespace)["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"
    said = await asyncio.to_thread(installed.release.test)
    assert "Phase:" in said
    assert "Succeeded" in said
    assert "readyz: ready" in said


async def test_an_upgrade_is_taken_back_by_a_rollback(
    installed: Installed, team: Team, pods: Pods, configured: Callable[..., None]
) -> None:
    """Each gets a pod of its own, and the connection is Ready again each time."""
    await team.declare("orders")
    await team.until_ready("orders")
    seen = [pods.name()]
    await asyncio.to_thread(configured, log={"level": "debug"})
    await pods.until_ready(other_than=seen[-1])
    assert "--log-level=debug" in pods.one()["spec"]["containers"][0]["args"]
    await team.until_held("orders")
    seen.append(pods.name())
    await asyncio.to_thread(installed.release.roll_back)
    await pods.until_ready(other_than=seen[-1])
    assert "--log-level=info" in pods.one()["spec"]["containers"][0]["args"]
    await team.until_held("orders")
    await team.until_ready("orders")


async def test_two_releases_look_after_a_namespace_each(
    installed: Installed,
    team: Team,
    kubectl: Kubectl,
    configured: Callable[..., None],
    second: Callable[[str], Release],
) -> None:
    """The second one leaves the definitions to the first one, and each opens its own sessions."""
    other = team.inside(f"{team.namespace}-b")
    kubectl.run("create", "namespace", other.namespace)
    await asyncio.to_thread(configured, watch={"namespaces": [team.namespace]})
    release = second(other.namespace)
    values = {"watch": {"namespaces": [other.namespace]}, "crds": {"install": False}}
    await asyncio.to_thread(release.install, {**installed.values, **values}, "--wait")
    for each in (team, other):
        await each.declare("orders")
    for each in (team, other):
        await each.until_ready("orders")
        await each.until_held("orders")
    holders = {(await each.status("orders"))["holder"] for each in (team, other)}
    assert len(holders) == 2
    await other.delete("brokerconnections")
    await other.until_held()
    kubectl.delete("namespace", other.namespace, wait=False)
