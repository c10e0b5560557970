"""What applications beside a session notice of it on RabbitMQ: nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiormq
import pytest
from aiormq.abc import AbstractChannel, DeliveredMessage

from springline.core.values import OpenRequest
from springline.drivers.amqp10 import links
from springline.drivers.amqp10.parameters import Amqp10Parameters
from springline.drivers.amqp10.terms import LinkState
from support import leaks, opening
from support.amqp10_opening import link, opened, receiver, request
from support.amqp10_rabbitmq import Amqp10RabbitMQ
from support.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("nothing_left_of_it")]

MESSAGES = 200


@pytest.fixture(params=["rabbitmq_installed", "rabbitmq_native", "rabbitmq_newer"])
def rabbitmq(request: pytest.FixtureRequest) -> Amqp10RabbitMQ:
    """Each of them."""
    found: Amqp10RabbitMQ = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def nothing_left_of_it(rabbitmq: Amqp10RabbitMQ) -> AsyncIterator[None]:  # noqa: ARG001 - it runs before
    async with leaks.checked():
        yield


# R4.16
async def test_no_message_is_handed_to_a_receiver_that_gives_no_credit(
    rabbitmq: Amqp10RabbitMQ,
) -> None:
    """A broker counts what it has handed out and got back: it may throw such a message away."""
    async with channel_at(rabbitmq) as channel:
        await channel.queue_declare("untouched", durable=True)
        for number in range(5):
            await channel.basic_publish(b"%d" % number, routing_key="untouched")
        async with opened(looking_at(rabbitmq, "untouched", keep=True)) as connection:
            await eventually(
                lambda: link(connection, "in").state is LinkState.ATTACHED, what="it is attached"
            )
        for number in range(5):
            message = await channel.basic_get("untouched", no_ack=True)
            assert message.body == b"%d" % number
            assert not message.redelivered
        await channel.queue_delete("untouched")


async def test_an_application_on_a_single_active_consumer_queue_gets_all_its_messages(
    rabbitmq: Amqp10RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The declared receiver looks in again and again, and is gone each time."""
    monkeypatch.setattr(links, "_LOOK_AGAIN_SECONDS", 0.05)
    async with channel_at(rabbitmq) as channel:
        await channel.queue_declare(
            "single", durable=True, arguments={"x-single-active-consumer": True}
        )
        got: list[bytes] = []

        async def take(message: DeliveredMessage) -> None:
            got.append(message.body)
            await channel.basic_ack(message.delivery_tag or 0)

        async with opened(looking_at(rabbitmq, "single")) as connection:
            # First of all consumers, which is the one that is active.
            await eventually(
                lambda: link(connection, "in").state is LinkState.DETACHED, what="it has looked in"
            )
            await channel.basic_consume("single", take)
            for number in range(MESSAGES):
                await channel.basic_publish(b"%d" % number, routing_key="single")
                await asyncio.sleep(0)
            await eventually(lambda: len(got) >= MESSAGES, what="the application has all")
            assert sorted(map(int, got)) == list(range(MESSAGES))
        await channel.queue_delete("single")


@contextlib.asynccontextmanager
async def channel_at(rabbitmq: Amqp10RabbitMQ) -> AsyncIterator[AbstractChannel]:
    """An application's channel, over AMQP 0-9-1."""
    application = await aiormq.connect(
        f"amqp://{rabbitmq.username}:{rabbitmq.password}@127.0.0.1:{rabbitmq.endpoint.port}"
        f"/{rabbitmq.virtual_host}"
    )
    try:
        yield await application.channel()
    finally:
        await application.close()


def looking_at(
    rabbitmq: Amqp10RabbitMQ, queue: str, *, keep: bool = False
) -> OpenRequest[Amqp10Parameters]:
    """Return a request with a receiver that is declared for a queue."""
    return request(
        rabbitmq.endpoint.port,
        credential=opening.password(rabbitmq.username, rabbitmq.password),
        virtual_host=rabbitmq.virtual_host,
        timeout=30.0,
        links=(receiver(rabbitmq.address(queue), keep=keep),),
    )
