"""A line is what any protocol can be spoken on: dialled by address, with the reader of a driver."""

import asyncio
import contextlib
import enum
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from springline.core.values import Endpoint
from springline.drivers.shared import dialling, tls_handshake
from springline.drivers.shared.line import Line
from springline.drivers.shared.progress import Progress, TransportStep
from springline.errors import TransientError
from springline.reasons import Reason
from support import leaks, opening, ports, uncollected
from support.identities import Certificates
from support.ports import LOOPBACK
from support.waiting import eventually


class OwnStep(enum.Enum):
    """The one step of some protocol."""

    READY = "connected, but not ready"


@pytest.fixture
async def port() -> AsyncIterator[int]:
    """The port of a peer that says hello, and then everything back."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello ")
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    async with leaks.checked(), await asyncio.start_server(echo, LOOPBACK, 0) as server:
        yield server.sockets[0].getsockname()[1]


def progress(port: int) -> Progress[OwnStep]:
    return Progress(endpoint=Endpoint("localhost", port), timeout=10)


async def dialled(port: int) -> Line[asyncio.StreamReader]:
    reader = asyncio.StreamReader()
    return await dialling.dial(opening.request(port), progress(port), reader)


async def test_dialled_line_feeds_the_drivers_reader(port: int) -> None:
    reader = asyncio.StreamReader()
    attempt = progress(port)
    line = await dialling.dial(opening.request(port), attempt, reader)
    assert line.reader is reader
    assert (attempt.address, attempt.step) == (LOOPBACK, TransportStep.TCP)
    assert tls_handshake.tls_info(line.transport, None) is None
    line.write(b"springline")
    assert await reader.readexactly(16) == b"hello springline"
    line.end()
    await line.wait_lost()


async def test_system_asks_a_silent_peer_whether_it_is_there(port: int) -> None:
    """And does not end a connection whose peer has only stopped reading, as one that blocks has."""
    line = await dialled(port)
    connected = line.transport.get_extra_info("socket")
    assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
    found = [connected.getsockopt(socket.IPPROTO_TCP, option) for option in options]
    assert found == [60, 15, 4]
    assert connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 0
    line.abort()
    await line.wait_lost()


async def test_system_keeps_no_more_of_what_is_not_read_than_it_begins_with(port: int) -> None:
    """By itself Linux would keep megabytes of a peer that sends much."""
    line = await dialled(port)
    connected = line.transport.get_extra_info("socket")
    assert connected.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) <= 128 * 1024
    line.abort()
    await line.wait_lost()


@pytest.mark.parametrize("orderly", [True, False], ids=["ended", "dropped"])
async def test_what_tls_keeps_is_released_with_the_transport(tmp_path: Path, orderly: bool) -> None:
    """While the line, and the reader, are still there, and nobody looks for cycles."""

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            await reader.read()
        writer.close()

    certificates = Certificates.issue(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificates.files.certificate, certificates.files.key)
    reader = asyncio.StreamReader()
    async with await asyncio.start_server(hold, LOOPBACK, 0, ssl=context) as server:
        port = server.sockets[0].getsockname()[1]
        request = opening.request(port, tls=certificates.client())
        with uncollected.watched() as left:
            line = await dialling.dial(request, progress(port), reader)
            assert left() == {"ssl.SSLObject": 1}
            if orderly:
                line.end()
            else:
                line.abort()
            await line.wait_lost()
            await eventually(lambda: not left(), what="nothing of TLS is left")
    assert reader.at_eof()
    assert line.transport.get_extra_info("ssl_object") is None
    assert line.is_ending
    line.transport.abort()  # as libraries do that were given it


@pytest.mark.parametrize("orderly", [True, False], ids=["ended", "dropped"])
async def test_end_of_a_line_is_told_once(port: int, orderly: bool) -> None:
    line = await dialled(port)
    told: list[bool] = []
    line.on_lost(lambda: told.append(line.is_lost))
    if orderly:
        line.end()
        line.end()
    else:
        line.abort()
    assert line.is_ending
    line.write(b"too late")
    await line.wait_lost()
    line.abort()
    assert told == [True]


async def test_address_without_a_listener_raises_what_the_system_says() -> None:
    lease = ports.lease(1)
    try:
        (port,) = lease.ports
        attempt = progress(port)
        with pytest.raises(ConnectionRefusedError):
            await dialling.dial(opening.request(port), attempt, asyncio.StreamReader())
    finally:
        lease.release()
    assert (attempt.address, attempt.step) == (LOOPBACK, TransportStep.TCP)


async def test_what_is_no_address_is_not_looked_up(port: int) -> None:
    """Names are resolved before: a driver that did it again could reach somebody else."""
    request = opening.request(port, address="localhost")
    with pytest.raises(TransientError) as caught:
        await dialling.dial(request, progress(port), asyncio.StreamReader())
    assert caught.value.reason is Reason.NAME_RESOLUTION_FAILED
