"""Twenty brokers that flood at once, beside a hundred sessions with one that behaves."""

import asyncio
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest

from bench.measuring import peak_bytes, resident_bytes
from support import hostile_brokers, springline_process
from support.hostile_brokers import Apart
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection, a_secret
from support.springline_process import Springline

pytestmark = pytest.mark.broker

BYSTANDERS = [f"orders-{number}" for number in range(100)]
OF_EACH = 4
FLOOD_SECONDS = 15.0
ASK_SECONDS = 1.0
MOST_MEMORY = 16 * 1024**2
"""Bytes that the process may grow by; the hostile brokers say more in a second."""

STOPPED_SECONDS = 10 + 5 + 2
"""`--shutdown-timeout`, the last files of status, and the last output: docs/limits.md."""

REASONS = {
    "heartbeats": "Flooded",
    "blocks": "Flooded",
    "large-frame": "ProtocolMismatch",
    "closes": "ConnectionForced",
    "garbage": "ProtocolMismatch",
}
"""What status says of each hostile broker."""


@pytest.fixture
async def hostile(tmp_path: Path) -> AsyncIterator[Apart]:
    async with hostile_brokers.apart(tmp_path, each=OF_EACH) as hostile:
        yield hostile


@pytest.fixture
async def process(tmp_path: Path) -> AsyncIterator[Springline]:
    async with springline_process.running(tmp_path) as process:
        yield process


async def held(node: RabbitMQNode) -> dict[str, int]:
    """Return the bystanders' connections at the broker, by the ports that they come from."""
    found = await asyncio.to_thread(node.connections)
    prefix = "springline/default/"
    assert len({each.name for each in found}) == len(found)
    return {each.name.removeprefix(prefix): each.peer_port for each in found}


def is_ready(process: Springline, name: str) -> bool:
    return process.condition("Ready", name)[0] == "True"


def says(process: Springline, name: str, reason: str) -> bool:
    """Whether status gives this reason, for what is or was last."""
    closed = process.status(name).get("lastClose", {}).get("reason")
    return reason in (closed, process.condition("Ready", name)[1])


async def follows_a_change(process: Springline, turn: int) -> None:
    """Declare one connection a little otherwise, and wait until its status knows of that."""
    name = BYSTANDERS[0]
    before = process.status(name)["observedGeneration"]
    process.write(f"{name}.yaml", a_connection(name, probe={"interval": f"{11 + turn}s"}))
    await process.eventually(
        lambda: process.status(name)["observedGeneration"] > before, "a change is followed"
    )


async def test_floods_of_twenty_brokers_cost_nobody_else_anything(
    disposable_broker: RabbitMQNode, process: Springline, hostile: Apart
) -> None:
    """Every session beside them keeps its connection, and changes are followed all the while.

    Memory is bounded, and SIGTERM in the midst of it closes all sessions in the time for that.
    """
    node = disposable_broker
    process.write("broker.yaml", a_broker(node.amqp_port), a_secret("guest", "guest"))
    for name in BYSTANDERS:
        process.write(f"{name}.yaml", a_connection(name, probe={"interval": "10s"}))
    await process.eventually(
        lambda: all(is_ready(process, name) for name in BYSTANDERS), "all are Ready"
    )
    before, memory = await held(node), resident_bytes(process.pid)
    assert set(before) == set(BYSTANDERS)

    for port, script in hostile.scripts.items():
        name = f"{script}-{port}"
        broker = a_broker(port, name=name)
        process.write(
            f"{name}.yaml", broker, a_connection(name, brokerRef={"name": name}, frameMax=2**31 - 1)
        )
    loop = asyncio.get_running_loop()
    deadline = loop.time() + FLOOD_SECONDS
    answered = 0
    while loop.time() < deadline:  # that is how long the floods last
        await follows_a_change(process, answered)
        answered += 1
        await asyncio.sleep(ASK_SECONDS)  # how often it is asked
    for port, script in hostile.scripts.items():
        await process.eventually(
            partial(says, process, f"{script}-{port}", REASONS[script]), f"status tells of {script}"
        )
    assert all(hostile.met[port] > 1 for port in hostile.scripts)
    assert answered > 1
    assert await held(node) == before
    assert peak_bytes(process.pid) - memory < MOST_MEMORY

    process.signal(signal.SIGTERM)
    async with asyncio.timeout(STOPPED_SECONDS):
        assert await process.ended() == 0
    assert "closed unexpectedly" not in node.log_text()
