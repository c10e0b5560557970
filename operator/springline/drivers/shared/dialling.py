"""From an address to a connected line, with TLS where declared.

It looks up no names and sends nothing of a protocol. The reader is the driver's, and so is what may
be buffered.
"""

import asyncio
import enum
import errno
import re
import socket
from typing import Any, TypeVar

from springline.core.protocol_values import Parameters
from springline.core.values import OpenRequest
from springline.drivers.shared import tls_handshake
from springline.drivers.shared.line import Inbound, Line, LineProtocol
from springline.drivers.shared.progress import Progress, TransportStep
from springline.errors import TransientError
from springline.reasons import Reason

__all__ = ["dial"]

KEEPALIVE_IDLE_SECONDS = 60
KEEPALIVE_INTERVAL_SECONDS = 15
KEEPALIVE_PROBES = 4

RECEIVE_BUFFER_OCTETS = 64 * 1024
"""What the system is asked to keep of what has come and is not read; Linux takes twice as many.

By itself it would keep some megabytes of a peer that sends much, for each connection.
"""

_OCTET = r"(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4 = re.compile(rf"{_OCTET}(?:\.{_OCTET}){{3}}", re.ASCII)

ReaderT = TypeVar("ReaderT", bound=Inbound)
StepT = TypeVar("StepT", bound=enum.Enum)


async def dial(
    request: OpenRequest[Parameters], progress: Progress[StepT], reader: ReaderT
) -> Line[ReaderT]:
    """Connect to the address, with TLS where declared; `reader` is fed from it.

    It has no limit of its own. Raises `ConnectError`s and what the operating system and ssl raise.
    Safe to cancel: on any exception the socket is released before it leaves.
    """
    progress.address = request.address
    connected = await _connect(request.address, request.endpoint.port)
    protocol = LineProtocol(reader)
    try:
        if request.tls is None:
            loop = asyncio.get_running_loop()
            transport, _ = await loop.create_connection(lambda: protocol, sock=connected)
        else:
            progress.step = TransportStep.TLS
            transport = await tls_handshake.secure(
                connected, protocol, request, request.tls, where=progress.where
            )
    except BaseException:
        await _released(connected)
        raise
    return Line(reader, transport, protocol)


async def _connect(address: str, port: int) -> socket.socket:
    family, target = _numeric(address, port)
    connecting = socket.socket(family, socket.SOCK_STREAM)
    try:
        connecting.setblocking(False)
        _keep_alive(connecting)
        # Before it is connected: the window that the peer is offered follows from it (tcp(7)).
        connecting.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_OCTETS)
        await asyncio.get_running_loop().sock_connect(connecting, target)
        _refuse_oneself(connecting)
    except BaseException:
        connecting.close()
        raise
    return connecting


def _keep_alive(connecting: socket.socket) -> None:
    """Have the system ask a silent peer whether it is there.

    Where a protocol has no heartbeats, or they are off, this is all that notices that a peer has
    vanished while nothing is sent. The system's own settings take two hours for it.

    TCP_USER_TIMEOUT would do the same while something is sent, and is never set: a broker that has
    stopped reading on purpose, because of a block, closes its window, and then it ends a connection
    that is well (RFC 5482 §3.1, tcp(7)).
    """
    connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, KEEPALIVE_IDLE_SECONDS)
    connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, KEEPALIVE_INTERVAL_SECONDS)
    connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, KEEPALIVE_PROBES)


def _refuse_oneself(connected: socket.socket) -> None:
    """Raise if a loopback port without a listener was given to the connecting socket itself."""
    if connected.getsockname() == connected.getpeername():
        raise ConnectionRefusedError(errno.ECONNREFUSED, "connection refused")


def _numeric(address: str, port: int) -> tuple[int, Any]:
    """Return family and socket address; understands the zone of a link-local IPv6 address."""
    if _IPV4.fullmatch(address):
        # As it is; everything else is the system's to read.
        return socket.AF_INET, (address, port)
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
