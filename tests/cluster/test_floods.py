"""Twenty brokers that flood at once, beside a hundred connections with one that behaves."""

import asyncio
import http.client
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from bench.measuring import peak_bytes, resident_bytes
from support import hostile_brokers
from support.hostile_brokers import Apart
from support.operator_process import OperatorProcess
from support.running import a_broker
from support.team import CONNECTIONS, Team

BYSTANDERS = [f"orders-{number:03}" for number in range(100)]
OF_EACH = 4
FLOOD_SECONDS = 15.0
ASK_SECONDS = 1.0
MOST_MEMORY = 32 * 1024**2
"""Bytes that the process may grow by; the hostile brokers say more in a second."""

STOPPED_SECONDS = 20 + 10
"""`--shutdown-timeout`, and ten seconds more: what the chart gives the pod to end in."""


@pytest.fixture
async def hostile(tmp_path: Path) -> AsyncIterator[Apart]:
    async with hostile_brokers.apart(tmp_path, each=OF_EACH) as hostile:
        yield hostile


async def test_floods_of_twenty_brokers_cost_nobody_else_anything(
    process: OperatorProcess, team: Team, hostile: Apart
) -> None:
    """Every connection beside them stays the same, `/healthz` answers, and SIGTERM is obeyed."""
    await team.declare(*BYSTANDERS, probe={"interval": "10s"})
    await team.until_ready(*BYSTANDERS)
    before, memory = await team.held(), resident_bytes(process.pid)
    assert [each.name for each in before] == BYSTANDERS

    names = []
    for port, script in hostile.scripts.items():
        names.append(f"{script}-{port}")
        await team.apply("brokers", a_broker(port, name=names[-1]))
        document = team.connection(
            names[-1], brokerRef={"name": names[-1]}, frameMax=2**31 - 1, probe={"interval": "1s"}
        )
        await team.apply(CONNECTIONS, document)
    loop = asyncio.get_running_loop()
    deadline = loop.time() + FLOOD_SECONDS
    answers = []
    while loop.time() < deadline:  # that is how long the floods last
        answers.append((await asyncio.to_thread(process.get, "/healthz")).code)
        await asyncio.sleep(ASK_SECONDS)  # how often it is asked
    assert set(answers) == {http.client.OK}
    await process.eventually(
        lambda: all(hostile.met[port] > 1 for port in hostile.scripts), "all of them have flooded"
    )
    assert [each for each in await team.held() if each.name in BYSTANDERS] == before
    assert peak_bytes(process.pid) - memory < MOST_MEMORY

    await asyncio.to_thread(process.stop, STOPPED_SECONDS)
    assert await team.held() == []
