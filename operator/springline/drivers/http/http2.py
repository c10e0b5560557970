"""HTTP/2 with several requests in flight on one connection, without I/O (RFC 9113, RFC 7541).

h2 keeps the state of streams, flow control and HPACK. What it leaves open is decided here:

- No stream is opened before the peer's SETTINGS have come, nor more at once than they allow
  (§5.1.2, §6.5.2). The preface of the server is a SETTINGS frame, and anything else an error
  (§3.4).
- A GOAWAY does not reach h2, which would take no answer after it: streams up to the last one that
  it names are still answered, those above were certainly not processed (§6.8). So it is with a
  stream that the peer resets as REFUSED_STREAM (§8.7).
- A frame of an answer that is awaited counts against that answer, any other one against the
  connection: PING, SETTINGS, WINDOW_UPDATE, PRIORITY, unknown types, empty DATA, and what comes for
  streams that are over (§10.5).
- The peer cannot push (§8.4), nor make us keep more of what we send than HPACK's usual table
  (RFC 7541 §4.2). An Authorization field is never indexed (§7.1.3 there); h2 does that.
- GOAWAY is our last frame, not our first word of an end: servers are known to drop what they have
  not answered yet when it comes.
"""

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from h2.config import H2Configuration
from h2.connection import ConnectionState, H2Connection
from h2.errors import ErrorCodes
from h2.events import (
    DataReceived,
    InformationalResponseReceived,
    RemoteSettingsChanged,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    WindowUpdated,
)
from h2.events import Event as H2Event
from h2.exceptions import DenialOfServiceError, H2Error
from h2.settings import SettingCodes, Settings

from springline.drivers.http import bounds
from springline.drivers.http.engine import (
    Answered,
    BrokenPeerError,
    Encoded,
    End,
    Ended,
    EndKind,
    Event,
    Failed,
    Refused,
)
from springline.drivers.http.frame_splitter import (
    Frame,
    FrameSplitter,
    FrameTooLongError,
    FrameType,
)
from springline.drivers.http.messages import Request, Response
from springline.drivers.shared import peers
from springline.drivers.shared.peers import Expected
from springline.reasons import Reason

__all__ = ["Http2"]

_EXPECTED: Final = Expected(protocol="HTTP/2", port="HTTP")
_OF_ANSWERS: Final = frozenset(
    {FrameType.DATA, FrameType.HEADERS, FrameType.CONTINUATION, FrameType.RST_STREAM}
)
_LAST_STREAM: Final = 2**31 - 3  # RFC 9113 §5.1.1; no other one is opened after it
_MOST_STREAMS: Final = 2**31 - 1  # that there can be; h2 has more where there is no limit
_TABLE_OCTETS: Final = 4096  # RFC 9113 §6.5.2, the initial value
_PING: Final = b"springln"
# What may leave h2, hpack and hyperframe for octets that make no sense.
_UNDECODABLE: Final = (
    H2Error,
    ArithmeticError,
    AssertionError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


@dataclass(slots=True)
class _Exchange:
    """A request in flight, and its stream."""

    key: int
    stream_id: int
    octets: int
    unsent: memoryview
    status: int = 0
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: list[bytes] = field(default_factory=list)
    length: int = 0
    frames: int = 0
    informational: int = 0


class Http2:
    """One HTTP/2 connection, seen from the client."""

    __slots__ = (
        "_authority",
        "_charge",
        "_first",
        "_flight",
        "_goaway",
        "_h2",
        "_has_said_goodbye",
        "_header_stream",
        "_is_draining",
        "_is_ready",
        "_scheme",
        "_splitter",
        "_takes_several",
        "_windows_due",
    )

    version = "2"
    half_closes = False  # a stream needs acknowledgements and windows of ours to go on

    def __init__(self, *, authority: str, scheme: str, charge: Callable[[int], str]) -> None:
        """Speak to the host and port that `authority` names, by `http` or `https`.

        `charge` takes the octets of a frame that belongs to no answer, and says what is too much.
        """
        self._authority = authority.encode("ascii")
        self._scheme = scheme.encode("ascii")
        self._charge = charge
        self._h2 = _new_h2()
        self._splitter = FrameSplitter()
        self._first = b""
        self._flight: dict[int, _Exchange] = {}  # by stream
        self._header_stream = 0  # of the header block that is not complete
        self._goaway: ErrorCodes | int | None = None
        self._has_said_goodbye = False
        self._is_ready = False
        self._is_draining = False
        self._takes_several = False
        self._windows_due = 0  # WINDOW_UPDATEs that what we have sent may bring

    @property
    def is_ready(self) -> bool:
        """Whether the peer's SETTINGS are there."""
        return self._is_ready

    @property
    def concurrent_streams(self) -> int | None:
        """SETTINGS_MAX_CONCURRENT_STREAMS of the peer; None where it has set no limit."""
        found = self._h2.remote_settings.max_concurrent_streams
        return found if found <= _MOST_STREAMS else None

    @property
    def takes_several(self) -> bool:
        """Whether there has been an answer: HTTP/2 connections stay (RFC 9113 §9.1)."""
        return self._takes_several

    @property
    def is_draining(self) -> bool:
        """Whether a GOAWAY has come, ours or the peer's, or there are no streams left to open."""
        return self._is_draining or self._h2.highest_outbound_stream_id >= _LAST_STREAM

    @property
    def begun(self) -> frozenset[int]:
        """Requests in flight of whose answer a frame has come."""
        return frozenset(each.key for each in self._flight.values() if each.frames)

    def has_room(self, request: Request) -> bool:  # noqa: ARG002 - streams do not wait for others
        """Whether another stream may be opened now."""
        if self.is_draining or not self._is_ready:
            return False
        allowed = self._h2.remote_settings.max_concurrent_streams
        return len(self._flight) < min(allowed, bounds.MAX_IN_FLIGHT)

    def start(self) -> bytes:
        """Return the preface of the client (RFC 9113 §3.4)."""
        self._h2.initiate_connection()
        return self._h2.data_to_send()

    def send(self, key: int, encoded: Encoded) -> bytes:
        """Open a stream and send of the request what flow control lets through (§5.2)."""
        request = encoded.request
        stream_id = self._h2.get_next_available_stream_id()
        fields = [
            (b":method", request.method.encode("ascii")),
            (b":scheme", self._scheme),
            (b":authority", self._authority),
            (b":path", request.target.encode("ascii")),
            *request.headers,
        ]
        if encoded.is_of_known_length and (encoded.body or request.wants_length):
            fields.append((b"content-length", b"%d" % len(encoded.body)))
        self._h2.send_headers(stream_id, fields, end_stream=not encoded.body)
        exchange = _Exchange(key, stream_id, encoded.octets, memoryview(encoded.body))
        self._flight[stream_id] = exchange
        self._is_draining = self._is_draining or encoded.is_last
        self._flush(exchange)
        return self._h2.data_to_send()

    def cancel(self, key: int) -> bytes:
        """Reset the stream of a request (§8.7 for the code, §5.4.2)."""
        for exchange in self._flight.values():
            if exchange.key == key:
                self._reset(exchange)
                break
        return self._h2.data_to_send()

    def receive(self, data: bytes) -> tuple[bytes, list[Event]]:
        """Take in octets; return acknowledgements, windows and errors to send, and events."""
        events: list[Event] = []
        if len(self._first) < peers.MAX_SAMPLE:
            self._first += data[: peers.MAX_SAMPLE - len(self._first)]
        try:
            for frame in self._splitter.feed(data):
                self._check(frame)
                self._take_in(frame, events)
                if self._is_over(events):
                    break
            self._check_preface(self._splitter.pending)
        except BrokenPeerError as error:
            events.append(self._broken(error.reason, error.what))
        except FrameTooLongError:
            events.append(self._broken(Reason.PROTOCOL_MISMATCH, self._too_long()))
        except DenialOfServiceError:
            what = f"the peer sent header fields of more than {bounds.MAX_HEADER_OCTETS} octets"
            events.append(self._broken(Reason.FLOODED, what))
        except _UNDECODABLE as error:
            # Its text may quote the peer.
            what = f"the peer sent what HTTP/2 has no room for ({type(error).__name__})"
            events.append(self._broken(Reason.PROTOCOL_MISMATCH, what))
        return self._h2.data_to_send(), events

    def receive_eof(self) -> list[Event]:
        """Take in that the peer has closed the transport."""
        if not self._flight and self._is_ready:
            return [self._ended_by_peer("the peer closed the idle connection")]
        what = "the peer closed the connection without an answer"
        if not self._is_ready:
            what = "the peer closed the connection without HTTP/2 SETTINGS"
        if self._goaway is not None:
            what = f"{what}, after {_name(self._goaway)}"
        end = End(kind=EndKind.FAILED, reason=Reason.PEER_CLOSED, text=what)
        return [Ended(end=end)]

    def ping(self) -> bytes:
        """Return a PING, which a live peer answers at once (§6.7)."""
        try:
            self._h2.ping(_PING)
        except H2Error:
            return b""
        return self._h2.data_to_send()

    def finish(self) -> bytes:
        """Return a GOAWAY (§6.8)."""
        self._say_goodbye(ErrorCodes.NO_ERROR)
        return self._h2.data_to_send()

    # What comes in

    def _check(self, frame: Frame) -> None:
        """Raise if a frame is one too many, before it costs anything."""
        if not self._is_ready and (frame.type != FrameType.SETTINGS or frame.flags & 1):
            raise BrokenPeerError(Reason.PROTOCOL_MISMATCH, self._no_preface())
        exchange = self._flight.get(frame.stream_id)
        if exchange is not None and frame.type in _OF_ANSWERS and not frame.is_empty:
            exchange.frames += 1
            if exchange.frames > bounds.MAX_RESPONSE_PIECES:
                raise BrokenPeerError(
                    Reason.FLOODED,
                    f"the peer sent an answer of more than {bounds.MAX_RESPONSE_PIECES} frames",
                )
            return
        if frame.type == FrameType.WINDOW_UPDATE and self._windows_due:
            self._windows_due -= 1
            return
        too_much = self._charge(len(frame.octets))
        if too_much:
            raise BrokenPeerError(
                Reason.FLOODED, f"the peer sent {too_much} that belong to no answer"
            )

    def _take_in(self, frame: Frame, events: list[Event]) -> None:
        if frame.type == FrameType.GOAWAY and not self._header_stream and not frame.stream_id:
            self._take_in_goaway(frame.payload, events)
            return
        if frame.type in {FrameType.HEADERS, FrameType.CONTINUATION, FrameType.PUSH_PROMISE}:
            self._header_stream = 0 if frame.ends_headers else frame.stream_id
        for event in self._h2.receive_data(frame.octets):
            self._handle(event, events)

    def _take_in_goaway(self, payload: bytes, events: list[Event]) -> None:
        if len(payload) < 8:
            raise BrokenPeerError(Reason.PROTOCOL_MISMATCH, "the peer sent half a GOAWAY")
        last = int.from_bytes(payload[:4]) & 0x7FFF_FFFF
        code = int.from_bytes(payload[4:8])
        self._goaway = _code(code)
        self._is_draining = True
        why = f"the peer ends the connection ({_name(self._goaway)})"
        above = [each for each in self._flight if each > last]
        events.extend(Refused(key=self._flight.pop(each).key, why=why) for each in above)
        self._end_if_drained(events)

    def _handle(self, event: H2Event, events: list[Event]) -> None:
        match event:
            case RemoteSettingsChanged():
                self._is_ready = True
                if len(self._h2.remote_settings) > bounds.MAX_SETTINGS:
                    raise BrokenPeerError(
                        Reason.FLOODED,
                        f"the peer sent more than {bounds.MAX_SETTINGS} different settings",
                    )
                if self._h2.encoder.header_table_size > _TABLE_OCTETS:
                    self._h2.encoder.header_table_size = _TABLE_OCTETS
                self._flush_all(self._flight.values())
            case WindowUpdated(stream_id=0):
                self._flush_all(self._flight.values())
            case DataReceived():
                self._take_in_data(event)
            case _:
                exchange = self._flight.get(getattr(event, "stream_id", None) or 0)
                if exchange is not None:
                    self._handle_of(exchange, event, events)

    def _handle_of(self, exchange: _Exchange, event: H2Event, events: list[Event]) -> None:
        """Handle what is about one stream that is in flight."""
        match event:
            case WindowUpdated():
                self._flush(exchange)
            case InformationalResponseReceived():
                exchange.informational += 1
                if exchange.informational > bounds.MAX_INFORMATIONAL:
                    raise BrokenPeerError(
                        Reason.FLOODED,
                        f"the peer sent more than {bounds.MAX_INFORMATIONAL} 1xx answers",
                    )
            case ResponseReceived(headers=headers):
                _take_in_head(exchange, headers or ())
            case StreamEnded():
                self._answered(exchange, events)
            case StreamReset(error_code=code):
                self._was_reset(exchange, _code(int(code or 0)), events)

    def _take_in_data(self, event: DataReceived) -> None:
        # What has come is kept or dropped at once, so the window opens again at once (§6.9).
        self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        exchange = self._flight.get(event.stream_id)
        if exchange is None:
            return
        exchange.length += len(event.data)
        if exchange.length > bounds.MAX_BODY:
            raise BrokenPeerError(
                Reason.FLOODED, f"the peer sent a body of more than {bounds.MAX_BODY} octets"
            )
        exchange.body.append(bytes(event.data))
        if sum(each.length for each in self._flight.values()) > bounds.MAX_HELD:
            raise BrokenPeerError(
                Reason.FLOODED,
                f"the peer sent bodies of more than {bounds.MAX_HELD} octets, and ends none",
            )

    def _answered(self, exchange: _Exchange, events: list[Event]) -> None:
        if exchange.unsent:
            # The answer is complete without the rest of the request (§8.1).
            self._reset(exchange, ErrorCodes.NO_ERROR)
        self._flight.pop(exchange.stream_id, None)
        self._takes_several = True
        response = Response(
            status=exchange.status,
            headers=exchange.headers,
            body=b"".join(exchange.body),
            version=self.version,
        )
        events.append(Answered(key=exchange.key, response=response))
        self._end_if_drained(events)

    def _was_reset(self, exchange: _Exchange, code: ErrorCodes | int, events: list[Event]) -> None:
        del self._flight[exchange.stream_id]
        key, text = exchange.key, f"the peer reset the stream ({_name(code)})"
        if code == ErrorCodes.REFUSED_STREAM:
            events.append(Refused(key=key, why=text))
        elif code == ErrorCodes.HTTP_1_1_REQUIRED:
            text = "the peer takes this request with HTTP/1.1 alone (HTTP_1_1_REQUIRED)"
            events.append(Failed(key=key, reason=Reason.NEGOTIATION_FAILED, text=text))
        else:
            events.append(Failed(key=key, reason=Reason.PEER_CLOSED, text=text))
        self._end_if_drained(events)

    # What goes out

    def _flush_all(self, exchanges: Iterable[_Exchange]) -> None:
        for exchange in list(exchanges):
            self._flush(exchange)

    def _flush(self, exchange: _Exchange) -> None:
        """Send of a body what the windows of stream and connection let through (§6.9)."""
        connection = self._h2
        while exchange.unsent:
            window = connection.local_flow_control_window(exchange.stream_id)
            octets = min(window, connection.max_outbound_frame_size, bounds.MAX_FRAME)
            if octets <= 0:
                return
            piece, exchange.unsent = exchange.unsent[:octets], exchange.unsent[octets:]
            connection.send_data(exchange.stream_id, bytes(piece), end_stream=not exchange.unsent)
            self._windows_due += 2  # of the stream, and of the connection

    def _reset(self, exchange: _Exchange, code: ErrorCodes = ErrorCodes.CANCEL) -> None:
        self._flight.pop(exchange.stream_id, None)
        try:
            self._h2.reset_stream(exchange.stream_id, code)
        except H2Error:
            return  # it has just ended by itself

    # Ends

    def _end_if_drained(self, events: list[Event]) -> None:
        if self._goaway is None or self._flight or self._is_over(events):
            return
        if self._goaway == ErrorCodes.NO_ERROR:
            events.append(self._ended_by_peer("the peer ends the connection (GOAWAY, NO_ERROR)"))
            return
        text = f"the peer ends the connection (GOAWAY, {_name(self._goaway)})"
        end = End(kind=EndKind.FAILED, reason=Reason.PEER_CLOSED, text=text)
        events.append(Ended(end=end))

    def _ended_by_peer(self, text: str) -> Ended:
        return Ended(end=End(kind=EndKind.PEER, reason=Reason.PEER_CLOSED, text=text))

    def _broken(self, reason: Reason, what: str) -> Ended:
        self._is_draining = True
        self._say_goodbye(
            ErrorCodes.ENHANCE_YOUR_CALM if reason is Reason.FLOODED else ErrorCodes.PROTOCOL_ERROR
        )
        return Ended(end=End(kind=EndKind.FAILED, reason=reason, text=what))

    def _say_goodbye(self, code: ErrorCodes) -> None:
        """Send a GOAWAY, once. What h2 objects to, it has sent one for."""
        if self._has_said_goodbye:
            return
        self._has_said_goodbye = True
        if self._h2.state_machine.state is ConnectionState.CLOSED:
            return
        with contextlib.suppress(H2Error):
            self._h2.close_connection(code)

    @staticmethod
    def _is_over(events: list[Event]) -> bool:
        return bool(events) and isinstance(events[-1], Ended)

    def _check_preface(self, pending: bytes) -> None:
        """Raise if what comes first cannot become a SETTINGS frame: no more of it may come."""
        if self._is_ready or not pending:
            return
        if len(pending) > 3 and pending[3] != FrameType.SETTINGS:
            raise BrokenPeerError(Reason.PROTOCOL_MISMATCH, self._no_preface())

    def _too_long(self) -> str:
        if not self._is_ready:
            return self._no_preface()
        return f"the peer sent a frame of more than {bounds.MAX_FRAME} octets"

    def _no_preface(self) -> str:
        if self._first.startswith(b"HTTP/1."):
            return "the peer speaks HTTP/1.1, and no HTTP/2 without agreeing on it beforehand"
        return peers.describe(self._first, _EXPECTED)


def _new_h2() -> H2Connection:
    connection = H2Connection(H2Configuration(client_side=True, header_encoding=None))
    connection.local_settings = Settings(
        client=True,
        initial_values={
            SettingCodes.ENABLE_PUSH: 0,
            SettingCodes.MAX_CONCURRENT_STREAMS: 0,  # of the peer's
            SettingCodes.MAX_HEADER_LIST_SIZE: bounds.MAX_HEADER_OCTETS,
            SettingCodes.MAX_FRAME_SIZE: bounds.MAX_FRAME,
        },
    )
    connection.decoder.max_header_list_size = bounds.MAX_HEADER_OCTETS
    return connection


def _take_in_head(exchange: _Exchange, headers: Iterable[tuple[bytes, bytes]]) -> None:
    fields = tuple((bytes(name), bytes(value)) for name, value in headers)
    if len(fields) > bounds.MAX_HEADERS:
        raise BrokenPeerError(
            Reason.FLOODED, f"the peer sent more than {bounds.MAX_HEADERS} header fields"
        )
    status = next((value for name, value in fields if name == b":status"), b"")
    if len(status) != 3 or not status.isdigit():
        raise BrokenPeerError(Reason.PROTOCOL_MISMATCH, "the peer sent a status that is none")
    exchange.status = int(status)
    exchange.headers = tuple(each for each in fields if not each[0].startswith(b":"))


def _code(code: int) -> ErrorCodes | int:
    try:
        return ErrorCodes(code)
    except ValueError:
        return code


def _name(code: ErrorCodes | int) -> str:
    return code.name if isinstance(code, ErrorCodes) else f"code {code}"
