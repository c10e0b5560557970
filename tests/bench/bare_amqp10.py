"""Child: the same number of connections with proton's engine alone, as the least that can be had.

Each logs in, opens and begins a session, then begins and ends another one in every interval, as the
probe of a session does. See `steps` for what it is told; the secret is a token.
"""

import asyncio
import contextlib
import sys
import uuid
from collections.abc import Callable
from typing import Self

from proton import Connection, Endpoint, Link, Message, Session, Transport, symbol

from bench import steps
from bench.alone import Alone
from bench.bare import USER
from bench.told import Told

_READ_OCTETS = 8 * 1024
_IDLE_SECONDS = 60.0
"""Twice the heartbeat."""
_BOTH = Endpoint.LOCAL_ACTIVE | Endpoint.REMOTE_ACTIVE
_NODE = "/management"


class Bare:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._connection = Connection()
        self._transport = Transport()

    @classmethod
    async def connect(cls, port: int, token: str) -> Self:
        """Dial, log in, open and begin a session."""
        self = cls(*await asyncio.open_connection("127.0.0.1", port, limit=_READ_OCTETS))
        connection, transport = self._connection, self._transport
        connection.container = f"bare-{uuid.uuid4()}"
        connection.hostname = "vhost:/"
        connection.user, connection.password = USER, token
        sasl = transport.sasl()
        sasl.allow_insecure_mechs = True
        sasl.allowed_mechs("PLAIN")
        transport.idle_timeout = _IDLE_SECONDS
        transport.bind(connection)
        connection.open()
        await self.begun()
        return self

    async def _until(self, is_so: Callable[[], bool]) -> None:
        """Send and take in until it is so."""
        while True:
            self._send()
            if is_so():
                return
            octets = await self._reader.read(_READ_OCTETS)
            if not octets:
                raise ConnectionError(f"the broker hung up: {self._connection.remote_condition}")
            self._transport.push(octets)

    def _send(self) -> None:
        transport = self._transport
        transport.tick(asyncio.get_running_loop().time())
        while (pending := transport.pending()) > 0:
            octets = transport.peek(pending)
            transport.pop(len(octets))
            self._writer.write(octets)

    async def begun(self) -> Session:
        """Begin a session."""
        session = self._connection.session()
        session.open()
        await self._until(lambda: session.state == _BOTH)
        return session

    def end(self, session: Session) -> None:
        """End a session, and wait for nothing."""
        session.close()
        session.free()
        self._send()

    async def ask(self) -> None:
        """Begin a session and end it."""
        self.end(await self.begun())

    async def renew(self, token: str) -> None:
        """Bring a token to the broker's management node, and see that it is taken."""
        session = self._connection.session()
        session.open()
        name = f"bare-{uuid.uuid4()}"
        sender, receiver = session.sender(name), session.receiver(name)
        for link in (sender, receiver):
            link.source.address = link.target.address = _NODE
            link.snd_settle_mode = Link.SND_SETTLED
            link.properties = {symbol("paired"): True}
            link.open()
        receiver.flow(1)
        await self._until(lambda: receiver.state == _BOTH and sender.credit > 0)
        message = Message(id=name, address="/auth/tokens", subject="PUT", reply_to="$me")
        message.body = token.encode()
        delivery = sender.delivery("1")
        sender.stream(message.encode())
        delivery.settle()
        await self._until(lambda: receiver.current is not None and not receiver.current.partial)
        answer = Message()
        answer.decode(receiver.recv(receiver.current.pending))
        assert answer.subject == "204"
        self.end(session)

    async def close(self) -> None:
        """End it."""
        self._connection.close()
        await self._until(lambda: bool(self._connection.state & Endpoint.REMOTE_CLOSED))
        self._writer.close()

    async def lost(self) -> None:
        """Wait until the broker has gone away; the connection is of no more use."""
        with contextlib.suppress(ConnectionError):
            await self._until(lambda: False)
        self._writer.close()


class Proton(Alone[Bare]):
    """Connections of proton's engine."""

    async def _dialled(self) -> Bare:
        return await Bare.connect(self._told.port, self._secret)

    async def _ask(self, connection: Bare) -> None:
        await connection.ask()

    async def _renew(self, connection: Bare) -> None:
        await connection.renew(self._secret)


if __name__ == "__main__":
    told = Told.read(sys.argv[1:])
    asyncio.run(steps.serve(Proton(told), told.count, told.plan))
