"""The link of the chaos suite: what each of its modes does to a connection."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest

from chaos.links import Link, linking
from support import ports
from support.ports import LOOPBACK
from support.waiting import PATIENCE, eventually


@pytest.fixture
async def link() -> AsyncIterator[Link]:
    """A link to a server that sends back what it is sent."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while octets := await reader.read(1000):
                writer.write(octets)
        writer.close()

    lease = ports.lease(1)
    server = await asyncio.start_server(echo, LOOPBACK, lease.ports[0])
    async with linking(lease.ports[0]) as link:
        yield link
    server.close()
    lease.release()


class Client:
    """One client of a link."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self._writer = writer

    def say(self, octets: bytes) -> None:
        self._writer.write(octets)

    async def hears(self, octets: bytes) -> None:
        async with asyncio.timeout(PATIENCE):
            assert await self.reader.readexactly(len(octets)) == octets

    async def is_cut_off(self) -> bytes:
        """Wait for the end, and return what was heard before it."""
        heard = b""
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                while octets := await self.reader.read(1000):
                    heard += octets
        return heard


@contextlib.asynccontextmanager
async def connected(link: Link) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection(LOOPBACK, link.port)
    try:
        client = Client(reader, writer)
        client.say(b"hello")
        await client.hears(b"hello")
        yield client
    finally:
        writer.transport.abort()


@pytest.mark.parametrize("mode", ["pass", "slow"])
async def test_what_is_said_arrives(link: Link, mode: str) -> None:
    """All of it, and in order, however slowly."""
    await link.become(mode)
    async with connected(link) as client:
        client.say(bytes(range(200)))
        await client.hears(bytes(range(200)))


async def test_silent_link_keeps_what_is_said_until_it_is_mended(link: Link) -> None:
    """As a network does that comes back before anybody has given up."""
    async with connected(link) as client:
        await link.become("silent")
        client.say(b"are you there")
        await link.become("pass")
        await client.hears(b"are you there")


async def test_deaf_link_loses_what_the_client_says(link: Link) -> None:
    """And nothing else; the connection stays."""
    async with connected(link) as client:
        await link.become("deaf")
        client.say(b"lost")
        link.garble(b"heard")
        await client.hears(b"heard")
        assert link.connections == 1


async def test_refused_and_reset_connections_end(link: Link) -> None:
    """Those that are open, too; and afterwards there are new ones."""
    async with connected(link) as client:
        link.reset()
        assert await client.is_cut_off() == b""
    async with connected(link) as client:
        await link.become("refused")
        await client.is_cut_off()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(LOOPBACK, link.port)
    await link.become("pass")
    async with connected(link):
        pass
    await eventually(lambda: link.connections == 0, what="all are gone")


async def test_link_is_cut_in_the_midst_of_what_is_said(link: Link) -> None:
    """After so many bytes."""
    async with connected(link) as client:
        link.cut_after(3)
        client.say(b"abcdef")
        assert await client.is_cut_off() == b"abc"
