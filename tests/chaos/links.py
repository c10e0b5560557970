"""A TCP link between Springline and a broker that is cut, slowed down, or talks nonsense on demand.

It knows no protocol: it passes bytes, or does not.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from dataclasses import dataclass

from support import ports
from support.ports import LOOPBACK

__all__ = ["MODES", "Link", "Links", "linking", "linking_both"]

MODES = ("pass", "refused", "silent", "deaf", "slow")
"""What becomes of connections: passed; refused; accepted, and nothing passes in either direction;
what the client says is lost; a few bytes at a time. TCP brings what was lost again or breaks, so a
connection that has lost something is reset when its link is no longer deaf."""

_SLOW_BYTES = 48
_SLOW_SECONDS = 0.05
_CHUNK = 65536
_HANDSHAKE_SECONDS = 5.0


@dataclass(eq=False, slots=True)
class _Pair:
    """One client, and the connection to the broker that is its own."""

    client: asyncio.StreamWriter
    broker: asyncio.StreamWriter | None = None
    cut_after: int | None = None
    """Bytes that the broker may still say to it."""
    has_lost: bool = False
    """Whether the broker has missed something that the client said."""


class Link:
    """Listens on `port` and passes what comes to `target` on loopback, as `mode` says."""

    def __init__(self, target: int) -> None:
        self._lease = ports.lease(1)
        [self.port] = self._lease.ports
        self._target = target
        self._mode = "pass"
        self._changed = asyncio.Event()
        self._server: asyncio.Server | None = None
        self._pairs: set[_Pair] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        """How many clients there are now."""
        return len(self._pairs)

    async def become(self, mode: str) -> None:
        """Treat connections so from now on, those that are open too."""
        if mode not in MODES:
            raise ValueError(mode)
        if mode != "deaf":
            for pair in tuple(self._pairs):
                if pair.has_lost:
                    _reset(pair)
        self._mode = mode
        self._changed.set()
        self._changed = asyncio.Event()
        if mode == "refused":
            await self._unlisten()
            self.reset()
        else:
            await self._listen()

    def reset(self) -> None:
        """Break every connection with a TCP reset."""
        for pair in tuple(self._pairs):
            _reset(pair)

    def garble(self, octets: bytes) -> None:
        """Say something to every client that the broker has not said."""
        for pair in self._pairs:
            pair.client.write(octets)

    def cut_after(self, octets: int) -> None:
        """End every connection when the broker has said so many more bytes on it."""
        for pair in self._pairs:
            pair.cut_after = octets

    async def close(self) -> None:
        """End all of it, and give the port back."""
        await self._unlisten()
        self.reset()
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))
        self._lease.release()

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._accept, LOOPBACK, self.port)

    async def _unlisten(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        pair = _Pair(writer)
        self._pairs.add(pair)
        try:
            with contextlib.suppress(OSError):
                await self._serve(pair, reader)
        except asyncio.CancelledError:
            pass  # the link is closed; nobody waits for this task
        finally:
            self._pairs.discard(pair)
            self._tasks.discard(task)
            for each in (pair.client, pair.broker):
                if each is not None:
                    each.transport.abort()

    async def _serve(self, pair: _Pair, reader: asyncio.StreamReader) -> None:
        async with asyncio.timeout(_HANDSHAKE_SECONDS):
            answers, pair.broker = await asyncio.open_connection(LOOPBACK, self._target)
        ways = (
            asyncio.ensure_future(self._pass(pair, reader, pair.broker, by_client=True)),
            asyncio.ensure_future(self._pass(pair, answers, pair.client, by_client=False)),
        )
        try:
            # A half-closed connection is none to brokers: the end of either way ends both.
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in ways:
                each.cancel()
            await asyncio.wait(ways)

    async def _pass(
        self,
        pair: _Pair,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        *,
        by_client: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while octets := await reader.read(_CHUNK):
                while self._mode == "silent":
                    await self._changed.wait()
                if by_client and self._mode == "deaf":
                    pair.has_lost = True
                    continue
                if not by_client and pair.cut_after is not None:
                    octets = octets[: pair.cut_after]
                    pair.cut_after -= len(octets)
                await self._write(writer, octets)
                if pair.cut_after == 0:
                    return

    async def _write(self, writer: asyncio.StreamWriter, octets: bytes) -> None:
        while octets:
            is_slow = self._mode == "slow"
            piece = octets[:_SLOW_BYTES] if is_slow else octets
            writer.write(piece)
            await writer.drain()
            octets = octets[len(piece) :]
            if is_slow:
                await asyncio.sleep(_SLOW_SECONDS)  # what a slow link is


def _reset(pair: _Pair) -> None:
    for each in (pair.client, pair.broker):
        if each is None:
            continue
        connection = each.get_extra_info("socket")
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        each.transport.abort()


@contextlib.asynccontextmanager
async def linking(target: int) -> AsyncIterator[Link]:
    """A link that passes everything, gone at the end."""
    link = Link(target)
    try:
        await link.become("pass")
        yield link
    finally:
        await link.close()


Links = tuple[Link, Link]
"""To the broker's AMQP, and to its management interface. What becomes of one becomes of both."""


@contextlib.asynccontextmanager
async def linking_both(amqp: int, console: int) -> AsyncIterator[Links]:
    """Links to the ports of one broker."""
    async with linking(amqp) as one, linking(console) as other:
        yield one, other
