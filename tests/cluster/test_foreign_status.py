"""A status that another writer has changed: by hand, by a tool, or while the operator was away."""

import asyncio
from typing import Any

import pytest

from support.apiserver import APIServer
from support.operator_process import OperatorProcess
from support.team import CONNECTIONS, Team, condition

pytestmark = pytest.mark.usefixtures("mended")

PLURALS = {"orders": CONNECTIONS, "rabbit": "brokers"}
BLOCKED = {"blocked": {"since": "2026-11-21T08:00:00Z", "reason": "says who?"}}
FINE = {
    "type": "Fine",
    "status": "True",
    "reason": "Fine",
    "message": "",
    "lastTransitionTime": "2026-11-21T08:00:00Z",
}


@pytest.fixture
async def before(process: OperatorProcess, team: Team) -> dict[str, dict[str, Any]]:
    """What the operator has written of a connection and its broker; nothing follows any more."""
    await team.declare("orders")
    await team.until_condition("orders", "Blocked", "False")
    for name, plural in PLURALS.items():
        await team.until(
            name,
            lambda status: (
                status.get("holder") == process.holder and condition(status, "Ready")[0] == "True"
            ),
            f"{name} is Ready",
            plural=plural,
        )
    return {name: await team.status(name, plural) for name, plural in PLURALS.items()}


def writes(apiserver: APIServer, team: Team, name: str, *, by: str) -> int:
    """Count the writes of a status by a user so far, whatever was answered."""
    return sum(
        (each.verb, each.subresource, each.namespace, each.name)
        == ("patch", "status", team.namespace, name)
        and by in each.user
        for each in apiserver.audit()
    )


async def patch(team: Team, name: str, status: dict[str, Any] | None) -> None:
    """Change a status, as `kubectl edit --subresource=status` does."""
    path = f"{team._path(PLURALS[name], name)}/status?fieldManager=kubectl-edit"
    answer = await team.ask("PATCH", path, {"status": status})
    assert answer.code == 200, answer.message


@pytest.mark.parametrize("name", PLURALS)
@pytest.mark.parametrize(
    "change",
    [{"holder": "system/elsewhere", "observedGeneration": 7}, {"server": None}, None],
    ids=["changed", "removed", "emptied"],
)
async def test_a_status_that_was_patched_by_hand_is_corrected(
    process: OperatorProcess,
    apiserver: APIServer,
    team: Team,
    before: dict[str, dict[str, Any]],
    name: str,
    change: dict[str, Any] | None,
) -> None:
    """By one write, and the log says who it was, unless that has only removed something."""
    written = writes(apiserver, team, name, by="springline")
    said = len(process.output)
    await patch(team, name, change)
    await team.until(
        name, lambda status: status == before[name], "it is as before", plural=PLURALS[name]
    )
    assert writes(apiserver, team, name, by="springline") == written + 1
    [line] = [
        each
        for each in process.output[said:].splitlines()
        if "status was written by another writer" in each
    ]
    # Who empties it has written what it is by default.
    manager = "unknown" if change == {"server": None} else "kubectl-edit"
    assert f'"manager": "{manager}"' in line


@pytest.mark.parametrize("name", PLURALS)
async def test_what_was_added_to_a_status_is_removed(
    team: Team, before: dict[str, dict[str, Any]], name: str
) -> None:
    """A server-side apply alone leaves what another field manager owns."""
    conditions = [*before[name]["conditions"], FINE]
    await patch(team, name, {"conditions": conditions, **(BLOCKED if name == "orders" else {})})
    await team.until(
        name, lambda status: status == before[name], "it is as before", plural=PLURALS[name]
    )
    # What Springline leaves out later goes as well: the other manager owns nothing any more.
    if name == "orders":
        await team.patch(CONNECTIONS, "orders", {"spec": {"suspend": True}})
        await team.until(
            "orders", lambda status: "connectedSince" not in status, "what is over is left out"
        )


async def test_a_writer_that_does_it_again_and_again_is_named_in_an_event(
    process: OperatorProcess, team: Team, before: dict[str, dict[str, Any]]
) -> None:
    """After three corrections, of which the last waits for half a minute."""
    for number in range(4):
        await patch(team, "orders", {"observedGeneration": 100 + number})
        if number < 3:
            await team.until("orders", lambda status: status == before["orders"], "it is as before")
    [event] = await team.until_events("orders", "StatusOverwritten")
    assert event["type"] == "Warning"
    assert "kubectl-edit" in event["message"]
    assert process.output.count("leaving it") == 1


async def test_what_was_patched_while_nothing_was_watched_is_corrected(
    process: OperatorProcess,
    apiserver: APIServer,
    team: Team,
    before: dict[str, dict[str, Any]],
) -> None:
    """The operator was frozen, and the API server has forgotten what happened meanwhile."""
    process.pause()
    for name in PLURALS:
        await patch(team, name, {"observedGeneration": 7})
    await asyncio.to_thread(apiserver.forget_history)
    process.resume()
    for name, plural in PLURALS.items():
        generation = before[name]["observedGeneration"]
        await team.until(
            name,
            lambda status, generation=generation: status["observedGeneration"] == generation,  # type: ignore[misc]  # bound here
            "it is corrected",
            plural=plural,
        )
