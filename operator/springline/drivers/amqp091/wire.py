"""One connection on the wire: frames go out at once, what comes in is told, an end is bounded.

It drives a handshake, which is aiormq's, behind aiormq_private.py. What comes on an open connection
it hands to a listener; what a Close means is in replies.py. There is no task: frames come from
frame_reader.py, and the time from heart.py.

How an end runs: whatever happens, the transport is ended or dropped first, and nothing more is
read; `on_over` is told once the socket is gone, too.
"""

from pamqp import commands as spec
from pamqp.constants import FRAME_HEARTBEAT
from pamqp.frame import FrameTypes

from springline.core.values import ClosedBy, CloseInfo
from springline.drivers.amqp091 import errors, frames, objections, replies
from springline.drivers.amqp091.aiormq_private import AiormqConnection
from springline.drivers.amqp091.frame_reader import FrameReader
from springline.drivers.amqp091.handshake import Agreed, Handshake
from springline.drivers.amqp091.heart import Heart
from springline.drivers.amqp091.objections import Rules
from springline.drivers.amqp091.replies import Close
from springline.drivers.shared.line import Line
from springline.reasons import Reason
from springline.veil import Veil

__all__ = ["Listener", "WireConnection"]

_CLOSE_OK = frames.marshalled(spec.Connection.CloseOk())
_EMPTY_FRAME_OCTETS = 8


class Listener:
    """Who is told what happens on an open connection. Calls must return at once."""

    __slots__ = ()

    def on_blocked(self) -> None:
        """Handle that the connection was blocked, or unblocked; `WireConnection.blocked` says."""

    def on_channel_frame(self, channel: int, frame: FrameTypes) -> None:
        """Handle a frame of a channel other than 0."""

    def on_ending(self) -> None:
        """Handle that an end has begun."""

    def on_secret_updated(self) -> None:
        """Handle an update-secret-ok."""

    def on_over(self) -> None:
        """Handle that everything is gone, once."""


class WireConnection:
    """A connection for one attempt."""

    __slots__ = (
        "_handshake",
        "_has_sent_open",
        "_heart",
        "_heartbeat_lost",
        "_is_closing",
        "_name",
        "_read_error",
        "_rules",
        "blocked",
        "closed_by_server",
        "is_over",
        "line",
        "listener",
        "objection",
        "veil",
    )

    def __init__(
        self, line: Line[FrameReader], handshake: Handshake, *, name: str, veil: Veil
    ) -> None:
        """Take over a connected line. All-tasks dumps of the handshake show the name.

        What the peer says is shown through the veil.
        """
        self.line = line
        self.veil = veil
        self.listener = Listener()
        self.blocked: str | None = None
        self.closed_by_server: Close | None = None
        self.objection: Close | None = None
        """What we have said of what the peer sent."""
        self.is_over = False
        """Whether everything is read and the socket is gone."""
        self._handshake = handshake
        self._read_error: BaseException | None = None
        self._heartbeat_lost = False
        self._has_sent_open = False
        self._is_closing = False
        self._rules = Rules()
        self._name = name
        self._heart: Heart | None = None

    @property
    def is_ending(self) -> bool:
        """Whether an end has begun, on either side."""
        return self.line.is_ending

    async def establish(self) -> Agreed:
        """Do the open handshake. Raises foreign exceptions and `ConnectError`s.

        On any exception the socket is released before it leaves.
        """
        handshake = self._handshake
        opening = AiormqConnection(self, self.line, task_name=f"amqp091/{self._name}")
        try:
            await opening.connect()
        except BaseException:
            # A cancellation can meet a `connect` that has just succeeded.
            self.line.abort()
            await self.line.wait_lost()
            raise
        finally:
            opening.let_go()
            # It has the credential.
            del self._handshake
        self._heart = Heart(
            self.line,
            seconds=handshake.agreed.limits.heartbeat_seconds,
            on_silence=self._silent,
        )
        self.line.on_lost(self._check_over)
        self.line.reader.hand_over_to(self)
        self._check_over()
        return handshake.agreed

    def send(self, frame: FrameTypes, *more: FrameTypes, channel: int = 0) -> None:
        """Send frames at once."""
        if channel != 0:
            self._rules.opened(channel)
        if isinstance(frame, spec.Connection.Close):
            # All but Close and Close-Ok is dropped from here on.
            self._is_closing, self.line.reader.check = True, None
        self._write(frames.marshalled(frame, *more, channel=channel))

    def send_on_channel(self, octets: bytes) -> None:
        """Send frames of a channel that are encoded already, at once."""
        self._rules.opened(int.from_bytes(octets[1:3]))
        self._write(octets)

    def end_info(self) -> CloseInfo:
        """Return how the connection ended, as far as the wire shows it."""
        if self.closed_by_server is not None:
            return replies.when_open(self.closed_by_server)
        if self.objection is not None:
            return errors.objected(self.objection)
        if self._heartbeat_lost and self._heart is not None:
            return CloseInfo(
                by=ClosedBy.TRANSPORT,
                reason=Reason.HEARTBEAT_MISSED,
                text=f"nothing was heard for {self._heart.silence_limit} s,"
                f" two heartbeats of {self._heart.seconds} s",
            )
        return errors.lost(self._read_error)

    # What aiormq hands over

    def handshake_frame(self, frame: FrameTypes) -> None:
        """Answer a frame of the handshake. Raises the `ConnectError` that ends the attempt."""
        handshake = self._handshake
        self.line.write(handshake.receive(frame))
        if handshake.refusal is not None:
            self.line.end()
            raise handshake.refusal
        if isinstance(frame, spec.Connection.Tune):
            self.line.reader.limit_frames(handshake.limits.frame_max)
            self._has_sent_open = True
        if handshake.is_done:
            self.line.reader.check = self._rules.find

    def handshake_failed(self, error: Exception) -> None:
        """Say what the peer did wrong, once Open is sent.

        Before that, a peer that detects an error closes the socket without sending any further data
        (AMQP 0-9-1 §2.2.4).
        """
        if self._has_sent_open and self._object(error):
            self.line.end()

    # What the reader hands over

    def take_frame(self, kind: int, channel: int, frame: bytes) -> bool:
        """Take in what comes on the open connection; False for the last frame there is."""
        if kind == FRAME_HEARTBEAT and len(frame) == _EMPTY_FRAME_OCTETS:
            return True
        return self._take_in(channel, frames.unmarshalled(frame))

    def _take_in(self, channel: int, frame: FrameTypes) -> bool:
        if channel != 0:
            self.listener.on_channel_frame(channel, frame)
            return True
        match frame:
            case spec.Connection.Close():
                # Close-Ok leaves before the end begins, and the codes are kept (R2.6).
                self.closed_by_server = frames.read_close(frame, self.veil)
                self.send(spec.Connection.CloseOk())
                self._end()
                return False
            case spec.Connection.CloseOk():
                # It is the last frame there is (R1.9).
                self._end()
                return False
            case spec.Connection.Blocked():  # R1.10
                self.blocked = replies.shown(frame.reason, self.veil) or "no reason given"
                self.listener.on_blocked()
            case spec.Connection.Unblocked():  # R1.11
                self.blocked = None
                self.listener.on_blocked()
            case spec.Connection.UpdateSecretOk():  # R1.13
                self.listener.on_secret_updated()
            case _:
                pass  # what means nothing here
        return True

    def reading_ended(self, error: BaseException | None) -> None:
        """End the transport first: nothing will be read from it again."""
        if self._heart is not None:
            self._heart.stop()
        self._read_error = error
        if self._object(error):
            self.line.linger()
            self.line.reader.seek(_CLOSE_OK, self.line.end)
        if not self.line.is_ending:
            self.line.abort()
        self.listener.on_ending()
        self._check_over()

    # Steps

    def _write(self, octets: bytes) -> None:
        self.line.write(octets)
        if self._heart is not None:
            self._heart.sent()

    def _silent(self) -> None:
        """End a connection whose peer has not been heard for two heartbeats."""
        self._heartbeat_lost = not self.line.is_ending
        self.line.reader.stop(None)

    def _object(self, error: BaseException | None) -> bool:
        """Say by a Close what the peer sent that reading has failed at, if that is why (R1.14).

        The Close names the class and method of what caused it. Return whether it was sent: not
        once an end has begun, and not after another Close.
        """
        reader = self.line.reader
        close = reader.objection or objections.of_error(error, reader.method)
        if close is None or self.line.is_ending or self._is_closing:
            return False
        self.objection = close
        self.send(
            spec.Connection.Close(
                reply_code=close.code,
                reply_text=close.text,
                class_id=close.class_id,
                method_id=close.method_id,
            )
        )
        return True

    def _end(self) -> None:
        self.line.end()
        self.listener.on_ending()

    def _check_over(self) -> None:
        if not self.is_over and self.line.is_lost and self.line.reader.is_done:
            self.is_over = True
            # It refers to this wire, and nobody else would part the two.
            listener, self.listener = self.listener, Listener()
            listener.on_over()
