"""A broker that is named by a Secret: the session follows it, and is never without a broker."""

from collections.abc import Iterator
from typing import Any

import pytest

from springline.core.events import EventType
from support.rabbitmq import RabbitMQNode
from support.running import Running, a_broker, a_connection, running
from support.waiting import eventually

NAME = "springline/default/orders"

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def nodes(
    broker: RabbitMQNode, disposable_broker: RabbitMQNode
) -> Iterator[tuple[RabbitMQNode, RabbitMQNode]]:
    """Two brokers with the same user."""
    both = (broker, disposable_broker)
    for node in both:
        node.add_user("moved", "x")
        node.set_permissions("moved", "/")
    yield both
    for node in both:
        node.delete_user("moved")


def told(node: RabbitMQNode, **values: str) -> list[dict[str, Any]]:
    """The documents of one connection to the broker that the Secret with its login names."""
    written = a_broker(node.amqp_port)
    del written["spec"]["endpoints"]
    written["spec"]["endpointsFrom"] = {"secretRef": {"name": "login"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}}
    login = {"username": "moved", "password": "x"}
    where = {"host": "127.0.0.1", "port": str(node.amqp_port)}
    return [written, secret | {"stringData": login | where | values}, a_connection("orders")]


def is_at(held: Running, node: RabbitMQNode) -> bool:
    """Whether the status says that the session is open there."""
    endpoint = f"127.0.0.1:{node.amqp_port} (127.0.0.1)"
    return held.is_ready("orders") and held.status("orders").get("endpoint") == endpoint


def pids(node: RabbitMQNode) -> list[str]:
    """The connections of the session at a broker."""
    return [each.pid for each in node.connections() if each.name == NAME]


async def test_a_session_moves_to_where_the_secret_says(
    nodes: tuple[RabbitMQNode, RabbitMQNode],
) -> None:
    """The new session is open before the old one is closed."""
    one, other = nodes
    async with running(*told(one)) as held:
        await eventually(lambda: is_at(held, one))
        held.apply(*told(other))
        await eventually(lambda: is_at(held, other))
        await eventually(lambda: not pids(one) and len(pids(other)) == 1)
        assert held.status("orders")["credentials"]["method"] == "Replaced"
        assert EventType.SESSION_REPLACED in held.types("orders")
        assert EventType.DISCONNECTED not in held.types("orders")


async def test_a_secret_that_names_the_same_broker_moves_nothing(
    nodes: tuple[RabbitMQNode, RabbitMQNode],
) -> None:
    """Whatever else changes in it, and even if it cannot be understood for a while."""
    one, other = nodes
    async with running(*told(one)) as held:
        await eventually(lambda: is_at(held, one))
        before = pids(one)
        held.apply(*told(one, default_user_conf="default_user = moved"))
        held.apply(*told(one, port="none"))
        held.apply(*told(one, note="as before"))
        await eventually(
            lambda: held.status("orders")["credentials"]["observedVersion"] == "4",
            what="the fourth version of the Secret was looked at",
        )
        assert pids(one) == before
        assert not pids(other)
        assert EventType.SESSION_REPLACED not in held.types("orders")


async def test_a_secret_without_a_port_that_makes_sense_is_refused_until_it_has_one(
    nodes: tuple[RabbitMQNode, RabbitMQNode],
) -> None:
    """The session is opened as soon as the Secret changes, without waiting for the next attempt."""
    one, _ = nodes
    async with running(*told(one, port="pl4nted")) as held:
        message = await held.until_reason("orders", "Connected", "NameResolutionFailed")
        assert 'key "port" of Secret "login" is not a port number' in message
        assert "pl4nted" not in f"{held.status('orders')}{held.events}"
        held.apply(*told(one))
        await eventually(lambda: is_at(held, one))
