"""What lies between a client and a broker: it passes octets on, and can slip some in."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

from support import ports
from support.ports import LOOPBACK

__all__ = ["Relay", "relaying"]

_CHUNK = 65536


class Relay:
    """Passes what clients say to a port of loopback, and what comes back; for one client."""

    def __init__(self, port: int, to: int) -> None:
        self.port = port
        self._to = to
        self._client: asyncio.StreamWriter | None = None

    def slip_in(self, octets: bytes) -> None:
        """Have the client read this as if the broker had sent it, between two of its frames."""
        assert self._client is not None, "no client has connected"
        self._client.write(octets)

    async def serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        """Pass on until both sides have ended."""
        self._client = client
        from_broker, broker = await asyncio.open_connection(LOOPBACK, self._to)
        await asyncio.gather(_pass(reader, broker), _pass(from_broker, client))


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


@contextlib.asynccontextmanager
async def relaying(to: int) -> AsyncIterator[Relay]:
    """Relay to a port of loopback within the block."""
    lease = ports.lease(1)
    [port] = lease.ports
    try:
        relay = Relay(port, to)
        server = await asyncio.start_server(relay.serve, LOOPBACK, port)
        async with server:
            yield relay
    finally:
        lease.release()
