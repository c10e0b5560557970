"""Declared links on each broker: attached, shown, refused, detached, kept."""

import asyncio
from typing import Any

import pytest

from springline.drivers.amqp10.connection import Amqp10Connection
from springline.drivers.amqp10.negotiated import LinkInfo
from springline.drivers.amqp10.parameters import LinkParameters, ProbeParameters
from springline.drivers.amqp10.terms import (
    Delivery,
    LinkState,
    ReceiverSettle,
    Role,
    SenderSettle,
)
from springline.reasons import Reason
from support import opening
from support.amqp10_brokers import Amqp10Broker
from support.amqp10_opening import link, opened, probed, receiver, request, sender
from support.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("nothing_left_beside")]


def asked(broker: Amqp10Broker, *links: LinkParameters, **changes: Any) -> Any:
    return request(
        broker.endpoint.port,
        credential=opening.password(broker.username, broker.password),
        virtual_host=broker.virtual_host,
        timeout=30.0,
        links=links,
        **changes,
    )


async def until(connection: Amqp10Connection, name: str, *states: LinkState) -> LinkInfo:
    """Wait until a link is in one of these states, and return it."""

    def found() -> LinkInfo | None:
        info = link(connection, name)
        return info if info.state in states else None

    info = await eventually(found, what=f"{name} is {states}")
    assert info is not None
    return info


# R4.8, R4.12, R4.13
async def test_a_sender_is_attached_and_shown_with_its_settings(
    amqp10_broker: Amqp10Broker,
) -> None:
    address = await asyncio.to_thread(amqp10_broker.add_queue, "orders")
    async with opened(asked(amqp10_broker, sender(address))) as connection:
        found = await until(connection, "out", LinkState.ATTACHED)
        assert (found.role, found.kept) == (Role.SENDER, True)
        assert found.address == address
        assert found.sender_settle in {SenderSettle.UNSETTLED, SenderSettle.MIXED}
        assert found.receiver_settle is ReceiverSettle.FIRST
        await eventually(lambda: link(connection, "out").credit, what="it gets credit")
        assert connection.blocked is None


# R4.13
async def test_at_most_once_asks_for_settled_messages(amqp10_broker: Amqp10Broker) -> None:
    address = await asyncio.to_thread(amqp10_broker.add_queue, "orders")
    declared = sender(address, delivery=Delivery.AT_MOST_ONCE)
    async with opened(asked(amqp10_broker, declared)) as connection:
        found = await until(connection, "out", LinkState.ATTACHED)
        assert found.sender_settle in {SenderSettle.SETTLED, SenderSettle.MIXED}


# R4.8, R4.16
# It takes no message, and is no consumer afterwards.
async def test_a_receiver_is_attached_reported_and_detached(amqp10_broker: Amqp10Broker) -> None:
    address = await asyncio.to_thread(amqp10_broker.add_queue, "orders")
    async with opened(asked(amqp10_broker, receiver(address))) as connection:
        found = await until(connection, "in", LinkState.DETACHED)
        assert found.address == address
        assert not found.message
        assert not found.kept


async def test_a_receiver_that_is_kept_stays(amqp10_broker: Amqp10Broker) -> None:
    address = await asyncio.to_thread(amqp10_broker.add_queue, "orders")
    async with opened(asked(amqp10_broker, receiver(address, keep=True))) as connection:
        found = await until(connection, "in", LinkState.ATTACHED)
        assert found.kept


# R4.8, R4.17
async def test_a_refused_link_says_why_and_the_connection_and_its_other_links_stay(
    amqp10_broker: Amqp10Broker,
) -> None:
    address = await asyncio.to_thread(amqp10_broker.add_queue, "orders")
    nowhere = amqp10_broker.address("nowhere-at-all")
    async with opened(asked(amqp10_broker, sender(nowhere, "lost"), sender(address))) as connection:
        lost = await until(connection, "lost", LinkState.REFUSED, LinkState.ATTACHED)
        if lost.state is LinkState.REFUSED:  # some brokers make what they are asked for
            assert "amqp:" in lost.message
        await until(connection, "out", LinkState.ATTACHED)
        assert connection.is_open


# R4.7, R4.17
# The scopes of an end are told apart.
async def test_a_link_whose_queue_is_deleted_says_so_and_the_connection_stays(
    amqp10_broker: Amqp10Broker,
) -> None:
    address = await asyncio.to_thread(amqp10_broker.add_queue, "doomed")
    async with opened(asked(amqp10_broker, receiver(address, keep=True))) as connection:
        await until(connection, "in", LinkState.ATTACHED)
        await asyncio.to_thread(amqp10_broker.delete_queue, "doomed")
        if amqp10_broker.title.startswith("RabbitMQ 4"):
            found = await until(connection, "in", LinkState.DETACHED, LinkState.REFUSED)
            assert found.message
        assert connection.is_open


# R4.14
async def test_a_sender_without_credit_is_a_block(amqp10_broker: Amqp10Broker) -> None:
    if not amqp10_broker.facts.withholds_credit:
        pytest.skip("it withholds no credit")
    address = await asyncio.to_thread(amqp10_broker.add_small_queue, "small")
    async with opened(asked(amqp10_broker, probe=ProbeParameters(address=address))) as filling:
        assert await probed(filling, lifetime=None) is not None
    async with opened(asked(amqp10_broker, sender(address))) as connection:
        await until(connection, "out", LinkState.ATTACHED)
        await eventually(lambda: connection.blocked, what="the want of credit is seen")
        block = connection.blocked
        assert block is not None
        assert block.reason is Reason.NO_CREDIT
        assert '"out"' in block.text
