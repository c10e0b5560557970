"""Without heartbeats, probes decide whether a broker is there; one that blocks always is."""

from collections.abc import Iterator
from typing import Any

import pytest

from support.identities import Tenant
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection, a_secret, running
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("nothing_left")

PROBE = {"interval": "1s", "timeout": "1s"}


@pytest.fixture
def node(disposable_broker: RabbitMQNode) -> Iterator[RabbitMQNode]:
    """A node with a user, to freeze; it goes on afterwards."""
    disposable_broker.add_user("ann", "secret")
    disposable_broker.set_permissions("ann", "/")
    yield disposable_broker
    disposable_broker.resume()


def declared(port: int, username: str, secret: str, **spec: Any) -> list[dict[str, Any]]:
    return [
        a_broker(port),
        a_secret(username, secret),
        a_connection("orders", heartbeat="0s", probe=PROBE, **spec),
    ]


async def test_a_frozen_broker_is_noticed_without_heartbeats(node: RabbitMQNode) -> None:
    """The system of the other machine goes on to confirm what it receives."""
    async with running(*declared(node.amqp_port, "ann", "secret")) as held:
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert held.status("orders")["negotiated"]["heartbeat"] == "0s"
        node.pause()
        await eventually(
            lambda: held.status("orders").get("lastClose", {}).get("reason") == "PeerSilent",
            what="the silence is noticed",
        )
        node.resume()
        await held.until_ready("orders")


async def test_a_blocked_broker_is_not_taken_for_gone(broker: RabbitMQNode, tenant: Tenant) -> None:
    """It has stopped reading, and answers no probe for as long as the alarm lasts."""
    documents = declared(broker.amqp_port, tenant.username, tenant.secret, virtualHost=tenant.vhost)
    async with running(*documents) as held:
        await held.until_reason("orders", "Blocked", "NotBlocked")
        since = held.status("orders")["connectedSince"]
        broker.set_alarm("memory")
        try:
            await held.until_reason("orders", "Blocked", "LowOnMemory")
            # As long as it would take to notice silence.
            [session] = held.parts.manager.sessions()
            await eventually(lambda: session.view.blocked_seconds > 6, what="the block lasts")
        finally:
            broker.clear_alarm("memory")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert held.status("orders")["connectedSince"] == since
        assert "lastClose" not in held.status("orders")
