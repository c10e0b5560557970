"""HTTP/1.1 with several requests in flight on one connection, without I/O.

h11 knows one request at a time. So each request in flight has an `h11.Connection` of its own: they
are written back to back, and what follows one answer is handed to the next (RFC 9112 §9.3.2).

What h11 leaves open is decided here:

- An answer with both Transfer-Encoding and Content-Length is an error: whoever disagrees about its
  end could be made to take part of it for the next answer (RFC 9112 §6.3, §11.2).
- Octets that no request asked for are an error (§9.2), but for a 408 that tells why an idle
  connection ends (RFC 9110 §15.5.9).
- Something that is not HTTP/1 is told by its first octets, and not waited for.
- Line folding is replaced with a space, as a client must (§5.2); h11 does that.
- Behind a request that is not idempotent none is sent, nor such a one behind others, until the
  answer is there (§9.3.2).
- A body of unknown length is sent chunked only after the peer has answered with HTTP/1.1 on this
  connection (§6.1); before, with its length.
"""

from dataclasses import dataclass, field
from typing import Final

import h11

from springline.drivers.http import bounds
from springline.drivers.http.engine import (
    Answered,
    BrokenPeerError,
    Encoded,
    End,
    Ended,
    EndKind,
    Event,
)
from springline.drivers.http.messages import Headers, Request, Response
from springline.drivers.shared import peers
from springline.drivers.shared.peers import Expected
from springline.reasons import Reason

__all__ = ["Http1"]

_EXPECTED: Final = Expected(protocol="HTTP/1.1", port="HTTP")
_START: Final = b"HTTP/1."
_IDLE_FAREWELL: Final = (b"HTTP/1.1 408", b"HTTP/1.0 408")


@dataclass(slots=True)
class _Exchange:
    """A request in flight."""

    key: int
    request: Request
    octets: int
    protocol: h11.Connection
    head: h11.Response | None = None
    informational: int = 0
    received: int = 0
    first: bytes = b""
    """The first octets of the answer, until they can be told to be HTTP."""
    length: int = 0
    pieces: int = 0
    body: list[bytes] = field(default_factory=list)


class Http1:
    """One HTTP/1.1 connection, seen from the client."""

    __slots__ = (
        "_authority",
        "_flight",
        "_has_asked",
        "_has_logged_in",
        "_is_draining",
        "_takes_chunked",
        "_takes_several",
    )

    version = "1.1"
    is_ready = True
    half_closes = True

    def __init__(self, *, authority: str) -> None:
        """Speak to the host and port that `authority` names (RFC 9110 §7.2)."""
        self._authority = authority.encode("ascii")
        self._flight: list[_Exchange] = []  # a deque is larger, and these are few
        self._has_asked = False
        self._has_logged_in = False
        self._is_draining = False
        self._takes_several = False
        self._takes_chunked = False

    @property
    def concurrent_streams(self) -> int | None:
        """None: there are no streams."""
        return None

    @property
    def takes_several(self) -> bool:
        """Whether an answer has shown that the connection stays."""
        return self._takes_several

    @property
    def is_draining(self) -> bool:
        """Whether nothing more may be sent."""
        return self._is_draining

    @property
    def begun(self) -> frozenset[int]:
        """The first one in flight, if something of its answer has come."""
        return frozenset(each.key for each in self._flight if each.received)

    def has_room(self, request: Request) -> bool:
        """Whether the request may be sent now."""
        flight = self._flight
        if self._is_draining or len(flight) >= bounds.MAX_IN_FLIGHT:
            return False
        if not flight:
            return True
        # Those in front are alike: another one would have gone alone.
        return request.is_idempotent and flight[-1].request.is_idempotent

    def start(self) -> bytes:
        """Return nothing: the first request is what is sent first."""
        return b""

    def send(self, key: int, encoded: Encoded) -> bytes:
        """Return the whole request as octets."""
        request = encoded.request
        self._has_asked = True
        self._has_logged_in |= any(name == b"authorization" for name, _ in request.headers)
        protocol = h11.Connection(h11.CLIENT, max_incomplete_event_size=bounds.MAX_HEADER_OCTETS)
        fields = [(b"host", self._authority), *request.headers]
        if not encoded.is_of_known_length and self._takes_chunked:
            fields.append((b"transfer-encoding", b"chunked"))
        elif encoded.body or request.wants_length:
            fields.append((b"content-length", b"%d" % len(encoded.body)))
        if encoded.is_last:
            fields.append((b"connection", b"close"))  # RFC 9112 §9.6
        head = h11.Request(method=request.method, target=request.target, headers=fields)
        sent = protocol.send(head) or b""
        if encoded.body:
            sent += protocol.send(h11.Data(data=encoded.body)) or b""
        sent += protocol.send(h11.EndOfMessage()) or b""
        self._is_draining = encoded.is_last
        self._flight.append(_Exchange(key, request, len(sent), protocol))
        return sent

    def cancel(self, key: int) -> bytes | None:  # noqa: ARG002 - the port's
        """Return None: an answer that is on its way cannot be called off."""
        return None

    def receive(self, data: bytes) -> tuple[bytes, list[Event]]:
        """Take in octets; there is never anything to send in return."""
        events: list[Event] = []
        while data:
            if not self._flight:
                events.append(self._unasked(data))
                break
            exchange = self._flight[0]
            try:
                rest = self._advance(exchange, data)
            except BrokenPeerError as error:
                events.append(self._failed(error.reason, error.what))
                break
            except h11.RemoteProtocolError as error:
                # Its text may quote the peer, and its hint is a status code.
                what = "an answer that HTTP/1.1 has no room for"
                if error.error_status_hint == 431:
                    what = f"a line or header of more than {bounds.MAX_HEADER_OCTETS} octets"
                events.append(self._failed(Reason.PROTOCOL_MISMATCH, f"the peer sent {what}"))
                break
            if rest is None:
                break
            data = rest
            events += self._answered()
            if isinstance(events[-1], Ended):
                break
        return b"", events

    def receive_eof(self) -> list[Event]:
        """Take in the end of the stream: it ends a body without a length (RFC 9112 §6.3)."""
        if not self._flight:
            return [Ended(end=_closed_by_peer("the peer closed the idle connection"))]
        exchange = self._flight[0]
        if not exchange.received:
            text = "the peer closed the connection without an answer"
            end = End(kind=EndKind.FAILED, reason=Reason.PEER_CLOSED, text=text)
            return [Ended(end=end)]
        try:
            rest = self._advance(exchange, b"")
        except (h11.RemoteProtocolError, BrokenPeerError):
            rest = None
        if rest is None:
            return [
                self._failed(
                    Reason.PEER_CLOSED, "the peer closed the connection in the middle of an answer"
                )
            ]
        events = self._answered()
        if not isinstance(events[-1], Ended):
            self._takes_several = False
            events.append(Ended(end=_closed_by_peer("the peer closed the connection")))
        return events

    def ping(self) -> bytes:
        """Return nothing: HTTP/1.1 has no such thing."""
        return b""

    def finish(self) -> bytes:
        """Return nothing: the end of the transport says it."""
        return b""

    def _advance(self, exchange: _Exchange, data: bytes) -> bytes | None:
        """Feed an answer; return what follows it, None while it is not complete."""
        protocol = exchange.protocol
        exchange.received += len(data)
        self._check_start(exchange, data)
        protocol.receive_data(data)
        while True:
            event = protocol.next_event()
            match event:
                case h11.InformationalResponse():
                    exchange.informational += 1
                    if exchange.informational > bounds.MAX_INFORMATIONAL:
                        raise BrokenPeerError(
                            Reason.FLOODED,
                            f"the peer sent more than {bounds.MAX_INFORMATIONAL} 1xx answers",
                        )
                case h11.Response():
                    _check_head(event)
                    exchange.head = event
                case h11.Data():
                    exchange.pieces += 1
                    exchange.length += len(event.data)
                    exchange.body.append(bytes(event.data))
                    _check_length(exchange)
                case h11.EndOfMessage():
                    trailing, _ = protocol.trailing_data
                    return bytes(trailing)
                case h11.NEED_DATA:
                    _check_length(exchange)
                    return None
                case _:
                    raise BrokenPeerError(
                        Reason.PROTOCOL_MISMATCH, "the peer changed the protocol unasked"
                    )

    def _answered(self) -> list[Event]:
        """Hand the first answer over, and look whether the connection stays (RFC 9112 §9.3)."""
        exchange = self._flight.pop(0)
        head = exchange.head
        if head is None:
            raise RuntimeError("an answer ends after its head")
        events: list[Event] = [
            Answered(
                key=exchange.key,
                response=Response(
                    status=head.status_code,
                    headers=_fields(head),
                    body=b"".join(exchange.body),
                    version=head.http_version.decode("ascii"),
                ),
            )
        ]
        self._takes_chunked = head.http_version >= b"1.1"
        if exchange.protocol.their_state is h11.DONE:
            self._takes_several = True
        if (
            exchange.protocol.their_state is not h11.DONE
            or exchange.protocol.our_state is not h11.DONE
        ):
            self._is_draining = True
            end = _closed_by_peer("the connection ends with this answer")
            events.append(Ended(end=end, is_unprocessed=True))
        return events

    def _unasked(self, data: bytes) -> Ended:
        if data.startswith(_IDLE_FAREWELL):
            return Ended(end=_closed_by_peer("the peer ends connections that are idle (408)"))
        if not self._has_asked and not data.startswith(_START[: len(data)]):
            # Many a protocol begins with a word of the server's.
            text = peers.describe(data[: peers.MAX_SAMPLE], _EXPECTED)
        else:
            text = "the peer sent an answer that no request asked for"
        return self._failed(Reason.PROTOCOL_MISMATCH, text)

    def _check_start(self, exchange: _Exchange, data: bytes) -> None:
        """Raise if what comes first is not HTTP/1, at once: a line of it may never end."""
        if exchange.received - len(data) >= peers.MAX_SAMPLE:
            return
        first = exchange.first = exchange.first + data[: peers.MAX_SAMPLE - len(exchange.first)]
        if not first.startswith(_START[: len(first)]):
            text = peers.describe(first, _EXPECTED, is_after_login=self._has_logged_in)
            raise BrokenPeerError(Reason.PROTOCOL_MISMATCH, text)

    @staticmethod
    def _failed(reason: Reason, text: str) -> Ended:
        return Ended(end=End(kind=EndKind.FAILED, reason=reason, text=text))


def _closed_by_peer(text: str) -> End:
    return End(kind=EndKind.PEER, reason=Reason.PEER_CLOSED, text=text)


def _check_head(head: h11.Response) -> None:
    names = [name for name, _ in head.headers]
    if len(names) > bounds.MAX_HEADERS:
        raise BrokenPeerError(
            Reason.FLOODED, f"the peer sent more than {bounds.MAX_HEADERS} header fields"
        )
    if b"transfer-encoding" in names and (b"content-length" in names or head.http_version < b"1.1"):
        raise BrokenPeerError(
            Reason.PROTOCOL_MISMATCH, "the peer sent an answer whose end is told in two ways"
        )


def _check_length(exchange: _Exchange) -> None:
    if exchange.pieces > bounds.MAX_RESPONSE_PIECES:
        raise BrokenPeerError(
            Reason.FLOODED,
            f"the peer sent an answer of more than {bounds.MAX_RESPONSE_PIECES} pieces",
        )
    if exchange.length > bounds.MAX_BODY:
        raise BrokenPeerError(
            Reason.FLOODED, f"the peer sent a body of more than {bounds.MAX_BODY} octets"
        )
    if exchange.received > bounds.MAX_RESPONSE_OCTETS:
        raise BrokenPeerError(
            Reason.FLOODED,
            f"the peer sent an answer of more than {bounds.MAX_RESPONSE_OCTETS} octets",
        )


def _fields(head: h11.Response) -> Headers:
    return tuple((bytes(name), bytes(value)) for name, value in head.headers)
