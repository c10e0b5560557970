"""The API server is away, frozen, forgetful or unwilling: sessions stay, and status catches up.

The operator is the chart's with the chart's rights; the outages are those of a real API server.
"""

import asyncio
import http.client
from collections.abc import Callable

import pytest

from support.apiserver import APIServer
from support.operator_process import OperatorProcess
from support.rabbitmq import RabbitMQNode
from support.team import CONNECTIONS, Team, condition
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("mended")


def writes(apiserver: APIServer, team: Team, name: str) -> int:
    """Count the status writes of a connection so far, whatever was answered."""
    return sum(
        (each.verb, each.resource, each.subresource, each.namespace, each.name)
        == ("patch", CONNECTIONS, "status", team.namespace, name)
        for each in apiserver.audit()
    )


async def test_a_namespace_deleted_in_a_hiccup_leaves_nothing_behind(
    process: OperatorProcess, apiserver: APIServer, team: Team
) -> None:
    """The API server crashes in the midst of it; the sessions are gone when the namespace is."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    said = len(process.output)
    path = f"/api/v1/namespaces/{team.namespace}"
    assert (await team.ask("DELETE", path)).code == http.client.OK
    await asyncio.to_thread(apiserver.kill)
    await asyncio.to_thread(apiserver.start)
    await team.until_held()
    await eventually(
        lambda: apiserver.request("GET", path).code == http.client.NOT_FOUND,
        what="the namespace is gone",
    )
    assert await team.held() == []
    assert "Traceback" not in process.output[said:]


@pytest.mark.parametrize("end", [APIServer.stop, APIServer.kill], ids=["in order", "by a crash"])
async def test_sessions_stay_while_the_api_server_restarts(
    process: OperatorProcess, apiserver: APIServer, team: Team, end: Callable[[APIServer], None]
) -> None:
    """The same connections; and what is declared afterwards is taken in."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    before = await team.until_held("orders", "billing")
    said = len(process.output)
    await asyncio.to_thread(end, apiserver)
    await asyncio.to_thread(apiserver.start)
    await team.declare("invoices")
    await team.until_ready("invoices")
    held = await team.until_held("billing", "invoices", "orders")
    assert set(before) < set(held)
    # Of permissions nobody speaks who has just not been answered.
    assert "bind a role" not in process.output[said:]
    assert "Traceback" not in process.output[said:]


async def test_a_frozen_api_server_holds_nothing_up(apiserver: APIServer, team: Team) -> None:
    """A connection that is lost meanwhile is opened again, with what was last read."""
    await team.declare("orders", "billing")
    await team.patch("brokers", "rabbit", {"spec": {"connectTimeout": "4s"}})
    await team.until_ready("orders", "billing")
    [billing, orders] = await team.until_held("orders", "billing")
    apiserver.pause()
    for reason in ("maintenance begins", "maintenance ends"):
        await asyncio.to_thread(team.rabbit.administration.close_connection, orders.pid, reason)
        [same, orders] = await team.until_held("billing", "orders", other_than=[orders])
        assert same == billing
    apiserver.resume()
    await team.until(
        "orders",
        lambda status: (
            "maintenance ends" in str(status.get("lastClose"))
            and condition(status, "Ready")[0] == "True"
        ),
        "status tells of the close and of the new connection",
    )
    assert await team.held() == [billing, orders]


async def test_a_long_outage_ends_with_the_latest_truth_written_once(
    process: OperatorProcess, apiserver: APIServer, rabbitmq: RabbitMQNode, team: Team
) -> None:
    """The broker restarts meanwhile and raises an alarm; only how it ends is worth a write."""
    await team.declare("orders")
    await team.until_ready("orders")
    before = await team.until_held("orders")
    await asyncio.to_thread(apiserver.stop)
    await asyncio.to_thread(rabbitmq.restart)
    after = await team.until_held("orders", other_than=before)
    await asyncio.to_thread(rabbitmq.set_alarm, "memory")
    try:
        # Longer than what watches of the API server are tried again for before they give up.
        await process.eventually(
            lambda: process.output.count("failed; escalating") > 2, "tries are used up"
        )
        # How it ends has to be known by then; a loaded machine may take longer to see the block.
        labels = f'namespace="{team.namespace}",name="orders",reason="LowOnMemory"'
        blocked = f"springline_session_blocked{{{labels}}} 1.0"
        await process.eventually(lambda: blocked in process.get("/metrics").text, "it is blocked")
        written = writes(apiserver, team, "orders")
        await asyncio.to_thread(apiserver.start)
        status = await team.until_condition("orders", "Blocked", "True", "LowOnMemory")
        assert condition(status, "Ready") == ("True", "Connected")
        assert writes(apiserver, team, "orders") == written + 1
    finally:
        await asyncio.to_thread(rabbitmq.clear_alarm, "memory")
    await team.until_condition("orders", "Blocked", "False")
    assert await team.held() == after
    await team.until_events("orders", "Unblocked")


async def test_what_changed_while_history_was_lost_is_noticed(
    process: OperatorProcess, apiserver: APIServer, team: Team
) -> None:
    """After 410 Gone everything is listed anew, and compared with what there was."""
    await team.declare("deleted", "kept", "changed", "replaced")
    await team.put_secret(name="other")
    await team.declare("other", credentials={"secretRef": {"name": "other"}})
    names = ["changed", "deleted", "kept", "other", "replaced"]
    await team.until_ready(*names)
    before = {each.name: each for each in await team.until_held(*names)}
    process.pause()
    await team.delete(CONNECTIONS, "deleted")
    await team.delete(CONNECTIONS, "replaced")
    await team.declare("replaced", "created")
    await team.declare("changed", suspend=True)
    await team.put_secret("not the password", name="other")
    await asyncio.to_thread(apiserver.forget_history)
    process.resume()
    await team.until_ready("created")
    await team.until_condition("changed", "Connected", "False", "Suspended")
    await team.until_condition("other", "CredentialsValid", "False", "Rejected")
    held = {
        each.name: each for each in await team.until_held("created", "kept", "other", "replaced")
    }
    assert held["kept"] == before["kept"]
    assert held["other"] == before["other"]
    assert held["replaced"] != before["replaced"]
    await team.until_ready("replaced")


async def test_nothing_is_held_when_all_was_deleted_while_history_was_lost(
    process: OperatorProcess, apiserver: APIServer, team: Team
) -> None:
    """An empty list shows nothing, and that is what has to be noticed."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    process.pause()
    await team.delete(CONNECTIONS)
    await team.delete("brokers")
    await asyncio.to_thread(apiserver.forget_history)
    process.resume()
    await team.until_held()
