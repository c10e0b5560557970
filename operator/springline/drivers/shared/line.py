"""A connected transport: writes without waiting, and ends within a bounded time.

How it got connected is in dialling.py. It reads nothing itself: a driver brings the reader, which
also limits what is buffered.
"""

import asyncio
from collections.abc import Callable
from typing import Final, Generic, Protocol, TypeVar

from springline import wheel

__all__ = ["CLOSE_GRACE", "PIECE_OCTETS", "Inbound", "Line", "LineProtocol"]

CLOSE_GRACE = 1.0
"""Seconds for what is still to be sent, and for TLS to say goodbye, before all is dropped."""

PIECE_OCTETS: Final = 16 * 1024
"""The most that is received at a time, which is what one record of TLS holds (RFC 8446 §5.1)."""

# One for all lines. A transport fills it and hands it over within one turn of the event loop, of
# which a process has one; asyncio's own way makes room for 256 KB each time.
_piece: Final = memoryview(bytearray(PIECE_OCTETS))


class _Gone(asyncio.Transport):
    """In place of a transport that is lost: nothing is known of it, and nothing becomes of it."""

    __slots__ = ()

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0

    def can_write_eof(self) -> bool:
        return False


_GONE: Final = _Gone()


class _Valve(asyncio.ReadTransport):
    """What a reader has of a transport: it may stop it for a while, until there is none.

    A reader may live as long as what it has read is looked at. With the transport it would keep
    what TLS needs for a connection, which is more than all else.
    """

    __slots__ = ("transport",)

    def __init__(self, transport: asyncio.ReadTransport) -> None:
        super().__init__()
        self.transport: asyncio.ReadTransport | None = transport

    def pause_reading(self) -> None:
        if self.transport is not None:
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.transport is not None:
            self.transport.resume_reading()


class Inbound(Protocol):
    """What a line feeds: an `asyncio.StreamReader`, or what a driver has in its place."""

    def set_transport(self, transport: asyncio.ReadTransport) -> None:
        """Name the transport, which may be paused. Comes first, and once."""

    def feed_data(self, data: bytes) -> None:
        """Take in a piece of what the peer sends."""

    def feed_eof(self) -> None:
        """Note that the peer sends nothing more."""

    def set_exception(self, exc: Exception) -> None:
        """Note that the transport was lost, and why."""


ReaderT = TypeVar("ReaderT", bound=Inbound)


class LineProtocol(asyncio.BufferedProtocol):
    """Feeds a reader, and tells when the transport is gone.

    asyncio's own for streams keeps a deque and a future for each connection, for writers that wait.
    What comes is received in pieces, so that a reader can stop a peer that sends more than is read.
    """

    __slots__ = ("_has_tls", "_lost", "_reader", "_valve", "is_lost", "on_lost")

    def __init__(self, reader: Inbound) -> None:
        self._reader = reader
        self._has_tls = False
        self._valve: _Valve | None = None
        self._lost: list[asyncio.Future[None]] = []
        self.on_lost: Callable[[], None] | None = None
        self.is_lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Name the transport to the reader."""
        if not isinstance(transport, asyncio.ReadTransport):
            raise TypeError("a transport that can be read from")
        self._has_tls = transport.get_extra_info("sslcontext") is not None
        self._valve = _Valve(transport)
        self._reader.set_transport(self._valve)

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - as large for everybody
        """Return where the next piece is received."""
        return _piece

    def buffer_updated(self, nbytes: int) -> None:
        """Hand the piece that was received to the reader."""
        self._reader.feed_data(bytes(_piece[:nbytes]))

    def eof_received(self) -> bool:
        """Tell the reader; without TLS we can still write."""
        self._reader.feed_eof()
        return not self._has_tls

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the reader, then whoever waits."""
        if exc is None:
            self._reader.feed_eof()
        else:
            self._reader.set_exception(exc)
        self.is_lost = True
        if self._valve is not None:
            self._valve.transport = None
        waiting, self._lost = self._lost, []
        for each in waiting:
            if not each.done():
                each.set_result(None)
        on_lost, self.on_lost = self.on_lost, None
        if on_lost is not None:
            on_lost()

    async def wait_lost(self) -> None:
        """Wait until the transport is gone. Safe to cancel, and for several at once."""
        if not self.is_lost:
            gone = asyncio.get_running_loop().create_future()
            self._lost.append(gone)
            await gone


class Line(Generic[ReaderT]):
    """One connected transport, with the reader that its driver brought.

    What belongs to the transport is let go of when that is lost, and not when the garbage collector
    comes by: it looks seldom at what is as old as a connection.
    """

    __slots__ = ("_guard", "_is_lingering", "_protocol", "_told", "reader", "transport")

    def __init__(
        self, reader: ReaderT, transport: asyncio.Transport, protocol: LineProtocol
    ) -> None:
        self.reader = reader
        self.transport: asyncio.Transport = transport
        self._protocol = protocol
        self._guard: wheel.Timer | None = None
        self._is_lingering = False
        self._told: Callable[[], None] | None = None
        protocol.on_lost = self._lost

    @property
    def is_lost(self) -> bool:
        """Whether the transport is gone and its socket released."""
        return self._protocol.is_lost

    @property
    def is_ending(self) -> bool:
        """Whether an end has begun, on either side."""
        return self._is_lingering or self._protocol.is_lost or self.transport.is_closing()

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Name who is told, once, when the transport is gone."""
        self._told = callback

    def write(self, data: bytes) -> None:
        """Send, or queue where the peer does not read. Does nothing once an end has begun."""
        if not self.is_ending:
            self.transport.write(data)

    def end(self) -> None:
        """Send what is queued and close; drop it all if that takes longer than a moment."""
        if self.is_lost or self.transport.is_closing():
            return
        self._set_guard()
        self.transport.close()

    def linger(self) -> None:
        """Begin the end, and let the peer answer what was written last.

        `end` follows when the answer has come; without it, all is dropped after a moment.
        """
        if not self.is_ending:
            self._is_lingering = True
            self._set_guard()

    def abort(self) -> None:
        """Drop the transport at once."""
        self._release_guard()
        if not self.is_lost:
            self.transport.abort()

    async def wait_lost(self) -> None:
        """Wait until the transport is gone, after `end` or `abort`, which bound this wait."""
        await self._protocol.wait_lost()

    def _lost(self) -> None:
        self._release_guard()
        self.transport = _GONE
        told, self._told = self._told, None
        if told is not None:
            told()

    def _set_guard(self) -> None:
        self._release_guard()
        self._guard = wheel.call_later(CLOSE_GRACE, self.abort)

    def _release_guard(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
