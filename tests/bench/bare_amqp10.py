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
from bench.bare import USER, pause
from bench.plan import AT_ONCE, Plan
from bench.steps import Holder

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


class Alone(Holder):
    """`count` connections, and one beside them."""

    def __init__(self, port: int, token: str, count: int, plan: Plan) -> None:
        self._port = port
        self._token = token
        self._count = count
        self._plan = plan
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._first: list[Bare] = []
        self._open: list[Bare] = []

    async def _connect(self) -> Bare:
        async with self._limit:
            return await Bare.connect(self._port, self._token)

    async def open_first(self) -> None:
        self._first = [await self._connect()]

    async def open_all(self) -> None:
        self._open = await asyncio.gather(*(self._connect() for _ in range(self._count)))

    async def prepare_to_idle(self) -> None:
        pass

    async def idle(self) -> None:
        await steps.asked_in_turn(self._open, Bare.ask, self._plan)

    async def renew_all(self, secret: str) -> None:
        self._token = secret
        await asyncio.gather(*(each.renew(secret) for each in self._open))

    async def until_lost(self) -> None:
        await self.close_first()
        await asyncio.gather(*(each.lost() for each in self._open))

    async def until_back(self) -> None:
        async def connected() -> Bare:
            while True:
                with contextlib.suppress(OSError):
                    return await self._connect()
                await pause()

        self._open = await asyncio.gather(*(connected() for _ in self._open))

    async def close_all(self) -> None:
        await asyncio.gather(*(each.close() for each in self._open))

    async def close_first(self) -> None:
        await asyncio.gather(*(each.close() for each in self._first))
        self._first = []


async def main(port: int, token: str, count: int, plan: Plan) -> None:
    await steps.serve(Alone(port, token, count, plan), count, plan)


if __name__ == "__main__":
    asyncio.run(
        main(
            int(sys.argv[1]),
            sys.argv[2],
            int(sys.argv[3]),
            Plan(idle_seconds=float(sys.argv[4]), probe_seconds=int(sys.argv[5])),
        )
    )
