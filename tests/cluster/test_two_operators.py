"""Two operators look after the same objects: that is told, and neither takes the other's status.

Both are the chart's, with the chart's rights. The Lease of each says whether it lives.
"""

import asyncio
import http.client
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support import scrapes
from support.apiserver import APIServer
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.plugin import Plugin
from support.team import CONNECTIONS, Team, condition
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("mended")

SHORT = ("--lease-duration", "3")
PLURALS = {"orders": CONNECTIONS, "rabbit": "brokers"}
HELD_ELSEWHERE = "springline_objects_held_elsewhere"
LEASES = "/apis/coordination.k8s.io/v1/namespaces/springline-system/leases"


@pytest.fixture
async def first(process: OperatorProcess) -> OperatorProcess:
    """The one that is there already; its Lease is a short one."""
    process.stop()
    process.start(*SHORT)
    await process.until_ready()
    return process


@pytest.fixture
def second(apiserver: APIServer, tmp_path: Path, team: Team) -> Iterator[OperatorProcess]:
    """Another replica of the same release; it is gone before the team's namespace is."""
    assert team is not None
    second = OperatorProcess(tmp_path / "second", apiserver)
    yield second
    second.close()


def status_writes(apiserver: APIServer, team: Team) -> int:
    """Count the writes of statuses in the team's namespace so far, whatever was answered."""
    return sum(
        (each.verb, each.subresource, each.namespace) == ("patch", "status", team.namespace)
        for each in apiserver.audit()
    )


def held_elsewhere(operator: OperatorProcess) -> float:
    """How many objects an operator says that another one holds."""
    text = operator.get("/metrics").text
    [family] = [each for each in scrapes.read(text) if each.name == HELD_ELSEWHERE]
    [sample] = family.samples
    return float(sample.value)


async def until_held_by(team: Team, holder: str) -> None:
    """Wait until both objects of the team have a good status of this holder."""
    for name, plural in PLURALS.items():
        await team.until(
            name,
            lambda status: (
                status.get("holder") == holder and condition(status, "Ready")[0] == "True"
            ),
            f"{holder} says that {name} is Ready",
            plural=plural,
        )


def leases(apiserver: APIServer) -> dict[str, dict[str, Any]]:
    """Return the Leases of replicas, by their names."""
    answer = apiserver.request("GET", f"{LEASES}?labelSelector=app.kubernetes.io/component=replica")
    return {each["metadata"]["name"]: each for each in answer.content["items"]}


async def test_a_replica_keeps_a_lease_as_long_as_it_lives(
    first: OperatorProcess, apiserver: APIServer, team: Team
) -> None:
    """Its status names it; an orderly stop deletes it."""
    await team.declare("orders")
    await until_held_by(team, first.holder)
    lease = leases(apiserver)[first.pod_name]
    assert lease["spec"]["holderIdentity"] == first.holder
    assert lease["spec"]["leaseDurationSeconds"] == 3
    await eventually(
        lambda: leases(apiserver)[first.pod_name]["spec"]["renewTime"] > lease["spec"]["renewTime"],
        what="it is renewed",
    )
    await asyncio.to_thread(first.stop)
    assert first.pod_name not in leases(apiserver)


async def test_a_second_operator_says_so_and_leaves_every_status_alone(
    first: OperatorProcess,
    second: OperatorProcess,
    apiserver: APIServer,
    kubectl: Kubectl,
    team: Team,
    tmp_path: Path,
) -> None:
    """In its log, by Events, by a metric and by the plugin; and when it is stopped, too."""
    await team.declare("orders")
    await until_held_by(team, first.holder)
    written = status_writes(apiserver, team)
    second.start(*SHORT)
    await second.until_ready()
    for name in PLURALS:
        [event, *_] = await team.until_events(name, "HeldElsewhere")
        assert event["type"] == "Warning"
        assert event["message"].startswith(f"held by {first.holder}, which lives; {second.holder}")
    assert second.output.count("another replica lives and holds objects") == 1
    assert "another replica lives" not in first.output
    assert held_elsewhere(second) >= len(PLURALS)
    assert held_elsewhere(first) == 0
    assert [each.name for each in await team.held()] == ["orders", "orders"]
    plugin = Plugin(tmp_path / "plugin", kubectl.kubeconfig)
    done = await asyncio.to_thread(plugin.run, "status", "orders", "-n", team.namespace)
    assert done.line("Held twice:").startswith("told ")
    assert f"held by {first.holder}" in done.out

    await asyncio.to_thread(second.stop)
    await team.until_held("orders")
    await until_held_by(team, first.holder)
    assert status_writes(apiserver, team) == written


async def test_when_the_first_is_killed_the_second_takes_over(
    first: OperatorProcess, second: OperatorProcess, apiserver: APIServer, team: Team
) -> None:
    """Its sessions are open already; the statuses follow when the Lease has expired."""
    await team.declare("orders")
    await until_held_by(team, first.holder)
    second.start(*SHORT)
    await second.until_said("another replica lives")
    first.kill()
    await until_held_by(team, second.holder)
    assert held_elsewhere(second) == 0
    await team.until_held("orders")
    assert first.pod_name in leases(apiserver), "it is left for a while"
    await second.until_said("the other replica is gone")


async def test_when_the_first_is_stopped_the_second_takes_over(
    first: OperatorProcess, second: OperatorProcess, team: Team
) -> None:
    """Although the first has said at the end that the sessions are closed: its own are."""
    await team.declare("orders")
    await until_held_by(team, first.holder)
    second.start(*SHORT)
    await second.until_said("another replica lives")
    await asyncio.to_thread(first.stop)
    await until_held_by(team, second.holder)
    await team.until_held("orders")


async def test_a_new_object_is_written_to_by_one_of_the_two(
    first: OperatorProcess, second: OperatorProcess, apiserver: APIServer, team: Team
) -> None:
    """Whichever comes first; the other one finds another version, looks again, and leaves it."""
    await team.declare()
    second.start(*SHORT)
    await second.until_ready()
    await team.declare_connections("orders")
    status = await team.until_condition("orders", "Blocked", "False")
    holders = {first.holder, second.holder}
    assert status["holder"] in holders
    [other] = [each for each in (first, second) if each.holder != status["holder"]]
    await other.until_said("another replica lives")
    name = "orders"
    successful = [
        each
        for each in apiserver.audit()
        if (each.subresource, each.namespace, each.name) == ("status", team.namespace, name)
        and each.code == http.client.OK
    ]
    # One when it is opened, and one more if its first probe took longer.
    assert len(successful) <= 2
    assert (await team.status("orders"))["holder"] == status["holder"]


async def test_a_replica_that_was_cut_off_takes_nothing_back(
    first: OperatorProcess, second: OperatorProcess, team: Team
) -> None:
    """Frozen for longer than its Lease lasts, and then stopped: its last status is not wanted."""
    await team.declare("orders")
    await until_held_by(team, first.holder)
    second.start(*SHORT)
    await second.until_said("another replica lives")
    first.pause()
    await until_held_by(team, second.holder)
    await asyncio.to_thread(first.stop)
    await until_held_by(team, second.holder)
    await team.until_held("orders")


async def test_a_dead_replica_is_no_warning(
    first: OperatorProcess, second: OperatorProcess, team: Team
) -> None:
    """The pod after one that was killed finds its Lease, and waits for no more than the status."""
    await team.declare("orders")
    await until_held_by(team, first.holder)
    first.kill()
    second.start(*SHORT)
    await until_held_by(team, second.holder)
    assert "another replica lives" not in second.output
    assert "HeldElsewhere" not in json.dumps(await team.events())


async def test_without_the_right_to_a_lease_sessions_are_kept(
    first: OperatorProcess, kubectl: Kubectl, team: Team
) -> None:
    """Which right is missing is told; with it there is a Lease soon."""
    bindings = kubectl.list_json("rolebindings", namespace=first.namespace)
    [binding] = [each for each in bindings if each["metadata"]["name"] == "springline-lease"]
    first.stop()
    kubectl.delete("rolebinding", "springline-lease", namespace=first.namespace)
    try:
        said = len(first.output)
        first.start(*SHORT)
        await team.declare("orders")
        await until_held_by(team, first.holder)
        assert (
            "bind a role that allows create, get, list, update and delete of leases"
            in (first.output[said:])
        )
        assert first.get("/readyz").code == http.client.OK
    finally:
        del binding["metadata"]["resourceVersion"], binding["metadata"]["uid"]
        kubectl.apply(binding)
    await first.until_said("Lease renewed again")
