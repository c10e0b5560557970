"""Octets to whole HTTP/2 frames, none longer than allowed (RFC 9113 §4.1). Pure.

h2 takes frames, too, but says of few of them that they have come: what it passes over is not
bounded by it, and after a GOAWAY it takes no more answers. So each frame is seen here first.
"""

import enum
from collections.abc import Iterator
from dataclasses import dataclass

from springline.drivers.http import bounds

__all__ = ["Frame", "FrameSplitter", "FrameTooLongError", "FrameType"]

HEADER_OCTETS = 9
_END_HEADERS = 0x4
_END_STREAM = 0x1


class FrameType(enum.IntEnum):
    """RFC 9113 §6."""

    DATA = 0
    HEADERS = 1
    RST_STREAM = 3
    SETTINGS = 4
    PUSH_PROMISE = 5
    PING = 6
    GOAWAY = 7
    WINDOW_UPDATE = 8
    CONTINUATION = 9


class FrameTooLongError(Exception):
    """A frame is longer than we allow (RFC 9113 §4.2); nothing of it is kept."""


@dataclass(frozen=True, slots=True)
class Frame:
    """A whole frame."""

    type: int
    flags: int
    stream_id: int
    octets: bytes
    """With its header."""

    @property
    def payload(self) -> bytes:
        """What follows its header."""
        return self.octets[HEADER_OCTETS:]

    @property
    def ends_headers(self) -> bool:
        """Whether no CONTINUATION follows; of HEADERS, PUSH_PROMISE and CONTINUATION."""
        return bool(self.flags & _END_HEADERS)

    @property
    def is_empty(self) -> bool:
        """Whether it is DATA that brings neither octets nor an end."""
        return (
            self.type == FrameType.DATA
            and len(self.octets) == HEADER_OCTETS
            and not self.flags & _END_STREAM
        )


class FrameSplitter:
    """Splits a stream; holds at most one frame that is not complete."""

    __slots__ = ("_buffer",)

    def __init__(self) -> None:
        self._buffer = bytearray()

    @property
    def pending(self) -> bytes:
        """What has come of a frame that is not complete."""
        return bytes(self._buffer)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Yield the frames that are complete now. Raises `FrameTooLongError`."""
        buffer = self._buffer
        buffer += data
        while len(buffer) >= HEADER_OCTETS:
            length = int.from_bytes(buffer[:3])
            if length > bounds.MAX_FRAME:
                raise FrameTooLongError
            end = HEADER_OCTETS + length
            if len(buffer) < end:
                return
            octets = bytes(buffer[:end])
            del buffer[:end]
            stream_id = int.from_bytes(octets[5:9]) & 0x7FFF_FFFF
            yield Frame(octets[3], octets[4], stream_id, octets)
