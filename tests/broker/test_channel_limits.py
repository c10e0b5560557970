"""Where a user may open no further channel, or not publish, the session does without its probe."""

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from springline.core.events import EventType
from springline.drivers.amqp091.driver import Amqp091Driver
from support import opening
from support.identities import Tenant
from support.rabbitmq import RabbitMQNode
from support.running import Running, a_broker, a_connection, a_secret, running
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def limit(broker: RabbitMQNode, tenant: Tenant) -> Callable[[int], None]:
    """Limits the tenant's channels, as an administrator does."""

    def limited(channels: int) -> None:
        broker.ctl("set_user_limits", tenant.username, json.dumps({"max-channels": channels}))

    return limited


@pytest.fixture
async def application(broker: RabbitMQNode, tenant: Tenant) -> AsyncIterator[None]:
    """A client of the same user that keeps a channel open."""
    connection = await Amqp091Driver().open(
        opening.request(broker.amqp_port, credential=tenant.credential, virtual_host=tenant.vhost)
    )
    await opening.probe(connection, exchange="", routing_key="application", timeout=30)
    yield
    assert connection.is_open, "the application keeps what it has"
    await connection.close()


def declared(broker: RabbitMQNode, tenant: Tenant, **spec: Any) -> list[dict[str, Any]]:
    return [
        a_broker(broker.amqp_port),
        a_secret(tenant.username, tenant.secret),
        a_connection("orders", virtualHost=tenant.vhost, **spec),
    ]


async def without_a_probe(held: Running) -> str:
    """Wait until the session is open without a probe, and return what is said of that."""
    await eventually(
        lambda: (
            held.is_ready("orders")
            and held.condition("orders", "Blocked")["reason"] == "ProbeDisabled"
        ),
        what="the session is open without a probe",
    )
    return str(held.condition("orders", "Blocked")["message"])


@pytest.mark.usefixtures("application")
async def test_a_session_goes_without_a_probe_where_the_user_has_no_channel_left(
    broker: RabbitMQNode, tenant: Tenant, limit: Callable[[int], None]
) -> None:
    """Its probe has cost one connection, and costs no other one."""
    limit(1)
    async with running(*declared(broker, tenant)) as held:
        message = await without_a_probe(held)
        assert "number of channels opened" in message
        assert "let the user open one channel more" in message
        assert held.condition("orders", "Blocked")["status"] == "Unknown"
        assert held.status("orders")["lastClose"]["reason"] == "ConnectionLimitReached"
        since = held.status("orders")["connectedSince"]

        # Several intervals of the probe.
        await asyncio.to_thread(broker.ctl, "list_connections")
        assert held.status("orders")["connectedSince"] == since
        assert held.types("orders").count(EventType.DISCONNECTED) == 1
        assert held.types("orders").count(EventType.PROBE_REFUSED) == 1


async def test_what_rabbitmq_says_of_the_limit_is_shown_whatever_the_password_is(
    broker: RabbitMQNode, tenant: Tenant, limit: Callable[[int], None]
) -> None:
    """A sentence that it always says is known, and gives nothing away."""
    limit(0)
    broker.ctl("change_password", tenant.username, "maximum")
    word = dataclasses.replace(tenant, secret="maximum")
    async with running(*declared(broker, word)) as held:
        message = await without_a_probe(held)
        assert "not shown" not in message
        assert f"opened for user '{tenant.username}' has reached the maximum allowed" in message


@pytest.mark.usefixtures("application")
async def test_a_changed_declaration_has_the_probe_tried_without_risk_to_the_session(
    broker: RabbitMQNode, tenant: Tenant, limit: Callable[[int], None]
) -> None:
    """At once, and on a connection of its own: whether it is let is not known before."""
    limit(1)
    async with running(*declared(broker, tenant)) as held:
        await without_a_probe(held)
        since = held.status("orders")["connectedSince"]

        held.apply(*declared(broker, tenant, probe={"interval": "2s", "timeout": "2s"}))
        await eventually(
            lambda: len(trials(broker, tenant)) > 0, what="the probe is tried beside the session"
        )
        await without_a_probe(held)

        limit(2)
        held.apply(*declared(broker, tenant, probe={"interval": "1s", "timeout": "2s"}))
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert held.status("orders")["connectedSince"] == since
        assert held.types("orders").count(EventType.DISCONNECTED) == 1


def trials(broker: RabbitMQNode, tenant: Tenant) -> list[str]:
    """What the broker's log says of connections on which a probe was tried."""
    marks = ("springline/default/orders (probe)", f"'{tenant.vhost}'")
    return [line for line in broker.log_text().splitlines() if all(mark in line for mark in marks)]


async def test_a_replacement_needs_no_second_channel(
    broker: RabbitMQNode, tenant: Tenant, limit: Callable[[int], None]
) -> None:
    """The old connection's channel is given back before the new one's is opened."""
    limit(1)
    async with running(*declared(broker, tenant)) as held:
        await held.until_reason("orders", "Blocked", "NotBlocked")
        held.apply(*declared(broker, tenant, clientProperties={"moved": "yes"}))
        await eventually(
            lambda: EventType.SESSION_REPLACED in held.types("orders"),
            what="the session is another connection",
        )
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert held.types("orders").count(EventType.DISCONNECTED) == 0


async def test_a_permission_that_is_granted_is_seen_when_the_declaration_changes(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    """At once, and on the same connection."""
    broker.set_permissions(tenant.username, tenant.vhost, write="^$")
    async with running(*declared(broker, tenant)) as held:
        message = await without_a_probe(held)
        assert "403 ACCESS_REFUSED" in message
        since = held.status("orders")["connectedSince"]
        broker.set_permissions(tenant.username, tenant.vhost)
        held.apply(*declared(broker, tenant, rotation={"renewAt": "70%"}))
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert held.status("orders")["connectedSince"] == since
        assert held.types("orders").count(EventType.DISCONNECTED) == 0
