"""Texts of a broker that end in the middle of a character, made whole before they are decoded.

RabbitMQ cuts the text of a Close at 255 octets, wherever that falls; pamqp takes no octets that are
not UTF-8, and with them the code would be lost. Pure.
"""

from typing import Final

__all__ = ["repaired"]

_METHOD_FRAME: Final = 1
_HEADER: Final = 7
_MAX_SHORT_STRING: Final = 255

_TEXTS: Final = {
    (10, 50): 6,  # Connection.Close: after the method's numbers and the code
    (20, 40): 6,  # Channel.Close: likewise
    (10, 60): 4,  # Connection.Blocked: after the method's numbers
}
"""Where in a method's frame a text for people begins."""


def repaired(frame: bytes) -> bytes:
    """Return a frame whose text for people is UTF-8, with U+FFFD for what is not.

    Any other frame, and one that has no such text where it should be, is returned as it is.
    """
    if frame[0] != _METHOD_FRAME or len(frame) < _HEADER + 4:
        return frame
    method = (int.from_bytes(frame[7:9]), int.from_bytes(frame[9:11]))
    offset = _TEXTS.get(method)
    if offset is None:
        return frame
    length_at = _HEADER + offset
    begin = length_at + 1
    end = begin + int.from_bytes(frame[length_at:begin])
    if end >= len(frame):  # the frame's last octet belongs to no text
        return frame
    text = _as_utf8(frame[begin:end])
    if text == frame[begin:end]:
        return frame
    payload = frame[_HEADER:length_at] + bytes([len(text)]) + text + frame[end:-1]
    return frame[:3] + len(payload).to_bytes(4) + payload + frame[-1:]


def _as_utf8(octets: bytes) -> bytes:
    whole = octets.decode("utf-8", "replace").encode()
    # U+FFFD has three octets, and what is longer than a short string gives way.
    return whole[:_MAX_SHORT_STRING].decode("utf-8", "ignore").encode()
