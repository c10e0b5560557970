"""The operator ends, in order or not, or is frozen: sessions come back once, and status is right.

Also what it waits for at its start, and that it can be stopped meanwhile.
"""

import asyncio
import http.client
import os
import signal
from pathlib import Path

import pytest

from support.apiserver import APIServer
from support.definitions import Definitions
from support.fault_proxy import FaultProxy
from support.operator_process import OperatorProcess
from support.rabbitmq import RabbitMQNode
from support.team import CONNECTIONS, Team, condition

pytestmark = pytest.mark.usefixtures("mended")

HEARTBEAT = 2


def status_writes(apiserver: APIServer, team: Team, *names: str) -> int:
    """Count the status writes of connections so far, whatever was answered."""
    return sum(
        (each.verb, each.resource, each.subresource, each.namespace)
        == ("patch", CONNECTIONS, "status", team.namespace)
        and each.name in names
        for each in apiserver.audit()
    )


async def test_a_killed_operator_holds_everything_once_when_it_is_back(
    process: OperatorProcess, apiserver: APIServer, team: Team
) -> None:
    """What was deleted meanwhile stays closed; status is corrected by one write each."""
    await team.declare("deleted", "orders", "billing")
    await team.until_ready("deleted", "orders", "billing")
    before = await team.until_held("billing", "deleted", "orders")
    holder = process.holder
    process.kill()
    await team.until_held()
    await team.delete(CONNECTIONS, "deleted")
    written = status_writes(apiserver, team, "orders", "billing")
    process.start()
    await process.until_ready()
    await team.until_held("billing", "orders", other_than=before)
    for name in ("orders", "billing"):
        await team.until(
            name,
            lambda status: (
                status["holder"] not in ("", holder) and condition(status, "Ready")[0] == "True"
            ),
            "status is that of the new process",
        )
    assert status_writes(apiserver, team, "orders", "billing") == written + 2


async def test_a_frozen_operator_recovers(process: OperatorProcess, team: Team) -> None:
    """It missed heartbeats, so the broker has closed its connections; it opens new ones."""
    await team.declare("orders", "billing", heartbeat=f"{HEARTBEAT}s")
    await team.until_ready("orders", "billing")
    before = await team.until_held("billing", "orders")
    process.pause()
    await team.until_held()
    process.resume()
    await team.until_held("billing", "orders", other_than=before)
    await team.until_ready("billing", "orders")
    assert process.get("/healthz").code == http.client.OK


async def test_two_signals_end_it_at_once(
    process: OperatorProcess, rabbitmq: RabbitMQNode, team: Team
) -> None:
    """A broker that does not answer holds the first one up; the second does not wait for it."""
    await team.declare("orders")
    await team.until_ready("orders")
    rabbitmq.pause()
    said = len(process.output)
    os.kill(process.pid, signal.SIGTERM)
    await process.eventually(
        lambda: "closing 1 session(s)" in process.output[said:], "it closes the session"
    )
    assert process.get("/readyz").code == http.client.SERVICE_UNAVAILABLE
    await asyncio.to_thread(process.stop)
    assert "dropping the sessions" in process.output[said:]
    rabbitmq.resume()
    await team.until_held()


async def test_it_stops_in_order_while_the_api_server_is_away(
    process: OperatorProcess, apiserver: APIServer, rabbitmq: RabbitMQNode, team: Team
) -> None:
    """The broker is told goodbye; nobody is told the last status, and that is all."""
    process.stop()
    process.start("--shutdown-timeout", "1")
    await team.declare("orders")
    await team.until_ready("orders")
    await asyncio.to_thread(apiserver.stop)
    logged = len(rabbitmq.log_text())
    said = len(process.output)
    await asyncio.to_thread(process.stop)
    await team.until_held()
    assert "last status not written in time" in process.output[said:]
    assert "client unexpectedly closed" not in rabbitmq.log_text()[logged:]


async def test_it_need_not_wait_for_a_frozen_api_server(
    process: OperatorProcess, apiserver: APIServer, team: Team
) -> None:
    """Two more signals: neither the sessions nor the last status are waited for."""
    await team.declare("orders")
    await team.until_ready("orders")
    apiserver.pause()
    said = len(process.output)
    os.kill(process.pid, signal.SIGTERM)
    await team.until_held()
    await asyncio.to_thread(process.stop)
    assert "last status not written in time" in process.output[said:]


async def test_it_can_be_stopped_right_after_its_start(process: OperatorProcess) -> None:
    """As soon as it says anything."""
    process.stop()
    said = len(process.output)
    process.start()
    await process.eventually(lambda: len(process.output) > said, "it says something")
    process.stop()


async def test_it_waits_for_the_api_server(
    process: OperatorProcess, apiserver: APIServer, team: Team, tmp_path: Path
) -> None:
    """Alive and not ready, and it says why, once; then it goes on."""
    await asyncio.to_thread(process.stop)
    await team.declare("orders")
    proxy = FaultProxy(apiserver, tmp_path)
    lost = OperatorProcess(tmp_path, apiserver, kubeconfig=proxy.kubeconfig)
    try:
        lost.start()
        await lost.until_said("waiting for the API server")
        assert lost.get("/healthz").code == http.client.OK
        ready = lost.get("/readyz")
        assert ready.code == http.client.SERVICE_UNAVAILABLE
        assert "the API server cannot be reached" in ready.text
        async with proxy.serving():
            await lost.until_ready()
            await team.until_ready("orders")
            assert lost.output.count("waiting for the API server") == 1
            assert " cannot be reached" not in lost.get("/readyz").text
            await asyncio.to_thread(lost.stop)
    finally:
        lost.close()
        proxy.close()


async def test_it_waits_for_the_definitions(
    process: OperatorProcess, definitions: Definitions, team: Team
) -> None:
    """It says which are missing and what to do, can be stopped, and goes on when they are there."""
    await asyncio.to_thread(process.stop)
    await asyncio.to_thread(definitions.delete)
    said = len(process.output)
    process.start()
    missing = "clusterbrokers, brokers, brokerconnections are not installed"
    await process.eventually(lambda: missing in process.output[said:], "it says what is missing")
    ready = process.get("/readyz")
    assert ready.code == http.client.SERVICE_UNAVAILABLE
    assert "not installed" in ready.text
    assert process.get("/healthz").code == http.client.OK
    process.stop()
    process.start()
    await asyncio.to_thread(definitions.install)
    await process.until_ready()
    await team.declare("orders")
    await team.until_ready("orders")


async def test_deleted_definitions_take_the_sessions_with_them(
    process: OperatorProcess, definitions: Definitions, team: Team
) -> None:
    """For all declarations go with them. Installed again, they work again."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    said = len(process.output)
    await asyncio.to_thread(definitions.delete)
    await team.until_held()
    missing = "brokerconnections are not installed"
    await process.eventually(lambda: missing in process.output[said:], "it says what is missing")
    await asyncio.to_thread(definitions.install)
    await team.declare("invoices")
    await team.until_ready("invoices")
    await team.until_held("invoices")
