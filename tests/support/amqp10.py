"""Connections of the AMQP 1.0 driver to scripted peers: how a fault test begins.

It needs proton.
"""

import asyncio
import contextlib
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest

from springline.core.values import CloseInfo
from springline.drivers.amqp10.connection import Amqp10Connection
from springline.drivers.amqp10.driver import Amqp10Driver
from springline.errors import ConnectError
from support import amqp10_opening, amqp10_peer, opening
from support.amqp10_broker import Broker
from support.amqp10_peer import Amqp10Peer, Amqp10Talk, Script
from support.opening import Recorder
from support.waiting import PATIENCE, eventually

__all__ = [
    "DEADLINE",
    "DRIVER",
    "PLANTED",
    "SHORT",
    "Opened",
    "closed",
    "opened",
    "rabbitmq",
    "refused",
]

DRIVER = Amqp10Driver()

PLANTED = "pl4nted-s3cret"
"""The password that must be seen nowhere."""

SHORT = 0.3
"""What a peer that does not answer costs a test."""

DEADLINE = PATIENCE
"""No test may hang."""


def rabbitmq(version: str = "4.3.6", **behaviour: Any) -> Broker:
    """Return a broker that says it is RabbitMQ."""
    properties = {"product": "RabbitMQ", "version": version}
    opened = {"properties": properties, **behaviour.pop("opened", {})}
    return Broker(opened=opened, **behaviour)


async def refused(script: Script, *, timeout: float = 5.0, **changes: Any) -> ConnectError:
    """Open against a script that does not let it, and return why."""
    async with asyncio.timeout(DEADLINE), amqp10_peer.serving(script) as peer:
        changes = {"credential": opening.password("ann", PLANTED), **changes}
        request = amqp10_opening.request(peer.port, timeout=timeout, **changes)
        with pytest.raises(ConnectError) as caught:
            await DRIVER.open(request)
    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    return caught.value


class Opened:
    """An open connection, observed, with the peer's side of it."""

    def __init__(self, peer: Amqp10Peer, connection: Amqp10Connection, recorder: Recorder) -> None:
        self.peer = peer
        self.connection = connection
        self.recorder = recorder

    @property
    def talk(self) -> Amqp10Talk:
        """The peer's side of the latest connection."""
        return self.peer.talk


@contextlib.asynccontextmanager
async def opened(script: Script | None = None, **changes: Any) -> AsyncIterator[Opened]:
    """Open against a peer that lets it; at the end it is gone."""
    async with (
        asyncio.timeout(DEADLINE),
        amqp10_peer.serving(script or Broker()) as peer,
    ):
        changes = {"credential": opening.password("ann", PLANTED), **changes}
        async with amqp10_opening.opened(amqp10_opening.request(peer.port, **changes)) as found:
            recorder = Recorder()
            found.observe(recorder)
            yield Opened(peer, found, recorder)


async def closed(recorder: Recorder) -> CloseInfo:
    """Return how it was told that the connection has ended: once."""
    await eventually(lambda: recorder.closes, what="the end is told")
    [close] = recorder.closes
    return close
