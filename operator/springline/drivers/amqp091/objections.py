"""What a peer may not send on an open connection, and the Close that says so.

"When a close is due to an exception, the sender provides the class and method id of the method
which caused the exception" (AMQP 0-9-1, connection.close). Pure: who sends it, and when, is the
wire's to decide.
"""

from typing import Final, NamedTuple

from pamqp import commands as spec
from pamqp.base import Frame
from pamqp.constants import FRAME_BODY, FRAME_HEADER, FRAME_HEARTBEAT, FRAME_METHOD

from springline.drivers.amqp091 import errors
from springline.drivers.amqp091.replies import Close
from springline.errors import RejectedError
from springline.reasons import Reason

__all__ = [
    "FRAME_ERROR",
    "NO_METHOD",
    "Method",
    "Rules",
    "Violation",
    "close",
    "of_error",
]

FRAME_ERROR: Final = 501
_SYNTAX_ERROR: Final = 502
_COMMAND_INVALID: Final = 503
_CHANNEL_ERROR: Final = 504
_UNEXPECTED_FRAME: Final = 505


class Method(NamedTuple):
    """The class and method id of a method frame."""

    class_id: int
    method_id: int

    def __str__(self) -> str:
        known: type[Frame] | None = spec.INDEX_MAPPING.get(self.class_id << 16 | self.method_id)
        return known.name if known is not None else f"the method {self.class_id}.{self.method_id}"


NO_METHOD: Final = Method(0, 0)
"""Of a frame that is not a method frame, or whose method was not read."""

_CONNECTION_CLASS: Final = 10


def _methods(*frames: type[Frame]) -> frozenset[Method]:
    return frozenset(Method(each.index >> 16, each.index & 0xFFFF) for each in frames)


_FOR_US: Final = _methods(
    spec.Connection.Close,
    spec.Connection.CloseOk,
    spec.Connection.Blocked,
    spec.Connection.Unblocked,
    spec.Connection.UpdateSecretOk,
)
"""All that a server has to say to a client on channel 0 once the connection is open."""

_WITH_CONTENT: Final = _methods(spec.Basic.Return, spec.Basic.Deliver, spec.Basic.GetOk)
"""What a content header follows."""


class Violation(NamedTuple):
    """What is wrong with a frame."""

    code: int
    what: str
    """What the peer sent, as part of a sentence."""


class Rules:
    """What the peer may send next on one open connection."""

    __slots__ = ("_channels", "_content")

    def __init__(self) -> None:
        self._channels: set[int] = set()
        self._content: dict[int, int] = {}
        """What kind of content frame may come on a channel, if any may."""

    def opened(self, channel: int) -> None:
        """Note that something was sent on a channel: what comes on it is expected from now on.

        Also once it is closed again: what comes late does no harm.
        """
        self._channels.add(channel)

    def find(self, kind: int, channel: int, method: Method) -> Violation | None:
        """Return what is wrong with the next frame, None if nothing is."""
        if kind == FRAME_HEARTBEAT:
            # "A peer that receives an invalid heartbeat frame MUST raise a connection exception
            # with reply code 501" (AMQP 0-9-1).
            return Violation(FRAME_ERROR, f"a heartbeat on channel {channel}") if channel else None
        name = str(method) if kind == FRAME_METHOD else "content"
        if channel == 0:
            if kind != FRAME_METHOD:
                return Violation(_CHANNEL_ERROR, "content on channel 0")
            if method not in _FOR_US:
                return Violation(_COMMAND_INVALID, f"{name} on channel 0 of an open connection")
            return None
        if method.class_id == _CONNECTION_CLASS:
            return Violation(_COMMAND_INVALID, f"{name} on channel {channel}")
        if channel not in self._channels:
            return Violation(_CHANNEL_ERROR, f"{name} on channel {channel}, which is not open")
        return self._find_in_content(kind, channel, method)

    def _find_in_content(self, kind: int, channel: int, method: Method) -> Violation | None:
        """Hold methods, content headers and content bodies to their order."""
        due = self._content.pop(channel, FRAME_METHOD)
        if due == FRAME_HEADER and kind != FRAME_HEADER:
            return Violation(_UNEXPECTED_FRAME, "no content header where one is due")
        if kind == FRAME_METHOD:
            if method in _WITH_CONTENT:
                self._content[channel] = FRAME_HEADER
        elif due == FRAME_METHOD or kind != due:
            return Violation(_UNEXPECTED_FRAME, "content where none is due")
        else:
            self._content[channel] = FRAME_BODY  # as many as the peer likes
        return None


def of_error(error: BaseException | None, method: Method) -> Close | None:
    """Return the Close for an error that reading a frame ended with.

    None where the peer has done nothing wrong. `method` is that of the frame.
    """
    if error is None:
        return None
    if isinstance(error, RejectedError) and error.reason is Reason.PROTOCOL_MISMATCH:
        return close(_COMMAND_INVALID, error.message, method)
    if errors.is_undecodable(error):
        return close(_SYNTAX_ERROR, errors.undecodable(error).message, method)
    return None


def close(code: int, text: str, method: Method) -> Close:
    """Return a Close that names the method that is at fault."""
    return Close(code=code, text=text, class_id=method.class_id, method_id=method.method_id)
