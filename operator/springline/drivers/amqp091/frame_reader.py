"""A reader that trusts no length the peer names, and says what the peer speaks instead of frames.

It knows how long a frame may be, and nothing of what is in it. Sockets, TLS and what is written are
in the line, which drivers share.
"""

import asyncio

from springline.drivers.amqp091 import errors
from springline.drivers.amqp091.lengths import FRAME_OVERHEAD
from springline.drivers.shared import peers
from springline.drivers.shared.peers import Expected
from springline.errors import RejectedError
from springline.reasons import Reason

__all__ = ["FrameReader"]

_FRAME_TYPES = frozenset({1, 2, 3, 8})  # method, header, body, heartbeat: AMQP 0-9-1 §4.2.3
_PIECES = 3  # the type, the rest of the header, payload with frame end
_GREETING_FRAME_MAX = 128 * 1024  # Start describes the broker at any length
_MOST = 16 * 1024
"""Octets of a frame after Start, at any negotiated frame-max.

Frame-max is for messages, and these connections consume none. What a broker sends them is short: a
Close with at most 255 octets of text, a Blocked, the answers to a probe.
"""
_SAMPLE_SECONDS = 0.5
_EXPECTED = Expected(protocol="AMQP 0-9-1", port="AMQP")


class FrameReader(asyncio.StreamReader):
    """A stream that refuses what cannot be a frame before it buffers it.

    aiormq reads a frame as one octet, six octets with the length, and the rest; it would buffer
    whatever length it is told, and everything up to the end of the stream after a zero octet.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self._frame_max = _GREETING_FRAME_MAX
        self._piece = 0
        self._at_start = True

    def limit_frames(self, frame_max: int) -> None:
        """Take no longer frames than negotiated, 0 for no limit, or than can be meant for us."""
        self._frame_max = min(frame_max or _MOST, _MOST)

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
        raise RejectedError(Reason.PROTOCOL_MISMATCH, peers.describe(sample, _EXPECTED))
