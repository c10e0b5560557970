"""The wire, and the peer at its other end: it says the parts of a case, and hears nothing.

A part is said when everything waits. An empty one is a pause, in which a timer of the client runs
out. `HANG_UP` ends the connection; the client may dial again, and what follows is said there.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

from fuzz.stepped_loop import SteppedLoop
from springline.core.values import OpenRequest
from springline.drivers.shared.line import Line, LineProtocol

__all__ = ["ENDS", "HANG_UP", "Peer"]

ENDS = ("end of stream", "reset", "silence")
"""How a connection ends when everything is said."""

HANG_UP: Final = b"\x04"
"""The part that says nothing, and ends the stream."""

_MOST_BUFFERED = 256 * 1024
_MOST_WRITTEN = 1024 * 1024


class Peer:
    """What is dialled. `dial` takes the place of `drivers.shared.dialling.dial`."""

    def __init__(self, loop: SteppedLoop, end: str, parts: Sequence[bytes]) -> None:
        """Say `parts`, and then end each connection as `end`, of `ENDS`, says."""
        self._loop = loop
        self._end = end
        self._parts = list(parts)
        self.transports: list[_Transport] = []
        """One for each connection, in their order."""
        self.look: Callable[[], None] = lambda: None
        """Called whenever everything waits; raises `AssertionError` for what must not be."""
        loop.on_idle = self._say_next

    async def dial(self, asked: OpenRequest[Any], progress: Any, reader: Any) -> Line[Any]:
        """Connect the reader, at once."""
        progress.address = asked.address
        protocol = LineProtocol(reader)
        transport = _Transport(self._loop, protocol, reader)
        self.transports.append(transport)
        protocol.connection_made(transport)
        return Line(reader, transport, protocol)

    def drop(self) -> None:
        """Lose what is left, so that nothing warns of it later."""
        for each in self.transports:
            each.abort()

    def _say_next(self) -> bool:
        """Do what comes next; return whether there was anything."""
        self.look()
        if not self.transports or not self.transports[-1].is_listening:
            return False
        transport = self.transports[-1]
        if not self._parts:
            return transport.end(self._end)
        part = self._parts.pop(0)
        if part == HANG_UP:
            return transport.end("end of stream")
        if part:
            transport.say(part)
        return bool(part)


class _Transport(asyncio.Transport):
    """One connection."""

    def __init__(self, loop: SteppedLoop, protocol: LineProtocol, reader: Any) -> None:
        super().__init__({})
        self._loop = loop
        self._protocol = protocol
        self._reader = reader
        self._is_closing = self._is_paused = self._has_ended = False
        self.written = bytearray()
        """All that was sent."""
        self.is_lost = False

    # The peer's side

    @property
    def is_listening(self) -> bool:
        """Whether the client hears what is said."""
        return not (self.is_lost or self._is_paused or self._has_ended)

    def say(self, part: bytes) -> None:
        """Say something in the next turn of the event loop."""
        self._loop.call_soon(self._say, part)

    def end(self, how: str) -> bool:
        """End in the next turn; return whether there is anything of it to hear."""
        self._has_ended = True
        if how == "silence":
            return False
        if how == "reset":
            self._loop.call_soon(self._lose, ConnectionResetError("connection reset by peer"))
        else:
            self._loop.call_soon(self._say_no_more)
        return True

    def _say(self, part: bytes) -> None:
        # What comes for a transport that is closing is not read any more.
        if not self._is_closing:
            self._reader.feed_data(part)
            buffered = self._reader._buffer
            assert len(buffered) <= _MOST_BUFFERED, f"{len(buffered)} octets are buffered"

    def _say_no_more(self) -> None:
        if not self._is_closing and not self._protocol.eof_received():
            self.close()

    def _lose(self, error: Exception | None) -> None:
        self._is_closing = True
        if not self.is_lost:
            self.is_lost = True
            self._protocol.connection_lost(error)

    # The client's side

    def write(self, data: Any) -> None:
        """Keep what is sent."""
        self.written += data
        assert len(self.written) <= _MOST_WRITTEN, "too much is sent"

    def can_write_eof(self) -> bool:
        """Return that it half-closes."""
        return True

    def write_eof(self) -> None:
        """Do nothing: the peer hears nothing."""

    def is_closing(self) -> bool:
        """Return whether it is closing."""
        return self._is_closing

    def close(self) -> None:
        """Lose the connection in the next turn."""
        if not self._is_closing:
            self._is_closing = True
            self._loop.call_soon(self._lose, None)

    def abort(self) -> None:
        """Do the same."""
        self.close()

    def pause_reading(self) -> None:
        """Let the peer wait."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Let it go on."""
        self._is_paused = False

    def get_write_buffer_size(self) -> int:
        """Return that all is sent."""
        return 0
