"""Thousands of AMQP 1.0 connections, one after the other: nothing of them stays."""

import asyncio
import gc
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest

from springline.drivers.amqp10.driver import Amqp10Driver
from support import leaks, opening
from support.amqp10_opening import request
from support.amqp10_rabbitmq import Amqp10RabbitMQ

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("nothing_left_of_it")]

BATCHES, BATCH = 4, 1000
AT_ONCE = 20
MOST_GROWTH_KIB = 1024
"""Of the batch that grows least; a connection has some 25 KB while it is open."""


@pytest.fixture
async def nothing_left_of_it(rabbitmq_newer: Amqp10RabbitMQ) -> AsyncIterator[None]:  # noqa: ARG001 - it runs before
    async with leaks.checked():
        yield


async def test_four_thousand_opens_and_closes_leave_nothing(
    rabbitmq_newer: Amqp10RabbitMQ,
) -> None:
    """What stays of each connection grows with every batch; what the allocators keep does not."""
    sizes = []
    for _ in range(BATCHES):
        await _churn(rabbitmq_newer, BATCH)
        sizes.append(_resident_kib())
    assert min(after - before for before, after in pairwise(sizes)) < MOST_GROWTH_KIB


async def _churn(broker: Amqp10RabbitMQ, times: int) -> None:
    asked = request(
        broker.endpoint.port,
        credential=opening.password(broker.username, broker.password),
        virtual_host=broker.virtual_host,
        timeout=60.0,
    )

    async def some() -> None:
        for _ in range(times // AT_ONCE):
            connection = await Amqp10Driver().open(asked)
            await connection.close()

    async with asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(some())
    gc.collect()


def _resident_kib() -> int:
    """Memory of this process that is not of files (proc(5))."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1])
    raise AssertionError("this kernel does not tell")
