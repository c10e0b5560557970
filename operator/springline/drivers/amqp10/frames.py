"""Frames of AMQP 1.0 (part 2 §2.3): a length, a type and a channel, and a body. Pure.

What is in a body, the codec knows.
"""

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = [
    "AMQP",
    "AMQP_HEADER",
    "HEADER_OCTETS",
    "MIN_MAX_FRAME_SIZE",
    "SASL",
    "SASL_HEADER",
    "Frame",
    "FrameSplitter",
    "MalformedFrameError",
    "framed",
]

AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"
"""What a peer begins a layer with (§2.2, part 5 §5.3.2)."""

AMQP: Final = 0
SASL: Final = 1

HEADER_OCTETS: Final = 8
"""Of a frame, and of a protocol header."""
MIN_MAX_FRAME_SIZE: Final = 512
"""Octets that every peer takes in one frame (§2.8.19)."""

_HEAD: Final = struct.Struct(">IBBH")
_WORD: Final = 4


class MalformedFrameError(Exception):
    """What comes is no frame, or a longer one than was agreed on."""


class Frame(NamedTuple):
    """One frame."""

    type: int
    channel: int
    body: bytes
    octets: int
    """With the header."""


def framed(body: bytes, *, type: int = AMQP, channel: int = 0) -> bytes:  # noqa: A002 - its name
    """Return a body as a frame."""
    return _HEAD.pack(HEADER_OCTETS + len(body), 2, type, channel) + body


class FrameSplitter:
    """Makes frames of what comes, in whatever pieces it comes.

    `limit` is how many octets a frame may have, with its header; it may be changed.
    """

    __slots__ = ("_buffer", "limit")

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete now. Raises `MalformedFrameError`."""
        self._buffer += data
        while len(self._buffer) >= HEADER_OCTETS:
            size, offset, kind, channel = _HEAD.unpack_from(self._buffer)
            start = offset * _WORD
            if offset < 2 or size < start:
                raise MalformedFrameError("what is no frame of AMQP 1.0")
            if size > self.limit:
                raise MalformedFrameError(
                    f"a frame of {size} octets, and {self.limit} are the most"
                )
            if len(self._buffer) < size:
                return
            body = bytes(self._buffer[start:size])
            del self._buffer[:size]
            yield Frame(kind, channel, body, size)

    @property
    def rest(self) -> bytes:
        """What has come of a frame that is not complete."""
        return bytes(self._buffer)
