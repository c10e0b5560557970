"""Child: the same number of connections with h11 or h2 alone, as the least that can be had.

Each makes the requests that a session makes: when it is opened one with the credential and one
without, then one with it in every interval, and one with a new credential. See `steps` for what it
is told.
"""

import asyncio
import base64
import contextlib
import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import h11
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded

from bench import steps
from bench.bare import USER, pause
from bench.plan import AT_ONCE, HTTP_PATH, Plan
from bench.steps import Holder

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

    async def _received(self) -> bytes:
        """Return what has come. Raises `ConnectionError` where the server has hung up."""
        if not (octets := await self._reader.read(_READ_OCTETS)):
            raise ConnectionError("the server hung up")
        return octets

    async def lost(self) -> None:
        """Wait until the server has gone away; the connection is of no more use."""
        with contextlib.suppress(ConnectionError):
            while True:
                await self._received()
        self._writer.close()

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
                protocol.receive_data(await self._received())


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
            for event in protocol.receive_data(await self._received()):
                if isinstance(event, ResponseReceived):
                    status = int(dict(event.headers or ())[b":status"])
                elif isinstance(event, StreamEnded):
                    return status


VERSIONS: dict[str, type[Bare]] = {"HTTP1": BareHttp1, "HTTP2": BareHttp2}


class Alone(Holder):
    """`count` connections, and one beside them."""

    def __init__(
        self, port: int, password: str, count: int, plan: Plan, version: type[Bare]
    ) -> None:
        self._port = port
        self._login = _login(password)
        self._count = count
        self._plan = plan
        self._version = version
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._first: list[Bare] = []
        self._open: list[Bare] = []

    async def _connect(self) -> Bare:
        """Open one, and have it answered with the credential and without."""
        async with self._limit:
            connection = await self._version.connect(self._port)
            assert await connection.get(self._login) == _OK
            assert await connection.get(()) == _UNAUTHORIZED
        return connection

    async def _ask(self, connection: Bare) -> None:
        assert await connection.get(self._login) == _OK

    async def open_first(self) -> None:
        self._first = [await self._connect()]

    async def open_all(self) -> None:
        self._open = await asyncio.gather(*(self._connect() for _ in range(self._count)))

    async def prepare_to_idle(self) -> None:
        pass

    async def idle(self) -> None:
        await steps.asked_in_turn(self._open, self._ask, self._plan)

    async def renew_all(self, secret: str) -> None:
        self._login = _login(secret)
        await asyncio.gather(*(self._ask(each) for each in self._open))

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


def _login(password: str) -> Fields:
    basic = base64.b64encode(f"{USER}:{password}".encode())
    return [(b"authorization", b"Basic " + basic)]


async def main(port: int, password: str, count: int, plan: Plan, version: type[Bare]) -> None:
    await steps.serve(Alone(port, password, count, plan, version), count, plan)


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
