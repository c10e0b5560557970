"""One AMQP 1.0 connection without a socket: octets in, octets out, on proton's engine.

proton keeps the states of connection, sessions and links, and does all framing. What it hides is
read from the frames as they pass: what Open and Begin say to the letter, and a session's window.

Nobody is called back. Whoever has waited for something looks at the state when octets have come.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proton import Condition as ProtonCondition
from proton import Connection, Endpoint, Transport, TransportException, symbol, uint

from springline.drivers.amqp10 import codec, conditions
from springline.drivers.amqp10.amqp_sessions import EngineSession, Windows
from springline.drivers.amqp10.conditions import Condition
from springline.drivers.amqp10.frames import (
    AMQP,
    AMQP_HEADER,
    HEADER_OCTETS,
    MIN_MAX_FRAME_SIZE,
    Frame,
    FrameSplitter,
    MalformedFrameError,
    framed,
)
from springline.drivers.amqp10.guard import FrameGuard, ViolationError
from springline.drivers.amqp10.peer import PeerOpen

__all__ = ["Engine", "EngineSession", "NoRoomError", "Opening", "Windows"]

_REMOTE_CLOSED: Final = Endpoint.REMOTE_CLOSED
_REMOTE_ACTIVE: Final = Endpoint.REMOTE_ACTIVE
_LOCAL_ACTIVE: Final = Endpoint.LOCAL_ACTIVE
_LARGEST: Final = 0xFFFFFFFF
_MOST_CHANNELS: Final = 0x8000  # proton's own limit
_MAX_FRAME_SIZE: Final = 2  # a field of Open (§2.7.1)
_LINK_CREDIT: Final = 6  # a field of Flow (§2.7.4)
_FLOW_PROPERTIES: Final = 10  # the last field, of which nothing is of use
_MOST_CREDIT: Final = 0x7FFFFFFF
_INCOMING_LOCALES: Final = 6  # the field of Open (§2.7.1)
_SIGN_OF_LIFE: Final = framed(b"")
"""An empty frame. proton gets it for each that it is not to see, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opening:
    """What our Open says (§2.7.1)."""

    container_id: str
    hostname: str
    heartbeat_seconds: float = 0
    """The connection ends after twice as long without a sign of life; 0 turns that off."""
    max_frame_size: int
    channel_max: int
    locales: tuple[str, ...] = ()
    """In which we would like to be told something, most wanted first."""
    properties: Mapping[str, str] = field(default_factory=dict)
    desired_capabilities: tuple[str, ...] = ()


class NoRoomError(Exception):
    """The connection can carry no further session; the text says why."""


class Engine:
    """One connection. `charge` takes the octets of each frame; it says what is too much."""

    __slots__ = (
        "_charge",
        "_connection",
        "_guard",
        "_has_written",
        "_sessions",
        "_splitter",
        "_transport",
        "fault",
        "opening",
        "peer",
    )

    def __init__(self, opening: Opening, *, charge: Callable[[int], str]) -> None:
        self._charge = charge
        self.opening = opening
        self._has_written = False
        self._sessions = 0
        self._splitter = FrameSplitter(opening.max_frame_size)
        self._guard = FrameGuard()
        self.peer: PeerOpen | None = None
        self.fault: Condition | None = None
        """What the peer did that ended the transport, as we call it."""
        self._connection = Connection()
        self._connection.container = opening.container_id
        self._connection.hostname = opening.hostname
        self._connection.properties = codec.symbol_map(opening.properties)
        self._connection.desired_capabilities = [
            symbol(name) for name in opening.desired_capabilities
        ]
        self._transport = Transport()
        self._transport.max_frame_size = opening.max_frame_size
        self._transport.channel_max = opening.channel_max
        self._transport.idle_timeout = 2 * opening.heartbeat_seconds
        self._transport.bind(self._connection)
        self._connection.open()

    # Octets

    def receive(self, data: bytes) -> None:
        """Take in what has come. What makes no sense, or is too much, is kept as `fault`."""
        if self.fault is not None:
            return
        try:
            self._take_all(data)
        except MalformedFrameError as error:
            self._refuse(conditions.FRAMING_ERROR, f"the peer sent {error}")
        except codec.UndecodableError:
            self._refuse(conditions.DECODE_ERROR, "the peer sent a frame that cannot be decoded")
        except ViolationError as error:
            self._refuse(error.condition, f"the peer sent {error}")

    def refuse_flood(self, text: str) -> None:
        """End because the peer sends too much."""
        if self.fault is None:
            self._refuse(conditions.TOO_MUCH, text)

    def receive_header(self) -> None:
        """Take in the peer's protocol header, which somebody else has read."""
        self._push(AMQP_HEADER)

    def receive_eof(self) -> None:
        """Take in that nothing more will come."""
        if self.fault is None:
            try:
                self._transport.close_tail()
            except TransportException:
                self._note_fault()

    def output(self) -> bytes:
        """Return what is to be sent, and forget it."""
        pieces = []
        transport = self._transport
        try:
            while (pending := transport.pending()) > 0:
                piece = transport.peek(pending)
                if not piece:
                    break
                transport.pop(len(piece))
                pieces.append(piece)
        except TransportException:
            self._note_fault()
        if not pieces:
            return b""
        octets = b"".join(pieces)
        if not self._has_written:
            self._has_written = True
            octets = self._with_locales(octets)
        return self._sent(octets)

    def tick(self, now: float) -> float | None:
        """Have what time brings done; return when to come back, in the time of `now`.

        `now` is in seconds that only grow.
        """
        deadline: float = self._transport.tick(now)
        self._note_fault()
        return deadline or None

    # States

    @property
    def is_open(self) -> bool:
        """Whether both sides have opened, and none has closed."""
        state = self._connection.state
        return bool(state & _LOCAL_ACTIVE and state & _REMOTE_ACTIVE) and self.fault is None

    @property
    def is_closed_by_peer(self) -> bool:
        """Whether the peer has sent a Close."""
        return bool(self._connection.state & _REMOTE_CLOSED)

    @property
    def has_closed(self) -> bool:
        """Whether we have said Close."""
        return bool(self._connection.state & Endpoint.LOCAL_CLOSED)

    @property
    def remote_condition(self) -> Condition | None:
        """Why the peer closed the connection; None where it did not, or gave no reason."""
        return Condition.of(self._connection.remote_condition)

    @property
    def awaits_end(self) -> bool:
        """Whether the peer has still to end a session that we have ended."""
        return self._guard.awaits_end

    @property
    def max_channels(self) -> int:
        """How many sessions there can be at a time."""
        peer = self.peer.channel_max if self.peer is not None else 0
        return min(1 + peer, 1 + self.opening.channel_max, _MOST_CHANNELS)

    def begin(self, *, incoming_capacity: int, outgoing_window: int) -> "EngineSession":
        """Begin a session that takes in so many octets, and announces to send so many transfers."""
        if self._sessions >= self.max_channels:
            raise NoRoomError(
                f"the connection may carry {self.max_channels} sessions (channel-max), and has them"
            )
        self._sessions += 1
        session = self._connection.session()
        session.incoming_capacity = incoming_capacity
        session.outgoing_window = outgoing_window
        session.open()
        begun = EngineSession(session)
        self._guard.expect(begun)
        return begun

    def end(self, begun: "EngineSession") -> None:
        """End a session, with its links, and forget it. Idempotent."""
        if begun.is_forgotten:
            return
        begun.is_forgotten = True
        self._sessions -= 1
        begun.proton.close()
        begun.proton.free()

    def close(self, condition: Condition | None = None) -> None:
        """Say Close. Idempotent."""
        if self._connection.state & _LOCAL_ACTIVE:
            if condition is not None:
                self._connection.condition = ProtonCondition(condition.name, condition.text or None)
            self._connection.close()

    def dispose(self) -> None:
        """Let go of what proton keeps; nothing else is to be called after it."""
        self._transport.unbind()

    # Steps

    def _push(self, data: bytes) -> None:
        transport = self._transport
        view = memoryview(data)
        try:
            while view:
                room = transport.capacity()
                if room <= 0:
                    break  # it has had enough: an end has begun
                transport.push(bytes(view[:room]))
                view = view[room:]
        except TransportException:
            pass
        self._note_fault()
        if self.fault is None and transport.capacity() < 0 and not self.is_closed_by_peer:
            # Of some frames proton says nothing, and takes in nothing more.
            self._refuse(conditions.DECODE_ERROR, "the peer sent a frame that cannot be decoded")

    def _note_fault(self) -> None:
        if self.fault is None:
            self.fault = Condition.of(self._transport.condition)

    def _refuse(self, name: str, text: str) -> None:
        """End because of what the peer has sent, and say so to it."""
        self.fault = Condition(name, text)
        self.close(self.fault)

    def _take_all(self, data: bytes) -> None:
        """Take in the frames that are complete, until there is a fault."""
        for frame in self._splitter.feed(data):
            too_much = self._charge(frame.octets)
            if too_much:
                self.refuse_flood(f"the peer sent {too_much}")
            else:
                self._take(frame)
            if self.fault is not None:
                return

    def _take(self, frame: Frame) -> None:
        """Take in one frame. Raises what makes no sense of it."""
        if frame.type != AMQP:
            raise MalformedFrameError("a frame of another layer")
        if not frame.body:
            self._push(_SIGN_OF_LIFE)
            return
        body = frame.body
        code, fields = codec.decode(body)
        if code == codec.BEGIN and self._guard.lacks_end(frame.channel):
            self._push(framed(codec.encode(codec.END, []), channel=frame.channel))
        is_admitted = self._guard.admits(frame.channel, code, fields)
        if code == codec.OPEN:
            self._note_open(fields)
            body = self._with_least_frames(body, fields)
        elif code == codec.FLOW:
            body = _with_bearable_credit(body, fields)
        self._push(framed(body, channel=frame.channel) if is_admitted else _SIGN_OF_LIFE)

    def _note_open(self, fields: list[Any]) -> None:
        properties = codec.field(fields, 9, {})
        self.peer = PeerOpen(
            container_id=str(codec.field(fields, 0, "")),
            max_frame_size=_number(codec.field(fields, _MAX_FRAME_SIZE, _LARGEST)),
            channel_max=_number(codec.field(fields, 3, 0xFFFF)),
            idle_seconds=_number(codec.field(fields, 4, 0)) / 1000,
            locales=codec.symbols(codec.field(fields, 5)),
            offered_capabilities=codec.symbols(codec.field(fields, 7)),
            desired_capabilities=codec.symbols(codec.field(fields, 8)),
            properties=properties if isinstance(properties, dict) else {},
        )

    def _with_least_frames(self, body: bytes, fields: list[Any]) -> bytes:
        """Return an Open for proton, which is told that the peer takes what everybody has to take.

        Broker-J says 0 where it is about to refuse. Of less proton would write a line to where the
        logs go.
        """
        if self.peer is None or self.peer.max_frame_size >= MIN_MAX_FRAME_SIZE:
            return body
        fields[_MAX_FRAME_SIZE] = uint(MIN_MAX_FRAME_SIZE)
        return codec.encode(codec.OPEN, fields)

    def _sent(self, octets: bytes) -> bytes:
        """Return what is sent of proton's octets: the guard sees them, and holds some back."""
        rest = octets.removeprefix(AMQP_HEADER)
        header = octets[: len(octets) - len(rest)]
        frames = FrameSplitter(len(rest)).feed(rest)
        return header + b"".join(
            framed(frame.body, channel=frame.channel)
            for frame in frames
            if self._guard.lets_out(frame.channel, frame.body)
        )

    def _with_locales(self, octets: bytes) -> bytes:
        """Return the first octets with our locales in Open, for which proton has no place."""
        locales = self.opening.locales
        if not locales:
            return octets
        header, rest = octets[:HEADER_OCTETS], octets[HEADER_OCTETS:]
        frame, *_ = FrameSplitter(len(rest)).feed(rest)
        code, fields = codec.decode(frame.body)
        fields += [None] * (_INCOMING_LOCALES + 1 - len(fields))
        fields[_INCOMING_LOCALES] = codec.symbol_array(locales)
        return header + framed(codec.encode(code, fields)) + rest[frame.octets :]


def _with_bearable_credit(body: bytes, fields: list[Any]) -> bytes:
    """Return a Flow for proton, which takes more credit than this for less than none."""
    credit = codec.field(fields, _LINK_CREDIT)
    if not isinstance(credit, uint) or credit <= _MOST_CREDIT:
        return body
    fields[_LINK_CREDIT] = uint(_MOST_CREDIT)
    return codec.encode(codec.FLOW, fields[:_FLOW_PROPERTIES])


def _number(value: object) -> int:
    """Return a number of a frame, a uint at most. Raises `UndecodableError` for what is none."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _LARGEST:
        raise codec.UndecodableError("not a number")
    return int(value)
