"""From the addresses of an endpoint to a connected line, with TLS where declared.

It looks up no names and sends nothing of a protocol. The reader is the driver's, and so is what may
be buffered.
"""

import asyncio
import enum
import errno
import socket
from typing import Any, TypeVar

from springline.core.protocol_values import Parameters
from springline.core.values import OpenRequest
from springline.drivers.shared import failures, tls_handshake
from springline.drivers.shared.line import Line, LineProtocol
from springline.drivers.shared.progress import Progress, TransportStep
from springline.errors import TransientError
from springline.reasons import Reason

__all__ = ["dial"]

ReaderT = TypeVar("ReaderT", bound=asyncio.StreamReader)
StepT = TypeVar("StepT", bound=enum.Enum)


async def dial(
    request: OpenRequest[Parameters], progress: Progress[StepT], reader: ReaderT
) -> Line[ReaderT]:
    """Connect to the first address that answers, with TLS where declared; `reader` is fed from it.

    The caller's own deadline ends it: `request.timeout` is only shared out between the addresses.
    Raises `ConnectError`s and what the operating system and ssl raise. Safe to cancel: on any
    exception the socket is released before it leaves.
    """
    connected = await _connect_any(request, progress)
    loop = asyncio.get_running_loop()
    protocol = LineProtocol(reader, loop)
    try:
        if request.tls is None:
            transport, _ = await loop.create_connection(lambda: protocol, sock=connected)
        else:
            progress.step = TransportStep.TLS
            transport = await tls_handshake.secure(connected, protocol, request, request.tls)
    except BaseException:
        await _released(connected)
        raise
    return Line(reader, asyncio.StreamWriter(transport, protocol, reader, loop), protocol)


async def _connect_any(
    request: OpenRequest[Parameters], progress: Progress[StepT]
) -> socket.socket:
    """Try the addresses in order; each gets its share of the time that is left.

    A single silent address must not use up what the others need.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + request.timeout
    refusals: list[tuple[str, OSError]] = []
    for index, address in enumerate(request.addresses):
        progress.address = address
        left = len(request.addresses) - index
        # The last one may take all that the caller's deadline leaves.
        share = (deadline - loop.time()) / left if left > 1 else None
        try:
            async with asyncio.timeout(share):
                return await _connect_one(address, request.endpoint.port)
        except OSError as error:
            refusals.append((address, error))
    raise failures.refused_addresses(refusals, progress) from refusals[-1][1]


async def _connect_one(address: str, port: int) -> socket.socket:
    family, target = _numeric(address, port)
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        # With heartbeats off, this is all that notices a peer that has vanished.
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        await asyncio.get_running_loop().sock_connect(connecting, target)
        _refuse_oneself(connecting)
    except BaseException:
        connecting.close()
        raise
    return connecting


def _refuse_oneself(connected: socket.socket) -> None:
    """Raise if a loopback port without a listener was given to the connecting socket itself."""
    if connected.getsockname() == connected.getpeername():
        raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")


def _numeric(address: str, port: int) -> tuple[int, Any]:
    """Return family and socket address; understands the zone of a link-local IPv6 address."""
    try:
        found = socket.getaddrinfo(
            address,
            port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
        )
    except OSError as error:
        raise TransientError(
            Reason.NAME_RESOLUTION_FAILED, f"{address!r} is not an IP address"
        ) from error
    return found[0][0], found[0][4]


async def _released(connected: socket.socket) -> None:
    """Wait until asyncio, which owns a socket from the first try on, has let go of it.

    asyncio drops a transport that failed in one of the next turns of the loop. Without a transport
    it never took the socket over.
    """
    for _ in range(8):
        if connected.fileno() == -1:
            return
        await asyncio.sleep(0)
    connected.close()
