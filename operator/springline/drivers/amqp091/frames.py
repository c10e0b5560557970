"""Frames as octets, and what is read of a frame in more than one place.

What a frame means is decided in handshake.py, wire.py and replies.py. Pure.
"""

from pamqp import commands as spec
from pamqp import frame as pamqp_frame
from pamqp.base import Frame
from pamqp.constants import REPLY_SUCCESS
from pamqp.frame import FrameTypes

from springline.drivers.amqp091 import replies
from springline.drivers.amqp091.replies import Close
from springline.drivers.shared import peer_text
from springline.veil import Veil

__all__ = ["marshalled", "name", "read_close", "unmarshalled"]


def marshalled(*frames: FrameTypes, channel: int = 0) -> bytes:
    """Return frames of one channel as octets."""
    return b"".join([pamqp_frame.marshal(frame, channel) for frame in frames])


def unmarshalled(octets: bytes) -> FrameTypes:
    """Return the frame that these octets are. Raises what `errors.is_undecodable` knows."""
    _, _, frame = pamqp_frame.unmarshal(octets)
    return frame


def name(frame: FrameTypes) -> str:
    """Return what a frame is called, such as `Connection.Tune`."""
    return type(frame).name if isinstance(frame, Frame) else type(frame).__name__


def read_close(frame: spec.Connection.Close, veil: Veil) -> Close:
    """Return what a Close says, with what is shown of its text."""
    return Close(
        code=frame.reply_code or REPLY_SUCCESS,
        text=peer_text.cleaned(frame.reply_text),
        veiled=replies.shown(frame.reply_text, veil),
        class_id=frame.class_id or 0,
        method_id=frame.method_id or 0,
    )
