"""A reader that trusts no length the peer names, and says what the peer speaks instead of frames.

It knows how long a frame may be, and which method it is of. What is wrong with a whole frame is in
objections.py. Sockets, TLS and what is written are in the line, which drivers share.
"""

import asyncio
from collections.abc import Callable, Iterable
from typing import SupportsIndex

from pamqp.constants import FRAME_END, FRAME_METHOD

from springline.drivers.amqp091 import errors, objections, texts
from springline.drivers.amqp091.lengths import FRAME_OVERHEAD
from springline.drivers.amqp091.objections import NO_METHOD, Method, Violation
from springline.drivers.amqp091.replies import RESOURCE_ERROR, Close
from springline.drivers.shared import peers
from springline.drivers.shared.inbound import InboundBudget
from springline.drivers.shared.peers import Expected
from springline.errors import RejectedError
from springline.reasons import Reason

__all__ = ["FrameReader"]

_FRAME_TYPES = frozenset({1, 2, 3, 8})  # method, header, body, heartbeat: AMQP 0-9-1 §4.2.3
_HEADER_REST = 6  # after the type: the channel and the length
_GREETING_FRAME_MAX = 128 * 1024  # Start has whatever the broker says of itself
_READ_AHEAD = 8 * 1024
"""Octets beside the frame that is read; asyncio stops receiving at twice as many."""
_MOST = 16 * 1024
"""Octets of a frame after the greeting, whatever frame-max was agreed on.

That one is for messages, and these connections consume none. What is meant for them is short: a
Close with at most 255 octets of text, a Blocked, what answers a probe.
"""
_METHOD_OCTETS = 4  # at the beginning of a method frame's payload: class id and method id
_SAMPLE_SECONDS = 0.5
_EXPECTED = Expected(protocol="AMQP 0-9-1", port="AMQP")


class FrameReader(asyncio.StreamReader):
    """A stream that refuses what cannot be a frame before it buffers it.

    aiormq reads a frame as one octet, six octets with the length, and the rest; it would buffer
    whatever length it is told, and everything up to the end of the stream after a zero octet. Here
    a frame is read as a whole, and handed out in such pieces.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_READ_AHEAD, loop=loop)
        self._frame_max = _GREETING_FRAME_MAX
        self._budget = InboundBudget(loop)
        self._pieces = b""
        self._kind = self._channel = 0
        self._at_start = True
        self._sought = self._tail = b""
        self._found: Callable[[], None] | None = None
        self._has_ended = False
        self.method = NO_METHOD
        """Of the frame that is being read, or was read last."""
        self.objection: Close | None = None
        """Our Close for a frame that was not read, because of what is wrong with it."""
        self.check: Callable[[int, int, Method], Violation | None] | None = None
        """Looks at type, channel and method of every frame before it is read."""

    def limit_frames(self, frame_max: int) -> None:
        """Take no longer frames than negotiated, 0 for no limit, or than can be meant for us."""
        self._frame_max = min(frame_max or _MOST, _MOST)

    async def readexactly(self, n: int) -> bytes:
        """Read a piece of a frame. Raises `RejectedError` if it cannot be one."""
        if not self._pieces:
            self._pieces = texts.repaired(await self._frame())
        piece, self._pieces = self._pieces[:n], self._pieces[n:]
        return piece

    async def read(self, n: int = -1) -> bytes:
        """Read nothing: aiormq asks for the rest of the stream to quote it in an error."""
        return await super().read(n) if n >= 0 else b""

    def seek(self, octets: bytes, found: Callable[[], None]) -> None:
        """Drop all that comes from now on, and call `found` at these octets, or at the end."""
        self._sought, self._found = octets, found
        if self._has_ended:
            self._tell_found()

    def feed_data(self, data: "Iterable[SupportsIndex]") -> None:
        """Buffer what has come, or drop it."""
        if not self._sought:
            super().feed_data(data)
            too_much = self._budget.take_piece()
            if too_much and self.exception() is None:
                self.set_exception(self._flooded(too_much))
            return
        self._tail += bytes(data)
        if self._sought in self._tail:
            self._tell_found()
        self._tail = self._tail[1 - len(self._sought) :]

    def feed_eof(self) -> None:
        """Note that nothing more will come."""
        super().feed_eof()
        self._has_ended = True
        self._tell_found()

    def _tell_found(self) -> None:
        found, self._found = self._found, None
        if found is not None:
            found()

    async def _frame(self) -> bytes:
        first = await super().readexactly(1)
        self._kind, self.method = first[0], NO_METHOD
        if self._kind not in _FRAME_TYPES:
            await self._refuse(first)
        self._at_start = False
        rest = await super().readexactly(_HEADER_REST)
        self._channel, length = int.from_bytes(rest[:2]), int.from_bytes(rest[2:])
        octets = length + FRAME_OVERHEAD
        if octets > self._frame_max:
            what = f"a frame of {octets} octets where {self._frame_max} are allowed"
            raise self._object(Violation(objections.FRAME_ERROR, what))
        payload = await super().readexactly(length + 1)
        self._examine(payload)
        await self._budget.give_way()
        return first + rest + payload

    def _examine(self, payload: bytes) -> None:
        """Raise what is wrong with a frame that is there as a whole."""
        if self._kind == FRAME_METHOD and len(payload) > _METHOD_OCTETS:
            self.method = Method(int.from_bytes(payload[:2]), int.from_bytes(payload[2:4]))
        too_much = self._budget.take(len(payload))
        if too_much:
            raise self._flooded(too_much)
        if payload[-1] != FRAME_END:
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

    async def _refuse(self, first: bytes) -> None:
        if not self._at_start:
            raise self._object(Violation(objections.FRAME_ERROR, "something that is not a frame"))
        sample = await peers.sample(first, super().read)
        raise RejectedError(Reason.PROTOCOL_MISMATCH, peers.describe(sample, _EXPECTED))
