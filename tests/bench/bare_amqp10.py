"""Child: the same number of connections with proton's engine alone, as the least that can be had.

Each logs in, opens and begins a session, then begins and ends another one in every interval, as the
probe of a session does. A line on standard input has a new token, which is brought to each.
"""

import asyncio
import itertools
import sys
import uuid
from collections.abc import Callable, Sequence
from typing import Self

from proton import Connection, Endpoint, Link, Message, Session, Transport, symbol

from bench.bare import USER
from bench.measuring import Stopwatch, report, resident_bytes
from bench.plan import Plan

_AT_ONCE = 50
"""As connectLimit.concurrent is by default."""
_A_SECOND = 8
"""How often a second some are asked for a session, each in its turn."""
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
            assert octets, f"the broker hung up: {self._connection.remote_condition}"
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


async def opened(port: int, token: str, count: int) -> list[Bare]:
    """Open so many."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one() -> Bare:
        async with limit:
            return await Bare.connect(port, token)

    return await asyncio.gather(*(one() for _ in range(count)))


async def asked_again(connections: Sequence[Bare], plan: Plan) -> None:
    """Ask each for a session in every interval, as long as it is idle."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    ticks = plan.probe_seconds * _A_SECOND
    for tick in itertools.count():
        await asyncio.sleep(max(began + tick / _A_SECOND - loop.time(), 0.0))
        if loop.time() - began >= plan.idle_seconds:
            return
        await asyncio.gather(*(each.ask() for each in connections[tick % ticks :: ticks]))


async def main(port: int, token: str, count: int, plan: Plan) -> None:
    async with asyncio.timeout(plan.seconds(count)):
        [first] = await opened(port, token, 1)  # imports and caches are not what is measured
        before = resident_bytes()
        watch = Stopwatch()
        connections = await opened(port, token, count)
        wall, cpu = watch.wall, watch.cpu
        memory = (resident_bytes() - before) / count
    watch = Stopwatch()
    await asked_again(connections, plan)
    report(wall=wall, cpu=cpu, memory=memory, idle=watch.cpu / watch.wall)
    second = (await asyncio.to_thread(sys.stdin.readline)).strip()
    async with asyncio.timeout(plan.seconds(count)):
        watch = Stopwatch()
        await asyncio.gather(*(each.renew(second) for each in connections))
        report(wall=watch.wall, cpu=watch.cpu)
        await asyncio.gather(*(each.close() for each in (first, *connections)))


if __name__ == "__main__":
    asyncio.run(
        main(
            int(sys.argv[1]),
            sys.argv[2],
            int(sys.argv[3]),
            Plan(idle_seconds=float(sys.argv[4]), probe_seconds=int(sys.argv[5])),
        )
    )
