"""A scripted AMQP 0-9-1 server on loopback, for what no real broker can be made to do.

A script is a coroutine that talks to one client: it uses the steps of `Talk` as far as it wants to
be correct, then does its damage. What the client sent is kept. It is no broker: it routes nothing
and checks no password.

    async def refuse(talk):
        await talk.greet()
        await talk.expect(spec.Connection.StartOk)
        talk.send(spec.Connection.Close(403, "ACCESS_REFUSED", 0, 0))

    async with fake_peer.serving(refuse) as peer:
        ...  # connect to 127.0.0.1, peer.port
"""

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from typing import Any, TypeVar

import pamqp.frame
from pamqp import commands as spec
from pamqp.base import Frame
from pamqp.frame import FrameTypes
from pamqp.heartbeat import Heartbeat

from support import ports

__all__ = ["SERVER_PROPERTIES", "FakePeer", "Script", "Talk", "broker", "serving"]

F = TypeVar("F", bound=Frame)

_ACCEPT_TURNS = 8

SERVER_PROPERTIES: dict[str, Any] = {
    "product": "FakePeer",
    "version": "1.2.3",
    "platform": "asyncio",
    "cluster_name": "fake@peer",
    "capabilities": {"publisher_confirms": True, "connection.blocked": True},
}


class Talk:
    """One client's connection, seen from the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.header = b""
        # Every frame the client sent, in order, with its channel.
        self.received: list[tuple[int, FrameTypes]] = []

    def last(self, kind: type[F]) -> F | None:
        """Return the last frame of a kind that the client sent, if any."""
        found = [frame for _, frame in self.received if isinstance(frame, kind)]
        return found[-1] if found else None

    def count(self, kind: type[Any]) -> int:
        """Return how many frames of a kind the client sent."""
        return sum(isinstance(frame, kind) for _, frame in self.received)

    # Speaking

    def send(self, frame: FrameTypes, channel: int = 0) -> None:
        """Send a frame."""
        self.raw(pamqp.frame.marshal(frame, channel))

    def raw(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.writer.write(octets)

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        connection = self.writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    def close(self) -> None:
        """End the connection without a word."""
        self.writer.close()

    # Listening

    async def frame(self) -> FrameTypes:
        """Return the client's next frame."""
        head = await self.reader.readexactly(7)
        rest = await self.reader.readexactly(int.from_bytes(head[3:7]) + 1)
        _, channel, frame = pamqp.frame.unmarshal(head + rest)
        self.received.append((channel, frame))
        return frame

    async def expect(self, kind: type[F]) -> F:
        """Return the client's next frame of a kind; heartbeats in between are passed over."""
        while True:
            frame = await self.frame()
            if isinstance(frame, kind):
                return frame
            assert isinstance(frame, Heartbeat), f"{frame} instead of {kind}"

    async def until_gone(self) -> None:
        """Take in what comes, answer nothing, and return when the client has gone."""
        while True:
            await self.frame()

    async def silent(self) -> None:
        """Read nothing more and answer nothing, until the test is over."""
        self.writer.transport.pause_reading()  # type: ignore[attr-defined]  # every socket transport has it
        await asyncio.Event().wait()

    # The open handshake, step by step

    async def served_until(
        self, silence: asyncio.Event, serving: Coroutine[Any, Any, None]
    ) -> None:
        """Serve until silence is wanted, and then say nothing any more.

        Raises what `serving` raises.
        """
        served = asyncio.ensure_future(serving)
        wanted = asyncio.ensure_future(silence.wait())
        try:
            await asyncio.wait({served, wanted}, return_when=asyncio.FIRST_COMPLETED)
            if served.done():
                served.result()
            served.cancel()
            await self.silent()
        finally:
            served.cancel()
            wanted.cancel()

    async def greet(
        self, *, mechanisms: str = "PLAIN AMQPLAIN", locales: str = "en_US", **properties: Any
    ) -> None:
        """Read the protocol header and send Start."""
        self.header = await self.reader.readexactly(8)
        self.send(
            spec.Connection.Start(
                server_properties=SERVER_PROPERTIES | properties,
                mechanisms=mechanisms,
                locales=locales,
            )
        )

    async def log_in(self, *, challenges: int = 0) -> None:
        """Read Start-Ok, and ask for more as often as told."""
        await self.expect(spec.Connection.StartOk)
        for number in range(challenges):
            self.send(spec.Connection.Secure(challenge=f"challenge {number}"))
            await self.expect(spec.Connection.SecureOk)

    async def tune(
        self, *, channel_max: int = 2047, frame_max: int = 131072, heartbeat: int = 60
    ) -> None:
        """Send Tune, read Tune-Ok and Open."""
        self.send(
            spec.Connection.Tune(channel_max=channel_max, frame_max=frame_max, heartbeat=heartbeat)
        )
        await self.expect(spec.Connection.TuneOk)
        await self.expect(spec.Connection.Open)

    async def handshake(self) -> None:
        """Do the whole open handshake as a broker does."""
        await self.greet()
        await self.log_in()
        await self.tune()
        self.send(spec.Connection.OpenOk())

    async def serve(
        self, *, confirm: bool = True, update_secret: bool = True, close: bool = True
    ) -> None:
        """Answer an open connection, but for what is turned off, until it is closed."""
        published: dict[int, int] = {}
        while True:
            frame = await self.frame()
            channel = self.received[-1][0]
            match frame:
                case spec.Channel.Open():
                    published[channel] = 0
                    self.send(spec.Channel.OpenOk(), channel)
                case spec.Confirm.Select():
                    self.send(spec.Confirm.SelectOk(), channel)
                case spec.Basic.Publish():
                    published[channel] += 1
                    if confirm:
                        self.send(spec.Basic.Ack(delivery_tag=published[channel]), channel)
                case spec.Queue.Declare(queue=queue):
                    self.send(
                        spec.Queue.DeclareOk(queue=queue, message_count=0, consumer_count=0),
                        channel,
                    )
                case spec.Channel.Close():
                    self.send(spec.Channel.CloseOk(), channel)
                case spec.Connection.UpdateSecret() if update_secret:
                    self.send(spec.Connection.UpdateSecretOk())
                case spec.Connection.Close() if close:
                    self.send(spec.Connection.CloseOk())
                    await self.until_gone()
                case _:
                    pass


Script = Callable[[Talk], Awaitable[None]]


class FakePeer:
    """A listening fake; `talks` are the connections so far."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.talks: list[Talk] = []

    @property
    def talk(self) -> Talk:
        """The latest connection."""
        return self.talks[-1]


async def broker(talk: Talk) -> None:
    """Behave like a broker: the script to start from."""
    await talk.handshake()
    await talk.serve()


class _Protocol(asyncio.StreamReaderProtocol):
    """Keeps account of transports, those included whose script has not begun."""

    def __init__(
        self,
        converse: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
        transports: set[asyncio.BaseTransport],
    ) -> None:
        super().__init__(asyncio.StreamReader(), converse)
        self._transports = transports
        self._own: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._own = transport
        self._transports.add(transport)
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._own is not None:
            self._transports.discard(self._own)


@contextlib.asynccontextmanager
async def serving(
    script: Script = broker,
    *,
    tls: ssl.SSLContext | None = None,
    address: str = ports.LOOPBACK,
    port: int | None = None,
) -> AsyncIterator[FakePeer]:
    """Run `script` for every client that connects. At the end nothing of it is left.

    With `port`, it is the port of a peer at another address. An error in a script fails the test;
    that the client went away is none.
    """
    lease = ports.lease(1)
    peer = FakePeer(port or lease.ports[0])
    running: set[asyncio.Task[None]] = set()
    transports: set[asyncio.BaseTransport] = set()
    failures: list[BaseException] = []

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        running.add(task)
        talk = Talk(reader, writer)
        peer.talks.append(talk)
        try:
            await script(talk)
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # the client has gone, or the test is over
        except Exception as error:  # noqa: BLE001 - the top of a task; raised in the test below
            failures.append(error)
        finally:
            writer.close()
            running.discard(task)

    server = await asyncio.get_running_loop().create_server(
        lambda: _Protocol(converse, transports), address, peer.port, ssl=tls
    )
    try:
        yield peer
    finally:
        # A client that has just been accepted becomes a transport in one of the next turns; asyncio
        # forgets its socket if the server closes in between.
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        server.close()
        for task in set(running):
            task.cancel()
        while transports:
            for transport in set(transports):
                assert isinstance(transport, asyncio.WriteTransport)
                transport.abort()
            await asyncio.sleep(0)
        await server.wait_closed()  # from Python 3.12 on, this waits for the connections, too
        lease.release()
        if failures:
            raise failures[0]
