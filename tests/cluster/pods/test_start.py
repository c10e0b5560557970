"""Installing and uninstalling, as the documentation has it."""

import asyncio
from collections.abc import Callable

import pytest

from support.helm import Installed
from support.kubectl import Kubectl
from support.operators import Operator
from support.pods import Measured, Pods
from support.team import Team, condition

pytestmark = pytest.mark.kind


async def test_it_is_installed_and_uninstalled_as_documented(
    installed: Installed,
    springline: Operator,
    kubectl: Kubectl,
    team: Team,
    pods: Pods,
    measured: Measured,
) -> None:
    """Scaled to 0 first, it says of each connection that it is closed; installed again, it goes on.

    Nothing is warned of at its start, and all that declares connections stays where it is.
    """
    await team.declare("orders")
    await team.until_ready("orders")
    await asyncio.to_thread(springline.stop)
    status = await team.until_condition("orders", "Connected", "False", "ClientClosed")
    assert condition(status, "Ready")[0] == "False"
    await team.until_held()
    await asyncio.to_thread(installed.release.uninstall)
    assert not kubectl.get_json("deployment", "springline", namespace=springline_in(installed))
    assert await team.get("brokerconnections", "orders")
    kubectl.run("delete", "events", "--all", f"--namespace={springline_in(installed)}")
    with measured("helm install → the operator is ready"):
        await asyncio.to_thread(installed.install)
        await pods.until_ready()
    await team.until_ready("orders")
    assert await asyncio.to_thread(pods.warnings) == []


async def test_the_chart_can_stop_the_operator_before_it_is_uninstalled(
    installed: Installed, springline: Operator, team: Team, configured: Callable[..., None]
) -> None:
    """With uninstall.stopFirst one command does it, also where the authority has no identifiers."""
    await asyncio.to_thread(configured, uninstall={"stopFirst": True})
    await springline.until_ready()
    await team.declare("orders")
    await team.until_ready("orders")
    await asyncio.to_thread(installed.release.uninstall)
    status = await team.status("orders")
    assert condition(status, "Connected") == ("False", "ClientClosed")
    await team.until_held()
    await asyncio.to_thread(installed.install)


def springline_in(installed: Installed) -> str:
    """Return the namespace of the operator."""
    return installed.release.namespace
