"""A connected transport: writes without waiting, and ends within a bounded time.

How it got connected is in dialling.py. It reads nothing itself: a driver brings the reader, which
also limits what is buffered.
"""

import asyncio
import contextlib
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from springline import wheel

__all__ = ["CLOSE_GRACE", "PIECE_OCTETS", "Line", "LineProtocol"]

CLOSE_GRACE = 1.0
"""Seconds for what is still to be sent, and for TLS to say goodbye, before all is dropped."""

PIECE_OCTETS: Final = 16 * 1024
"""The most that is received at a time, which is what one record of TLS holds (RFC 8446 §5.1)."""

# One for all lines. A transport fills it and hands it over within one turn of the event loop, of
# which a process has one; asyncio's own way makes room for 256 KB each time.
_piece: Final = memoryview(bytearray(PIECE_OCTETS))

ReaderT = TypeVar("ReaderT", bound=asyncio.StreamReader)


class LineProtocol(asyncio.StreamReaderProtocol, asyncio.BufferedProtocol):
    """Tells when the transport is gone; asyncio's own only wakes those who wait for it.

    What comes is received in pieces, so that a reader can stop a peer that sends more than is read.
    """

    def __init__(self, reader: asyncio.StreamReader, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(reader, loop=loop)
        self.on_lost: Callable[[], None] | None = None
        self.is_lost = False

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - as large for everybody
        """Return where the next piece is received."""
        return _piece

    def buffer_updated(self, nbytes: int) -> None:
        """Hand the piece that was received to the reader."""
        self.data_received(bytes(_piece[:nbytes]))

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.is_lost = True
        if self.on_lost is not None:
            self.on_lost()


class Line(Generic[ReaderT]):
    """One connected transport, with the reader that its driver brought."""

    __slots__ = ("_guard", "_is_lingering", "_protocol", "_told", "reader", "writer")

    def __init__(
        self, reader: ReaderT, writer: asyncio.StreamWriter, protocol: LineProtocol
    ) -> None:
        self.reader = reader
        self.writer = writer
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
        return self._is_lingering or self._protocol.is_lost or self.writer.is_closing()

    def on_lost(self, callback: Callable[[], None]) -> None:
        """Name who is told, once, when the transport is gone."""
        self._told = callback

    def write(self, data: bytes) -> None:
        """Send, or queue where the peer does not read. Does nothing once an end has begun."""
        if not self.is_ending:
            self.writer.write(data)

    def end(self) -> None:
        """Send what is queued and close; drop it all if that takes longer than a moment."""
        if self.is_lost or self.writer.is_closing():
            return
        self._set_guard()
        self.writer.close()

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

    def _set_guard(self) -> None:
        self._release_guard()
        self._guard = wheel.call_later(CLOSE_GRACE, self.abort)

    def _release_guard(self) -> None:
        if self._guard is not None:
            self._guard.cancel()
            self._guard = None
