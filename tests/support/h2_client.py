"""A small HTTP/2 client for tests of the peers themselves: blocking, and without any policy.

It sends what it is told and keeps what has come, so a test sees what a server does. It never opens
a connection again. Settings of the server count as soon as they have been read, and not before.

A GOAWAY is kept from h2, which takes no frame after one: a server goes on with the streams up to
the one that it names (RFC 9113 §6.8).
"""

import contextlib
import socket
import ssl
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from support.ports import LOOPBACK
from support.waiting import PATIENCE

__all__ = ["Goaway", "H2Answer", "H2Client", "connected"]

# Octets of a frame's header; its fourth is the type (RFC 9113 §4.1).
_HEADER = 9
_GOAWAY = 0x7


@dataclass(kw_only=True, slots=True)
class H2Answer:
    """What has come on one stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content: bytearray = field(default_factory=bytearray)
    # By the server, in order.
    ended: bool = False
    # The code of a RST_STREAM.
    reset: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Goaway:
    """What a GOAWAY says."""

    last_stream: int
    code: int


class H2Client:
    """One connection, with the preface sent."""

    def __init__(self, sock: socket.socket) -> None:
        """Take a connected socket, encrypted or not."""
        self._socket = sock
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._flush()
        # Octets of a frame that has not come as a whole.
        self._begun = b""
        self.answers: dict[int, H2Answer] = {}
        self.goaways: list[Goaway] = []
        self.acknowledged_pings = 0
        self.closed = False
        """Whether the server has closed the TCP connection."""

    @property
    def announced_streams(self) -> int | None:
        """How many streams the server allows at once."""
        return self._h2.remote_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)

    def send(self, path: str, *, method: str = "GET", content: bytes = b"") -> int:
        """Send a request, and return its stream."""
        stream = self.send_head(path, method=method, ends=not content)
        if content:
            self.send_content(stream, content)
        return stream

    def send_head(self, path: str, *, method: str, ends: bool = False) -> int:
        """Send the head of a request whose content is to follow, unless it ends there."""
        stream = self._h2.get_next_available_stream_id()
        target = [(":scheme", "https"), (":authority", "localhost"), (":path", path)]
        self._h2.send_headers(stream, [(":method", method), *target], end_stream=ends)
        self.answers[stream] = H2Answer()
        self._flush()
        return stream

    def send_content(self, stream: int, content: bytes) -> None:
        """Send all content of a request."""
        self._h2.send_data(stream, content, end_stream=True)
        self._flush()

    def ping(self) -> None:
        """Send a PING."""
        self._h2.ping(b"springli")
        self._flush()

    def until(self, happened: Callable[[], object]) -> None:
        """Read until something has happened, or the server has closed the connection."""
        while not happened() and not self.closed:
            try:
                data = self._socket.recv(65536)
            except (ConnectionError, ssl.SSLError):
                data = b""
            self.closed = not data
            for event in self._h2.receive_data(self._without_goaway(data)):
                self._take(event)
            self._flush()

    def answer(self, stream: int) -> H2Answer:
        """Read until a stream has ended in whatever way, and return what came on it."""
        answer = self.answers[stream]
        self.until(lambda: answer.ended or answer.reset is not None)
        return answer

    def get(self, path: str) -> H2Answer:
        """Send a request and wait for its answer."""
        return self.answer(self.send(path))

    def _without_goaway(self, data: bytes) -> bytes:
        """Return the frames that have come as a whole, less those that say GOAWAY."""
        self._begun += data
        frames = []
        while len(self._begun) >= _HEADER:
            end = _HEADER + int.from_bytes(self._begun[:3], "big")
            if len(self._begun) < end:
                break
            frame, self._begun = self._begun[:end], self._begun[end:]
            if frame[3] != _GOAWAY:
                frames.append(frame)
                continue
            last, code = struct.unpack_from("!II", frame, _HEADER)
            self.goaways.append(Goaway(last_stream=last & 0x7FFF_FFFF, code=code))
        return b"".join(frames)

    def _take(self, event: events.Event) -> None:
        match event:
            case events.ResponseReceived():
                answer = self.answers[event.stream_id]
                answer.headers = {str(name): str(value) for name, value in event.headers}
                answer.status = int(answer.headers[":status"])
            case events.DataReceived():
                self.answers[event.stream_id].content += event.data
                self._h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            case events.StreamEnded():
                self.answers[event.stream_id].ended = True
            case events.StreamReset():
                self.answers[event.stream_id].reset = event.error_code
            case events.PingAckReceived():
                self.acknowledged_pings += 1
            case _:
                pass

    def _flush(self) -> None:
        # Reading tells that the connection is at its end, and what came before that.
        with contextlib.suppress(ConnectionError, ssl.SSLError):
            self._socket.sendall(self._h2.data_to_send())


@contextlib.contextmanager
def connected(port: int, context: ssl.SSLContext | None = None) -> Iterator[H2Client]:
    """Connect: over TLS with a context, whose ALPN must have h2; else by prior knowledge."""
    with socket.create_connection((LOOPBACK, port), timeout=PATIENCE) as plain:
        if context is None:
            yield H2Client(plain)
            return
        with context.wrap_socket(plain, server_hostname="localhost") as sock:
            assert sock.selected_alpn_protocol() == "h2"
            yield H2Client(sock)
