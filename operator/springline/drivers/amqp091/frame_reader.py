"""A reader that trusts no length the peer names, and says what the peer speaks instead of frames.

It knows how long a frame may be, and which method it is of. What is wrong with a whole frame is in
objections.py. Sockets, TLS and what is written are in the line, which drivers share.

In the handshake aiormq takes frames out of it. On an open connection it hands over each frame as
soon as it is there: thousands of connections need no task each that waits for the next one.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

from pamqp.constants import FRAME_END, FRAME_METHOD

from springline.drivers.amqp091 import errors, objections, texts
from springline.drivers.amqp091.lengths import FRAME_OVERHEAD
from springline.drivers.amqp091.objections import NO_METHOD, Method, Violation
from springline.drivers.amqp091.replies import RESOURCE_ERROR, Close
from springline.drivers.shared import peers
from springline.drivers.shared.inbound import InboundBudget
from springline.drivers.shared.peers import Expected
from springline.errors import ConnectError, RejectedError
from springline.reasons import Reason

__all__ = ["FrameReader", "FrameTaker"]

logger = logging.getLogger(__name__)

_FRAME_TYPES = frozenset({1, 2, 3, 8})  # method, header, body, heartbeat: AMQP 0-9-1 §4.2.3
_HEADER_OCTETS = 7  # the type, the channel and the length
_GREETING_FRAME_MAX = 128 * 1024  # Start has whatever the broker says of itself
_READ_AHEAD = 8 * 1024
"""Octets beside the frame that is read; at twice as many nothing more is received."""
_MOST = 16 * 1024
"""Octets of a frame after the greeting, whatever frame-max was agreed on.

That one is for messages, and these connections consume none. What is meant for them is short: a
Close with at most 255 octets of text, a Blocked, what answers a probe.
"""
_METHOD_OCTETS = 4  # at the beginning of a method frame's payload: class id and method id
_EXPECTED = Expected(protocol="AMQP 0-9-1", port="AMQP")


class FrameTaker(Protocol):
    """Who is handed the frames of an open connection. No call waits."""

    def take_frame(self, kind: int, channel: int, frame: bytes) -> bool:
        """Take in a whole frame, and return whether another one is due."""

    def reading_ended(self, error: BaseException | None) -> None:
        """Handle that no more frames come, once: why, or None after the last one that was due."""


class FrameReader:
    """A stream that refuses what cannot be a frame before it buffers it.

    aiormq reads a frame as one octet, six octets with the length, and the rest; it would buffer
    whatever length it is told, and everything up to the end of the stream after a zero octet. Here
    a frame is read as a whole, and handed out in such pieces.
    """

    __slots__ = (
        "_at_start",
        "_budget",
        "_buffer",
        "_channel",
        "_error",
        "_found",
        "_frame_max",
        "_has_ended",
        "_is_paused",
        "_kind",
        "_loop",
        "_pieces",
        "_sought",
        "_tail",
        "_taker",
        "_transport",
        "_waiter",
        "check",
        "heard_at",
        "is_done",
        "method",
        "objection",
    )

    _transport: asyncio.ReadTransport

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._frame_max = _GREETING_FRAME_MAX
        self._budget = InboundBudget(loop)
        self._buffer = bytearray()
        self._pieces = b""
        self._kind = self._channel = 0
        self._at_start = True
        self._is_paused = False
        self._waiter: asyncio.Future[None] | None = None
        self._taker: FrameTaker | None = None
        self._sought = self._tail = b""
        self._found: Callable[[], None] | None = None
        self._error: Exception | None = None
        self._has_ended = False
        self.heard_at = loop.time()
        """When something came last."""
        self.is_done = False
        """Whether no frame will be handed over any more."""
        self.method = NO_METHOD
        """Of the frame that is being read, or was read last."""
        self.objection: Close | None = None
        """Our Close for a frame that was not read, because of what is wrong with it."""
        self.check: Callable[[int, int, Method], Violation | None] | None = None
        """Looks at type, channel and method of every frame before it is read."""

    def limit_frames(self, frame_max: int) -> None:
        """Take no longer frames than negotiated, 0 for no limit, or than can be meant for us."""
        self._frame_max = min(frame_max or _MOST, _MOST)

    # In the handshake: Start is read by aiormq, in pieces, and the rest as whole frames

    async def read_frame(self) -> bytes:
        """Read a frame. Raises `RejectedError` for what cannot be one, and how the line ended."""
        if self._error is not None:
            raise self._error
        while not self._buffer:
            await self._more()
        if self._at_start and self._buffer[0] not in _FRAME_TYPES:
            sample = await peers.sample(b"", self._read_some)
            raise RejectedError(Reason.PROTOCOL_MISMATCH, peers.describe(sample, _EXPECTED))
        while (frame := self._next()) is None:
            await self._more()
        await self._budget.give_way()
        return frame

    def at_eof(self) -> bool:
        """Whether all that came has been read, and nothing more will come."""
        return self._has_ended and not self._buffer

    async def readexactly(self, n: int) -> bytes:
        """Read a piece of a frame. Raises `RejectedError` if it cannot be one."""
        if not self._pieces:
            self._pieces = await self.read_frame()
        piece, self._pieces = self._pieces[:n], self._pieces[n:]
        return piece

    async def read(self) -> bytes:
        """Read nothing: aiormq asks for the rest of the stream to quote it in an error."""
        return b""

    # On an open connection

    def hand_over_to(self, taker: FrameTaker) -> None:
        """Hand each frame over as soon as it is there. What is there already comes at once."""
        self._taker = taker
        if self._error is not None:
            self.stop(self._error)
        else:
            self._hand_over()

    def stop(self, error: BaseException | None) -> None:
        """Hand over no more frames, and tell the taker why. Idempotent."""
        taker, self._taker = self._taker, None
        self.is_done = True
        self._buffer.clear()
        if taker is not None:
            taker.reading_ended(error)

    def seek(self, octets: bytes, found: Callable[[], None]) -> None:
        """Drop all that comes from now on, and call `found` at these octets, or at the end."""
        self._sought, self._found = octets, found
        self._resume()
        if self._has_ended:
            self._tell_found()

    # What the line feeds

    def set_transport(self, transport: asyncio.ReadTransport) -> None:
        """Name the transport, which is paused when enough has come that is not read."""
        self._transport = transport

    def feed_data(self, data: bytes) -> None:
        """Buffer what has come, hand it over, or drop it."""
        if self._sought:
            self._look_for(data)
            return
        if self._error is not None or self.is_done:
            return
        self.heard_at = self._loop.time()
        self._buffer += data
        too_much = self._budget.take_piece()
        if too_much:
            self._fail(self._flooded(too_much))
        elif self._taker is not None:
            if not self._is_paused:
                self._hand_over()
        else:
            self._wake()
            if self._waiter is None and len(self._buffer) > 2 * _READ_AHEAD:
                self._pause()

    def feed_eof(self) -> None:
        """Note that nothing more will come."""
        if self._has_ended:
            return
        self._has_ended = True
        self._tell_found()
        self._wake()
        if self._taker is not None and not self._is_paused:
            self._hand_over()

    def set_exception(self, exc: Exception) -> None:
        """Note that nothing more will come, because of an error."""
        if self._error is None:
            self._fail(exc)
        self.feed_eof()

    # Steps

    def _fail(self, error: Exception) -> None:
        self._error = error
        self._wake()
        self.stop(error)

    def _hand_over(self) -> None:
        """Hand over what is there. Others get their turn in between, however much has come."""
        try:
            while (taker := self._taker) is not None and (frame := self._next()) is not None:
                if not taker.take_frame(self._kind, self._channel, frame):
                    self.stop(None)
                    return
                if self._budget.is_turn_over():
                    self._pause()
                    self._loop.call_soon(self._go_on)
                    return
        except Exception as error:
            if not isinstance(error, ConnectError) and not errors.is_undecodable(error):
                logger.exception("frame not handled")
            self.stop(error)
            return
        if self._has_ended:
            self.stop(asyncio.IncompleteReadError(bytes(self._buffer), None))

    def _go_on(self) -> None:
        self._resume()
        self._hand_over()

    def _pause(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _look_for(self, data: bytes) -> None:
        self._tail += data
        if self._sought in self._tail:
            self._tell_found()
        self._tail = self._tail[1 - len(self._sought) :]

    def _tell_found(self) -> None:
        found, self._found = self._found, None
        if found is not None:
            found()

    async def _more(self) -> None:
        """Wait until more has come. Raises at the end, and what the line was lost by."""
        if self._error is None and not self._has_ended:
            self._resume()
            waiter = self._waiter = self._loop.create_future()
            await waiter
        if self._error is not None:
            raise self._error
        if self._has_ended:
            raise asyncio.IncompleteReadError(bytes(self._buffer), None)

    async def _read_some(self, most: int) -> bytes:
        try:
            while not self._buffer:
                await self._more()
        except EOFError:
            return b""
        return self._take(min(most, len(self._buffer)))

    def _next(self) -> bytes | None:
        """Return the next frame if it is there as a whole. Raises what is wrong with it."""
        buffer = self._buffer
        if not buffer:
            return None
        self._kind, self.method = buffer[0], NO_METHOD
        if self._kind not in _FRAME_TYPES:
            raise self._object(Violation(objections.FRAME_ERROR, "something that is not a frame"))
        self._at_start = False
        if len(buffer) < _HEADER_OCTETS:
            return None
        self._channel, length = int.from_bytes(buffer[1:3]), int.from_bytes(buffer[3:7])
        octets = length + FRAME_OVERHEAD
        if octets > self._frame_max:
            what = f"a frame of {octets} octets where {self._frame_max} are allowed"
            raise self._object(Violation(objections.FRAME_ERROR, what))
        if len(buffer) < octets:
            return None
        frame = self._take(octets)
        self._examine(frame)
        return texts.repaired(frame)

    def _take(self, octets: int) -> bytes:
        taken = bytes(self._buffer[:octets])
        del self._buffer[:octets]
        return taken

    def _examine(self, frame: bytes) -> None:
        """Raise what is wrong with a frame that is there as a whole."""
        if self._kind == FRAME_METHOD and len(frame) >= _METHOD_OCTETS + FRAME_OVERHEAD:
            self.method = Method(int.from_bytes(frame[7:9]), int.from_bytes(frame[9:11]))
        too_much = self._budget.take(len(frame) - _HEADER_OCTETS)
        if too_much:
            raise self._flooded(too_much)
        if frame[-1] != FRAME_END:
            raise self._object(Violation(objections.FRAME_ERROR, "a frame without a frame end"))
        wrong = self.check(self._kind, self._channel, self.method) if self.check else None
        if wrong is not None:
            raise self._object(wrong)

    def _flooded(self, too_much: str) -> RejectedError:
        error = errors.flooded(too_much)
        self.objection = objections.close(RESOURCE_ERROR, error.message, NO_METHOD)
        return error

    def _object(self, wrong: Violation) -> RejectedError:
        error = errors.mismatch(wrong.what)
        self.objection = objections.close(wrong.code, error.message, self.method)
        return error
