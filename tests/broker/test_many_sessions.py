"""Five hundred sessions at once: as many at the broker as declared, before and after a restart."""

import asyncio
from collections import Counter

from support.rabbitmq import RabbitMQNode
from support.running import Running, a_broker, a_connection, a_secret, running
from support.waiting import eventually

SESSIONS = 500
NAMES = [f"session-{number}" for number in range(SESSIONS)]


def _ready(held: Running) -> int:
    return sum(shown.is_ready for shown in held.parts.report.shown.values())


async def _names_at(node: RabbitMQNode) -> Counter[str]:
    connections = await asyncio.to_thread(node.connections)
    return Counter(each.name for each in connections if each.state == "running")


async def test_the_broker_has_exactly_the_declared_sessions_also_after_a_restart(
    disposable_broker: RabbitMQNode,
) -> None:
    """None is missing, none is doubled, and closing leaves none behind."""
    node = disposable_broker
    declared = Counter(f"springline/default/{name}" for name in NAMES)
    async with running(
        a_broker(node.amqp_port, connectTimeout="60s"),
        a_secret("guest", "guest"),
        *(a_connection(name, probe={"interval": "10s"}) for name in NAMES),
    ) as held:
        await eventually(lambda: _ready(held) == SESSIONS, what="all are Ready")
        assert await _names_at(node) == declared

        await asyncio.to_thread(node.stop)
        await eventually(lambda: _ready(held) == 0, what="none is Ready")
        states = {held.status(name)["state"] for name in NAMES}
        assert states == {"Waiting"}

        await asyncio.to_thread(node.start)
        await eventually(lambda: _ready(held) == SESSIONS, timeout=90, what="all are Ready again")
        assert await _names_at(node) == declared

    assert not await _names_at(node)
    assert "closed unexpectedly" not in node.log_text()
