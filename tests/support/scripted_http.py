"""What a script of `fake_peer` says and hears when it is a server of HTTP.

HTTP/1.1 is written by hand, so that it can be wrong. HTTP/2 is h2's server, beside which raw frames
can be sent. Neither is a server for anything but tests.

    async def script(talk):
        assert await scripted_http.request(talk) == b"GET /one"
        scripted_http.answer(talk, b"one")

    async with fake_peer.serving(script) as peer:
        ...  # connect to 127.0.0.1, peer.port
"""

import re
from collections.abc import Callable
from typing import Any

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import Event, RequestReceived, StreamEnded

from springline.core.values import OpenRequest, TLSClient
from springline.drivers.http.connection import HttpConnection, Options, Version
from springline.drivers.http.messages import Request
from support import opening
from support.fake_peer import FakePeer, Talk
from support.ports import LOOPBACK

__all__ = ["Http2Talk", "answer", "connection", "frame", "get", "head", "post", "request", "target"]

_LENGTH = re.compile(rb"\r\ncontent-length: (\d+)\r\n", re.IGNORECASE)


def get(path: str = "/", **changes: Any) -> Request:
    """Return a request that is idempotent."""
    return Request(target=path, **changes)


def post(path: str = "/", **changes: Any) -> Request:
    """Return a request that is not idempotent."""
    return Request(method="POST", target=path, **changes)


def target(
    peer: FakePeer | int, *, tls: TLSClient | None = None, timeout: float = 30.0
) -> OpenRequest[Any]:
    """Return what dials the peer, or a port."""
    port = peer if isinstance(peer, int) else peer.port
    return opening.request(port, address=LOOPBACK, tls=tls, timeout=timeout)


def connection(
    peer: FakePeer | int,
    *,
    persistent: bool | None = True,
    version: Version = Version.AUTO,
    heartbeat: float = 0,
    half_close: bool = False,
    finalise: Callable[[], None] | None = None,
    tls: TLSClient | None = None,
    timeout: float = 30.0,
) -> HttpConnection:
    """Return a connection that connects to the peer."""
    options = Options(
        name="test",
        version=version,
        persistent=persistent,
        heartbeat_seconds=heartbeat,
        half_close=half_close,
    )
    return HttpConnection.create(target(peer, tls=tls, timeout=timeout), options, finalise=finalise)


# HTTP/1.1


async def head(talk: Talk) -> bytes:
    """Return the next request of the client, with its body if it has a length."""
    found = await talk.reader.readuntil(b"\r\n\r\n")
    length = _LENGTH.search(found)
    return found + await talk.reader.readexactly(int(length[1]) if length else 0)


async def request(talk: Talk) -> bytes:
    """Return method and target of the client's next request."""
    return (await head(talk)).rsplit(b" HTTP/1.1\r\n", 1)[0]


def answer(talk: Talk, body: bytes = b"", *, status: str = "200 OK", fields: str = "") -> None:
    """Send an answer with a length; `fields` are lines."""
    lines = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{fields}\r\n"
    talk.raw(lines.encode() + body)


# HTTP/2


class Http2Talk:
    """One client's HTTP/2 connection, seen from the server."""

    def __init__(self, talk: Talk) -> None:
        """Begin; the preface is sent by `start`."""
        self.talk = talk
        self.h2 = H2Connection(H2Configuration(client_side=False, header_encoding=None))
        self.requests: list[int] = []
        """The streams of requests that are complete and not answered by `requested`."""
        self.paths: dict[int, bytes] = {}
        self.events: list[Event] = []
        """All that has come, in order."""

    async def start(self, settings: dict[Any, int] | None = None) -> None:
        """Send SETTINGS."""
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(settings)
        self.flush()

    def flush(self) -> None:
        """Send what h2 has to send."""
        self.talk.raw(self.h2.data_to_send())

    async def hear(self) -> list[Event]:
        """Take in what comes next."""
        data = await self.talk.reader.read(65536)
        if not data:
            raise EOFError
        events = self.h2.receive_data(data)
        self.events += events
        for event in events:
            if isinstance(event, RequestReceived):
                self.paths[event.stream_id] = dict(event.headers)[b":path"]
            elif isinstance(event, StreamEnded):
                self.requests.append(event.stream_id)
        self.flush()
        return events

    async def requested(self, count: int = 1) -> list[int]:
        """Wait for so many complete requests; return their streams."""
        while len(self.requests) < count:
            await self.hear()
        found, self.requests = self.requests[:count], self.requests[count:]
        return found

    async def heard(self, kind: type[Event]) -> Event:
        """Wait for an event of a kind, unless it has come."""
        while True:
            for event in self.events:
                if isinstance(event, kind):
                    return event
            await self.hear()

    def answer(self, stream_id: int, body: bytes = b"", *, status: bytes = b"200") -> None:
        """Answer a request."""
        self.h2.send_headers(stream_id, [(b":status", status)], end_stream=not body)
        if body:
            self.h2.send_data(stream_id, body, end_stream=True)
        self.flush()

    async def answer_at_length(self, stream_id: int, body: bytes) -> None:
        """Answer a request as the client's windows let it."""
        self.h2.send_headers(stream_id, [(b":status", b"200")])
        while body:
            octets = min(self.h2.local_flow_control_window(stream_id), 16384)
            if octets:
                piece, body = body[:octets], body[octets:]
                self.h2.send_data(stream_id, piece, end_stream=not body)
                self.flush()
            else:
                await self.hear()

    async def until_gone(self) -> None:
        """Take in what comes until the client has gone."""
        while True:
            await self.hear()


def frame(kind: int, payload: bytes = b"", *, flags: int = 0, stream_id: int = 0) -> bytes:
    """Return a frame as octets, right or wrong (RFC 9113 §4.1)."""
    header = len(payload).to_bytes(3) + bytes([kind, flags]) + stream_id.to_bytes(4)
    return header + payload
