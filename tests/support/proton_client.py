"""A client on proton's engine, for the tests of peers: what it understands is AMQP 1.0.

It is as small as can be, and decides nothing: a test makes the objects of the engine, and waits
until they show what it is about.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from proton import (
    Collector,
    Connection,
    Delivery,
    Link,
    Receiver,
    Sender,
    Session,
    Transport,
)

from support.ports import LOOPBACK
from support.waiting import PATIENCE

__all__ = ["ProtonClient", "connected", "told"]


class ProtonClient:
    """One connection, with the streams below it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._collector = Collector()
        self.connection = Connection()
        self.connection.container = "proton"
        self.connection.collect(self._collector)
        self.transport = Transport()

    def begin(
        self,
        mechanism: str | None = "ANONYMOUS",
        user: str = "",
        password: str = "",
        *,
        max_frame_size: int = 0,
        idle: float = 0,
    ) -> None:
        """Open the connection, after a login by a mechanism, if any."""
        if mechanism is not None:
            if user:
                self.connection.user = user
                self.connection.password = password
            sasl = self.transport.sasl()
            sasl.allow_insecure_mechs = True
            sasl.allowed_mechs(mechanism)
        if max_frame_size:
            self.transport.max_frame_size = max_frame_size
        if idle:
            self.transport.idle_timeout = idle
        self.transport.bind(self.connection)
        self.connection.open()

    async def until(self, is_so: Callable[[], object]) -> None:
        """Pass on what both sides say until something is so."""
        async with asyncio.timeout(PATIENCE):
            while True:
                self._write()
                if is_so():
                    return
                assert self.transport.capacity() >= 0, self.transport.condition
                await self._read()

    def _write(self) -> None:
        self.transport.tick(asyncio.get_running_loop().time())
        while (pending := self.transport.pending()) > 0:
            octets = self.transport.peek(pending)
            assert octets
            self._writer.write(octets)
            self.transport.pop(len(octets))

    async def _read(self) -> None:
        octets = b""
        with contextlib.suppress(OSError):
            octets = await self._reader.read(max(self.transport.capacity(), 1))
        if octets and self.transport.capacity() > 0:
            self.transport.push(octets)
        else:
            self.transport.close_tail()
        while self._collector.peek():
            self._collector.pop()

    # What a test does again and again

    async def opened(self) -> None:
        """Wait until the peer has opened."""
        await self.until(lambda: self.connection.remote_container is not None)

    async def sender(self, address: str, name: str = "out") -> Sender:
        """Attach a sender in a session of its own, and wait until it has credit."""
        session = self.connection.session()
        session.open()
        sender = session.sender(name)
        sender.target.address = address
        sender.open()
        await self.until(lambda: sender.credit)
        return sender

    async def sent(self, sender: Sender, octets: bytes) -> Delivery:
        """Send a message, and wait for its outcome."""
        delivery = sender.delivery(f"tag {len(octets)}")
        sender.send(octets)
        sender.advance()
        await self.until(lambda: delivery.remote_state)
        return delivery

    async def got(self, receiver: Receiver) -> bytes:
        """Return the next message, which is accepted."""
        await self.until(lambda: receiver.current is not None and not receiver.current.partial)
        delivery = receiver.current
        assert delivery is not None
        octets = receiver.recv(delivery.pending)
        delivery.update(Delivery.ACCEPTED)
        delivery.settle()
        receiver.advance()
        self._write()
        assert octets is not None
        return bytes(octets)


def told(endpoint: Connection | Session | Link) -> tuple[str, str | None]:
    """Return condition and description with which the peer has ended something."""
    condition = endpoint.remote_condition
    assert condition is not None
    return condition.name, condition.description


@contextlib.asynccontextmanager
async def connected(port: int) -> AsyncIterator[ProtonClient]:
    """Connect to a port on loopback."""
    reader, writer = await asyncio.open_connection(LOOPBACK, port)
    client = ProtonClient(reader, writer)
    try:
        yield client
    finally:
        client.transport.unbind()
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
