"""What a peer may not send on an open connection, and the Close that says so.

"When a close is due to an exception, the sender provides the class and method id of the method
which caused the exception" (AMQP 0-9-1, connection.close). Pure: who sends it, and when, is the
wire's to decide.
"""

from collections.abc import Collection
from typing import Final, NamedTuple

from pamqp import commands as spec
from pamqp.base import Frame
from pamqp.constants import FRAME_HEARTBEAT, FRAME_METHOD

from springline.drivers.amqp091 import errors
from springline.drivers.amqp091.replies import Close
from springline.errors import RejectedError
from springline.reasons import Reason

__all__ = ["FRAME_ERROR", "NO_METHOD", "Method", "Violation", "close", "find", "of_error"]

FRAME_ERROR: Final = 501
_SYNTAX_ERROR: Final = 502
_COMMAND_INVALID: Final = 503
_CHANNEL_ERROR: Final = 504


class Method(NamedTuple):
    """The class and method id of a method frame."""

    class_id: int
    method_id: int

    def __str__(self) -> str:
        known: type[Frame] | None = spec.INDEX_MAPPING.get(self.class_id << 16 | self.method_id)
        return known.name if known is not None else f"the method {self.class_id}.{self.method_id}"


NO_METHOD: Final = Method(0, 0)
"""Of a frame that is none of a method, or whose method nobody has read."""

_CONNECTION_CLASS: Final = 10

_FOR_US: Final = frozenset(
    Method(frame.index >> 16, frame.index & 0xFFFF)
    for frame in (
        spec.Connection.Close,
        spec.Connection.CloseOk,
        spec.Connection.Blocked,
        spec.Connection.Unblocked,
        spec.Connection.UpdateSecretOk,
    )
)
"""All that a server has to say to a client on channel 0 once the connection is open."""


class Violation(NamedTuple):
    """What is wrong with a frame."""

    code: int
    what: str
    """What the peer sent, as part of a sentence."""


def find(kind: int, channel: int, method: Method, *, channels: Collection[int]) -> Violation | None:
    """Return what is wrong with a frame of an open connection, None if nothing is.

    `channels` are those that were ever opened: what comes late on a closed one does no harm.
    """
    if kind == FRAME_HEARTBEAT:
        # AMQP 0-9-1 §4.2.7: a connection exception with reply code 501.
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
    if channel not in channels:
        return Violation(_CHANNEL_ERROR, f"{name} on channel {channel}, which is not open")
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
