"""What applications beside a session notice of it on RabbitMQ: nothing."""

import asyncio
from collections.abc import AsyncIterator

import aiormq
import pytest
from aiormq.abc import DeliveredMessage

from springline.drivers.amqp10 import links
from springline.drivers.amqp10.terms import LinkState
from support import leaks, opening
from support.amqp10_opening import link, opened, receiver, request
from support.amqp10_rabbitmq import Amqp10RabbitMQ
from support.waiting import eventually

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("nothing_left_of_it")]

MESSAGES = 200


@pytest.fixture(params=["rabbitmq_installed", "rabbitmq_newer"])
def rabbitmq(request: pytest.FixtureRequest) -> Amqp10RabbitMQ:
    """The oldest and the newest."""
    found: Amqp10RabbitMQ = request.getfixturevalue(request.param)
    return found


@pytest.fixture
async def nothing_left_of_it(rabbitmq: Amqp10RabbitMQ) -> AsyncIterator[None]:  # noqa: ARG001 - it runs before
    async with leaks.checked():
        yield


async def test_an_application_on_a_single_active_consumer_queue_gets_all_its_messages(
    rabbitmq: Amqp10RabbitMQ, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The declared receiver looks in again and again, and is gone each time."""
    monkeypatch.setattr(links, "_LOOK_AGAIN_SECONDS", 0.05)
    url = (
        f"amqp://{rabbitmq.username}:{rabbitmq.password}@127.0.0.1:{rabbitmq.endpoint.port}"
        f"/{rabbitmq.virtual_host}"
    )
    application = await aiormq.connect(url)
    try:
        channel = await application.channel()
        await channel.queue_declare(
            "single", durable=True, arguments={"x-single-active-consumer": True}
        )
        asked = request(
            rabbitmq.endpoint.port,
            credential=opening.password(rabbitmq.username, rabbitmq.password),
            virtual_host=rabbitmq.virtual_host,
            timeout=30.0,
            links=(receiver(rabbitmq.address("single")),),
        )
        got: list[bytes] = []

        async def take(message: DeliveredMessage) -> None:
            got.append(message.body)
            await channel.basic_ack(message.delivery_tag or 0)

        async with opened(asked) as connection:
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
    finally:
        await application.close()
