"""A changed Secret under a live session: renewed, replaced or refused, and never lost."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from springline.core.events import EventType
from support.identities import Issuer
from support.rabbitmq import RabbitMQNode
from support.running import Running, a_broker, a_connection, a_secret, running
from support.waiting import eventually

NAME = "springline/default/orders"


pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def user(broker: RabbitMQNode) -> Iterator[str]:
    """A user of the default virtual host."""
    broker.add_user("renewed", "first")
    broker.set_permissions("renewed", "/")
    yield "renewed"
    broker.delete_user("renewed")


def pid(node: RabbitMQNode) -> str:
    """Which connection of the broker it is; another one has another pid."""
    (connection,) = [each for each in node.connections() if each.name == NAME]
    return connection.pid


def with_password(node: RabbitMQNode, user: str, password: str) -> list[dict[str, Any]]:
    """The documents of one connection that logs in by password."""
    return [
        a_broker(node.amqp_port),
        a_secret(user, password),
        a_connection("orders", probe={"interval": "1s"}),
    ]


def with_token(node: RabbitMQNode, token: str) -> list[dict[str, Any]]:
    """The documents of one connection that logs in by token."""
    return [
        a_broker(node.amqp_port),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "login"},
            "stringData": {"token": token},
        },
        a_connection("orders", credentials={"tokenRef": {"name": "login"}}),
    ]


def method(held: Running) -> str:
    """How the session got its credential."""
    return str(held.status("orders").get("credentials", {}).get("method"))


# R1.12, R1.13
async def test_a_new_token_is_brought_to_the_live_connection(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """The same connection at the broker, with the new token's expiry in status."""
    async with running(*with_token(broker, issuer.token("ann", seconds=600))) as held:
        await held.until_ready("orders")
        assert held.status("orders")["credentials"]["username"] == "ann"
        before, expiry = pid(broker), held.status("orders")["credentials"]["expiresAt"]
        held.apply(*with_token(broker, issuer.token("ann", seconds=7200)))
        await eventually(lambda: method(held) == "InPlace")
        assert pid(broker) == before
        assert held.status("orders")["credentials"]["expiresAt"] > expiry
        assert held.condition("orders", "CredentialsValid")["reason"] == "Verified"
        assert EventType.SECRET_UPDATED in held.types("orders")
        assert EventType.DISCONNECTED not in held.types("orders")


async def test_a_token_of_another_subject_replaces_the_session(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """The new session is open before the old one is closed."""
    async with running(*with_token(broker, issuer.token("ann"))) as held:
        await held.until_ready("orders")
        before = pid(broker)
        held.apply(*with_token(broker, issuer.token("ben")))
        await eventually(lambda: method(held) == "Replaced")
        await eventually(lambda: len([c for c in broker.connections() if c.name == NAME]) == 1)
        assert pid(broker) != before
        assert held.status("orders")["credentials"]["username"] == "ben"
        assert EventType.DISCONNECTED not in held.types("orders")


async def test_a_garbage_token_never_reaches_the_live_connection(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """It is refused on a handshake of its own; the session keeps the good one."""
    garbage = "eyJhbGciOiJIUzI1NiJ9.bm90LWpzb24.pl4nted"
    async with running(*with_token(broker, issuer.token("ann"))) as held:
        await held.until_ready("orders")
        before = pid(broker)
        held.apply(*with_token(broker, garbage))
        await held.until_reason("orders", "CredentialsValid", "Rejected")
        assert pid(broker) == before
        assert held.condition("orders", "Connected")["status"] == "True"
        assert held.condition("orders", "Ready")["reason"] == "Rejected"
        assert held.types("orders").count(EventType.SECRET_REJECTED) == 1
        held.apply(*with_token(broker, issuer.token("ann")))
        await held.until_ready("orders")
        assert pid(broker) == before
        assert garbage not in json.dumps(held.status("orders")) + repr(held.events)


async def test_a_password_changed_in_the_secret_first_recovers_by_itself(
    broker: RabbitMQNode, user: str
) -> None:
    """Refused while the broker has the old one, then renewed without further action."""
    async with running(*with_password(broker, user, "first")) as held:
        await held.until_ready("orders")
        before = pid(broker)
        held.apply(*with_password(broker, user, "second"))
        await held.until_reason("orders", "CredentialsValid", "Rejected")
        broker.change_password(user, "second")
        await held.until_ready("orders")
        assert method(held) == "InPlace"
        assert pid(broker) == before
        assert EventType.DISCONNECTED not in held.types("orders")


async def test_a_blocked_session_is_replaced(broker: RabbitMQNode, user: str) -> None:
    """The broker no longer reads from it, so a renewal in place would never be answered."""
    async with running(*with_password(broker, user, "first")) as held:
        await held.until_ready("orders")
        broker.set_alarm("memory")
        try:
            await held.until_reason("orders", "Blocked", "LowOnMemory")
            broker.change_password(user, "second")
            held.apply(*with_password(broker, user, "second"))
            await eventually(lambda: method(held) == "Replaced")
            await held.until_reason("orders", "Blocked", "LowOnMemory")
        finally:
            broker.clear_alarm("memory")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert EventType.DISCONNECTED not in held.types("orders")


async def test_a_missing_secret_leaves_the_live_session_alone(
    broker: RabbitMQNode, user: str
) -> None:
    """Deleting the Secret is told; the session is not closed for it."""
    documents = with_password(broker, user, "first")
    async with running(*documents) as held:
        await held.until_ready("orders")
        before = pid(broker)
        held.apply(*documents[::2])
        await held.until_reason("orders", "CredentialsValid", "SecretNotFound")
        assert pid(broker) == before
        held.apply(*documents)
        await held.until_ready("orders")
        assert pid(broker) == before
