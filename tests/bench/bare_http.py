"""Child: the same number of connections with h11 or h2 alone, as the least that can be had.

Each makes the requests that a session makes: when it is opened one with the credential and one
without, then one with it in every interval. Nobody looks at what becomes of a connection.
"""

import asyncio
import base64
import itertools
import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import h11
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded

from bench.bare import USER
from bench.measuring import Stopwatch, report, resident_bytes
from bench.plan import HTTP_PATH, Plan

_AT_ONCE = 50
"""As connectLimit.concurrent is by default."""
_A_SECOND = 8
"""How often a second some are asked for, each in its turn."""
_READ_OCTETS = 8 * 1024
_OK = 200
_UNAUTHORIZED = 401

Fields = Sequence[tuple[bytes, bytes]]


class Bare:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def connect(cls, port: int) -> Self:
        """Dial."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=_READ_OCTETS))

    @abstractmethod
    async def get(self, fields: Fields) -> int:
        """Make the request with these fields, and return the status."""

    async def close(self) -> None:
        """End it."""
        self._writer.close()
        await self._writer.wait_closed()


class BareHttp1(Bare):
    """With h11."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._h11 = h11.Connection(h11.CLIENT)

    async def get(self, fields: Fields) -> int:
        protocol = self._h11
        named = [(b"host", b"127.0.0.1"), *fields]
        request = h11.Request(method=b"GET", target=HTTP_PATH.encode(), headers=named)
        self._writer.write((protocol.send(request) or b"") + (protocol.send(_END) or b""))
        status = 0
        while True:
            event = protocol.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.EndOfMessage):
                protocol.start_next_cycle()
                return status
            elif event is h11.NEED_DATA:
                protocol.receive_data(await self._reader.read(_READ_OCTETS))


_END = h11.EndOfMessage()


class BareHttp2(Bare):
    """With h2."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        super().__init__(reader, writer)
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding=None))
        self._h2.initiate_connection()

    async def get(self, fields: Fields) -> int:
        protocol = self._h2
        pseudo = [(b":method", b"GET"), (b":scheme", b"http"), (b":authority", b"127.0.0.1")]
        stream_id = protocol.get_next_available_stream_id()
        named = [*pseudo, (b":path", HTTP_PATH.encode()), *fields]
        protocol.send_headers(stream_id, named, end_stream=True)
        status = 0
        while True:
            self._writer.write(protocol.data_to_send())
            for event in protocol.receive_data(await self._reader.read(_READ_OCTETS)):
                if isinstance(event, ResponseReceived):
                    status = int(dict(event.headers or ())[b":status"])
                elif isinstance(event, StreamEnded):
                    return status


VERSIONS: dict[str, type[Bare]] = {"HTTP1": BareHttp1, "HTTP2": BareHttp2}


async def opened(port: int, login: Fields, count: int, version: type[Bare]) -> list[Bare]:
    """Open so many, and have each answered with the credential and without."""
    limit = asyncio.Semaphore(_AT_ONCE)

    async def one() -> Bare:
        async with limit:
            connection = await version.connect(port)
            assert await connection.get(login) == _OK
            assert await connection.get(()) == _UNAUTHORIZED
        return connection

    return await asyncio.gather(*(one() for _ in range(count)))


async def asked_again(connections: Sequence[Bare], login: Fields, plan: Plan) -> None:
    """Ask on each in every interval, as long as it is idle."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    ticks = plan.probe_seconds * _A_SECOND
    for tick in itertools.count():
        await asyncio.sleep(max(began + tick / _A_SECOND - loop.time(), 0.0))
        if loop.time() - began >= plan.idle_seconds:
            return
        await asyncio.gather(*(each.get(login) for each in connections[tick % ticks :: ticks]))


async def main(port: int, password: str, count: int, plan: Plan, version: type[Bare]) -> None:
    basic = base64.b64encode(f"{USER}:{password}".encode())
    login = [(b"authorization", b"Basic " + basic)]
    async with asyncio.timeout(plan.seconds(count)):
        [first] = await opened(port, login, 1, version)  # imports and caches are not measured
        before = resident_bytes()
        watch = Stopwatch()
        connections = await opened(port, login, count, version)
        wall, cpu = watch.wall, watch.cpu
        memory = (resident_bytes() - before) / count
    watch = Stopwatch()
    await asked_again(connections, login, plan)
    report(wall=wall, cpu=cpu, memory=memory, idle=watch.cpu / watch.wall)
    await asyncio.gather(*(each.close() for each in (first, *connections)))


if __name__ == "__main__":
    asyncio.run(
        main(
            int(sys.argv[1]),
            sys.argv[2],
            int(sys.argv[3]),
            Plan(idle_seconds=float(sys.argv[4]), probe_seconds=int(sys.argv[5])),
            VERSIONS[sys.argv[6]],
        )
    )
