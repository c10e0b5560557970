"""Child: the same number of connections with h11 or h2 alone, as the least that can be had.

Each makes the requests that a session makes: when it is opened one with the credential and one
without, then one with it in every interval, and one with a new credential. See `steps` for what it
is told.
"""

import asyncio
import base64
import contextlib
import functools
import sys
from abc import abstractmethod
from collections.abc import Sequence
from typing import Self

import h11
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived, StreamEnded

from bench import steps
from bench.alone import Alone
from bench.bare import USER
from bench.plan import HTTP_PATH
from bench.told import Told

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


class Web(Alone[Bare]):
    """Connections with one version of HTTP."""

    async def _dialled(self) -> Bare:
        """Open one, and have it answered with the credential and without."""
        connection = await VERSIONS[self._told.speech].connect(self._told.port)
        await self._ask(connection)
        assert await connection.get(()) == _UNAUTHORIZED
        return connection

    async def _ask(self, connection: Bare) -> None:
        assert await connection.get(_login(self._secret)) == _OK

    async def _renew(self, connection: Bare) -> None:
        await self._ask(connection)


@functools.cache
def _login(password: str) -> Fields:
    basic = base64.b64encode(f"{USER}:{password}".encode())
    return [(b"authorization", b"Basic " + basic)]


if __name__ == "__main__":
    told = Told.read(sys.argv[1:])
    asyncio.run(steps.serve(Web(told), told.count, told.plan))
