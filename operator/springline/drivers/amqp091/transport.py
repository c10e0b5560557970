"""Sockets, TLS and a reader that trusts no length the peer names.

It connects and hands over a stream; it knows how long a frame may be, and nothing of what is in it.
"""

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from springline.core.values import OpenRequest, TLSClient, TLSInfo
from springline.drivers.amqp091 import errors, peers
from springline.drivers.amqp091.errors import Progress, Step
from springline.drivers.amqp091.lengths import FRAME_OVERHEAD
from springline.errors import RejectedError, TransientError
from springline.reasons import Reason

__all__ = ["CLOSE_GRACE", "FrameReader", "Line", "dial", "tls_info"]

CLOSE_GRACE = 1.0
"""Seconds for what is still to be sent, and for TLS to say goodbye, before all is dropped."""

_FRAME_TYPES = frozenset({1, 2, 3, 8})  # method, header, body, heartbeat: AMQP 0-9-1 §4.2.3
_PIECES = 3  # the type, the rest of the header, payload with frame end
_HANDSHAKE_FRAME_MAX = 128 * 1024
_UNLIMITED_FRAME_MAX = 1024 * 1024  # nothing that is sent to us comes near this
_SAMPLE_SECONDS = 0.5


class FrameReader(asyncio.StreamReader):
    """A stream that refuses what cannot be a frame before it buffers it.

    aiormq reads a frame as one octet, six octets with the length, and the rest; it would buffer
    whatever length it is told, and everything up to the end of the stream after a zero octet.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._frame_max = _HANDSHAKE_FRAME_MAX
        self._piece = 0
        self._at_start = True

    def limit_frames(self, frame_max: int) -> None:
        """Enforce the negotiated frame-max, 0 for none, from the next frame on."""
        self._frame_max = frame_max or _UNLIMITED_FRAME_MAX

    async def readexactly(self, n: int) -> bytes:
        """Read a piece of a frame. Raises `RejectedError` if it cannot be one."""
        if n > self._frame_max - FRAME_OVERHEAD + 1:
            raise errors.mismatch(
                f"a frame of {n - 1 + FRAME_OVERHEAD} octets where {self._frame_max} are allowed"
            )
        data = await super().readexactly(n)
        if self._piece == 0 and data[0] not in _FRAME_TYPES:
            await self._refuse(data)
        self._piece = (self._piece + 1) % _PIECES
        self._at_start = False
        return data

    async def read(self, n: int = -1) -> bytes:
        """Read nothing: aiormq asks for the rest of the stream to quote it in an error."""
        return await super().read(n) if n >= 0 else b""

    async def _refuse(self, first: bytes) -> None:
        if not self._at_start:
            raise errors.mismatch("something that is not a frame")
        sample = first
        try:
            async with asyncio.timeout(_SAMPLE_SECONDS):
                while len(sample) < peers.MAX_SAMPLE:
                    more = await super().read(peers.MAX_SAMPLE - len(sample))
                    if not more:
                        break
                    sample += more
        except (TimeoutError, OSError):
            pass  # what has come is enough for a sentence
        raise RejectedError(Reason.PROTOCOL_MISMATCH, peers.describe(sample))


class _Protocol(asyncio.StreamReaderProtocol):
    """Tells when the transport is gone; asyncio's own only wakes those who wait for it."""

    def __init__(self, reader: FrameReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self.on_lost: Callable[[], None] | None = None
        self.is_lost = False

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True
        if self.on_lost is not None:
            self.on_lost()


class Line:
    """One connected transport: writes without waiting, and ends within a bounded time."""

    __slots__ = ("_guard", "_protocol", "_told", "reader", "writer")

    def __init__(
        self, reader: FrameReader, writer: asyncio.StreamWriter, protocol: _Protocol
    ) -> None:
        self.reader = reader
        self.writer = writer
        self._protocol = protocol
        self._guard: asyncio.TimerHandle | None = None
        self._told: Callable[[], None] | None = None
        protocol.on_lost = self._lost

    @property
    def is_lost(self) -> bool:
        """Whether the transport is gone and its socket released."""
        return self._protocol.is_lost

    @property
    def is_ending(self) -> bool:
        """Whether an end has begun, on either side."""
        return self._protocol.is_lost or self.writer.is_closing()

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Name who is told, once, when the transport is gone."""
        self._told = callback

    def write(self, data: bytes) -> None:
        """Send, or queue where the peer does not read. Does nothing once an end has begun."""
        if not self.is_ending:
            self.writer.write(data)

    def end(self) -> None:
        """Send what is queued and close; drop it all if that takes longer than a moment."""
        if self.is_lost or self._guard is not None:
            return
        loop = asyncio.get_running_loop()
        self._guard = loop.call_later(CLOSE_GRACE, self.abort)
        self.writer.close()

    def abort(self) -> None:
        """Drop the transport at once."""
        self._release_guard()
        if not self.is_lost:
            self.writer.transport.abort()

    async def wait_lost(self) -> None:
        """Wait until the transport is gone, after `end` or `abort`, which bound this wait."""
        # How it ended is told elsewhere.
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()

    def _lost(self) -> None:
        self._release_guard()
        if self._told is not None:
            self._told()

    def _release_guard(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None


async def dial(request: OpenRequest, progress: Progress) -> Line:
    """Connect to the first address that answers, with TLS where declared.

    Raises `ConnectError`s and what the operating system and ssl raise. Safe to cancel: on any
    exception the socket is released before it leaves.
    """
    connected = await _connect_any(request, progress)
    loop = asyncio.get_running_loop()
    reader = FrameReader(loop)
    protocol = _Protocol(reader, loop)
    try:
        if request.tls is None:
            transport, _ = await loop.create_connection(lambda: protocol, sock=connected)
        else:
            progress.step = Step.TLS
            transport = await _secure(connected, protocol, request, request.tls)
    except BaseException:
        await _released(connected)
        raise
    progress.step = Step.START
    return Line(reader, asyncio.StreamWriter(transport, protocol, reader, loop), protocol)


def tls_info(writer: asyncio.StreamWriter, tls: TLSClient | None) -> TLSInfo | None:
    """Return what the TLS handshake agreed on, None without TLS."""
    tls_object = writer.get_extra_info("ssl_object")
    if tls is None or tls_object is None:
        return None
    cipher = tls_object.cipher()
    verified = tls.context.verify_mode is not ssl.CERT_NONE
    not_after = (tls_object.getpeercert() or {}).get("notAfter") if verified else None
    return TLSInfo(
        version=tls_object.version() or "",
        cipher=cipher[0] if cipher else "",
        peer_certificate_not_after=(
            datetime.fromtimestamp(ssl.cert_time_to_seconds(not_after), UTC) if not_after else None
        ),
    )


async def _connect_any(request: OpenRequest, progress: Progress) -> socket.socket:
    """Try the addresses in order; each gets its share of the time that is left.

    A single silent address must not use up what the others need.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + request.timeout
    failures: list[tuple[str, OSError]] = []
    for index, address in enumerate(request.addresses):
        progress.address = address
        share = (deadline - loop.time()) / (len(request.addresses) - index)
        try:
            async with asyncio.timeout(share):
                return await _connect_one(address, request.endpoint.port)
        except OSError as error:
            failures.append((address, error))
    raise errors.refused_addresses(failures, progress) from failures[-1][1]


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


async def _secure(
    connected: socket.socket, protocol: _Protocol, request: OpenRequest, tls: TLSClient
) -> asyncio.Transport:
    # A name in DNS may end in a dot; no certificate names one (RFC 5280 §4.2.1.6).
    name = tls.server_name or request.endpoint.host.removesuffix(".")
    try:
        transport, _ = await asyncio.get_running_loop().create_connection(
            lambda: protocol,
            sock=connected,
            ssl=tls.context,
            server_hostname=name,
            # The attempt's own deadline comes first.
            ssl_handshake_timeout=request.timeout + 1,
            ssl_shutdown_timeout=CLOSE_GRACE,
        )
    except ssl.SSLCertVerificationError:
        raise  # a ValueError, too
    except ValueError as error:
        raise RejectedError(
            Reason.TLS_FAILED, f"{name!r} cannot be verified as a server name: {error}"
        ) from error
    return transport


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
