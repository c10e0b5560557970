"""A small HTTP/2 client for tests of the peers themselves: blocking, and without any policy.

It sends what it is told, and keeps every event in order, so a test sees what a server does. It
never opens a connection again, and it does not mind limits that the server has announced.
"""

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from h2 import events
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.settings import SettingCodes

from support.ports import LOOPBACK
from support.waiting import PATIENCE

__all__ = ["H2Answer", "H2Client", "connected"]


@dataclass(kw_only=True, slots=True)
class H2Answer:
    """What has come on one stream."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    content: bytes = b""
    # By the server, in order.
    ended: bool = False
    # The code of a RST_STREAM.
    reset: int | None = None


class H2Client:
    """One connection, with the preface sent."""

    def __init__(self, sock: socket.socket) -> None:
        """Take a connected socket, encrypted or not."""
        self._socket = sock
        self._h2 = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._h2.initiate_connection()
        self._flush()
        self.answers: dict[int, H2Answer] = {}
        self.goaway: events.ConnectionTerminated | None = None
        self.acknowledged_pings = 0
        self.settings_came = False
        self.closed = False
        """Whether the server has closed the TCP connection."""

    @property
    def announced_streams(self) -> int | None:
        """How many streams the server allows at once."""
        return self._h2.remote_settings.get(SettingCodes.MAX_CONCURRENT_STREAMS)

    def send(self, path: str, *, method: str = "GET", content: bytes = b"") -> int:
        """Send a request, and return its stream."""
        stream = self._h2.get_next_available_stream_id()
        self._h2.send_headers(
            stream,
            [(":method", method), (":scheme", "https"), (":authority", "localhost")]
            + [(":path", path)],
            end_stream=not content,
        )
        if content:
            self._h2.send_data(stream, content, end_stream=True)
        self.answers[stream] = H2Answer()
        self._flush()
        return stream

    def ping(self) -> None:
        """Send a PING."""
        self._h2.ping(b"springli")
        self._flush()

    def until(self, happened: Callable[[], object]) -> None:
        """Read until something has happened, or the server has closed the connection."""
        while not happened() and not self.closed:
            try:
                data = self._socket.recv(65536)
            except ConnectionResetError:
                data = b""
            self.closed = not data
            for event in self._h2.receive_data(data) if data else ():
                self._take(event)
            with contextlib.suppress(OSError):
                self._flush()

    def answer(self, stream: int) -> H2Answer:
        """Read until a stream has ended in whatever way, and return what came on it."""
        answer = self.answers[stream]
        self.until(lambda: answer.ended or answer.reset is not None)
        return answer

    def get(self, path: str) -> H2Answer:
        """Send a request and wait for its answer."""
        return self.answer(self.send(path))

    def _take(self, event: events.Event) -> None:
        match event:
            case events.ResponseReceived():
                answer = self.answers[event.stream_id]
                answer.headers = {str(name): str(value) for name, value in event.headers}
                answer.status = int(answer.headers[":status"])
            case events.DataReceived():
                self.answers[event.stream_id].content += event.data
                self._h2.acknowledge_received_data(
                    event.flow_controlled_length, event.stream_id
                )
            case events.StreamEnded():
                self.answers[event.stream_id].ended = True
            case events.StreamReset():
                self.answers[event.stream_id].reset = event.error_code
            case events.ConnectionTerminated():
                self.goaway = event
            case events.PingAckReceived():
                self.acknowledged_pings += 1
            case events.RemoteSettingsChanged():
                self.settings_came = True
            case _:
                pass

    def _flush(self) -> None:
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
