"""Connections of the AMQP 0-9-1 driver to scripted peers: how a fault test begins."""

import asyncio
import ssl
import traceback
from typing import Any

import pytest
import trustme
from pamqp import commands as spec

from springline.core.values import TLSClient
from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.errors import ConnectError
from support import fake_peer, opening
from support.fake_peer import FakePeer, Script, Talk
from support.opening import Recorder
from support.waiting import PATIENCE

__all__ = [
    "DEADLINE",
    "DRIVER",
    "PLANTED",
    "SHORT",
    "before_open_ok",
    "before_start",
    "before_tune",
    "certificates",
    "channel_open",
    "close_frame",
    "opened",
    "refused",
]

DRIVER = Amqp091Driver()

PLANTED = "pl4nted-s3cret"
"""The password that must be seen nowhere."""

SHORT = 0.5
"""What a peer that does not answer costs a test."""

DEADLINE = PATIENCE
"""No test may hang."""


async def refused(script: Script, *, timeout: float = 5.0, **changes: Any) -> ConnectError:
    """Open against a script that does not let it, and return why."""
    async with asyncio.timeout(DEADLINE), fake_peer.serving(script) as peer:
        changes = {"credential": opening.password("ann", PLANTED), **changes}
        request = opening.request(peer.port, timeout=timeout, **changes)
        with pytest.raises(ConnectError) as caught:
            await DRIVER.open(request)
    assert PLANTED not in "".join(traceback.format_exception(caught.value))
    return caught.value


async def opened(peer: FakePeer, **changes: Any) -> tuple[Amqp091Connection, Recorder]:
    """Open against a peer that lets it, observed."""
    changes = {"credential": opening.password("ann", PLANTED), **changes}
    connection = await DRIVER.open(opening.request(peer.port, **changes))
    recorder = Recorder()
    connection.observe(recorder)
    return connection, recorder


def certificates(name: str = "localhost") -> tuple[ssl.SSLContext, TLSClient]:
    """Return a server's TLS side for `name`, and a client's that trusts it."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(server)
    client = ssl.create_default_context()
    authority.configure_trust(client)
    return server, TLSClient(context=client)


# How far a script goes correctly before it does its damage.


async def before_start(talk: Talk) -> None:
    """Read the protocol header; Start is due."""
    talk.header = await talk.reader.readexactly(8)


async def before_tune(talk: Talk) -> None:
    """Read Start-Ok; Tune is due."""
    await talk.greet()
    await talk.log_in()


async def before_open_ok(talk: Talk) -> None:
    """Read Open; Open-Ok is due."""
    await before_tune(talk)
    await talk.tune()


async def channel_open(talk: Talk) -> None:
    """Let a probe's channel open; Basic.Publish is next."""
    await talk.expect(spec.Channel.Open)
    await talk.expect(spec.Confirm.Select)
    talk.send(spec.Channel.OpenOk(), 1)
    talk.send(spec.Confirm.SelectOk(), 1)


def close_frame(code: int, text: bytes) -> bytes:
    """Return a Connection.Close with a text that need not be UTF-8."""
    payload = b"\x00\x0a\x00\x32" + code.to_bytes(2) + bytes([len(text)]) + text + bytes(4)
    return b"\x01\x00\x00" + len(payload).to_bytes(4) + payload + b"\xce"
