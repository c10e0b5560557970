"""An engine of ours and a server's end of the same connection, in memory and without a clock.

The server is proton, which behaves, or frames that a test writes, which need not. It needs proton.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from proton import (
    Connection,
    Described,
    Endpoint,
    Link,
    Session,
    Transport,
    symbol,
    uint,
    ulong,
    ushort,
)

from springline.drivers.amqp10 import codec
from springline.drivers.amqp10.engine import Engine, EngineSession, Opening
from springline.drivers.amqp10.frames import (
    AMQP_HEADER,
    HEADER_OCTETS,
    Frame,
    FrameSplitter,
    framed,
)

__all__ = [
    "Pair",
    "begin",
    "engine",
    "error",
    "frames_of",
    "open_frame",
    "opened",
    "performative",
    "with_session",
]

CAPACITY: Final = 1024 * 1024
WINDOW: Final = 2048
MAX_FRAME: Final = 64 * 1024
_UNINIT: Final = Endpoint.LOCAL_UNINIT


def engine(
    *,
    charge: Callable[[int], str] = lambda _: "",
    heartbeat_seconds: float = 0,
    max_frame_size: int = MAX_FRAME,
    channel_max: int = 100,
    locales: tuple[str, ...] = (),
    properties: Mapping[str, str] | None = None,
    desired_capabilities: tuple[str, ...] = (),
) -> Engine:
    """Return an engine that has said nothing yet."""
    opening = Opening(
        container_id="ours",
        hostname="vhost:orders",
        heartbeat_seconds=heartbeat_seconds,
        max_frame_size=max_frame_size,
        channel_max=channel_max,
        locales=locales,
        properties=properties or {},
        desired_capabilities=desired_capabilities,
    )
    return Engine(opening, charge=charge)


def performative(
    code: int, fields: Sequence[Any], *, channel: int = 0, payload: bytes = b""
) -> bytes:
    """Return a frame."""
    return framed(codec.encode(code, fields) + payload, channel=channel)


def open_frame(*fields: Any) -> bytes:
    """Return an Open."""
    return performative(codec.OPEN, fields or ["theirs"])


def begin(ours: int | None, *, channel: int = 0, incoming: int = 100, outgoing: int = 100) -> bytes:
    """Return a Begin that answers the one on our channel."""
    remote = None if ours is None else ushort(ours)
    fields = [remote, uint(0), uint(incoming), uint(outgoing)]
    return performative(codec.BEGIN, fields, channel=channel)


def error(name: str, text: str | None = None) -> Described:
    """Return an error condition, as a field."""
    return Described(ulong(0x1D), [symbol(name), text])


def opened(**options: Any) -> Engine:
    """Return an engine whose peer is a test's, and which is open."""
    made = engine(**options)
    made.output()
    made.receive_header()
    made.receive(open_frame())
    assert made.is_open
    return made


def with_session(**options: Any) -> tuple[Engine, EngineSession]:
    """Return an engine as `opened`, and a session on channel 0 of both sides."""
    made = opened(**options)
    session = made.begin(incoming_capacity=CAPACITY, outgoing_window=WINDOW)
    made.output()
    made.receive(begin(0))
    assert session.is_open
    return made, session


def frames_of(octets: bytes) -> list[tuple[Frame, int, list[Any]]]:
    """Return the frames that were sent, each with its descriptor and fields; 0 for a sign of
    life."""
    octets = octets.removeprefix(AMQP_HEADER)
    found = FrameSplitter(len(octets) + HEADER_OCTETS).feed(octets)
    return [(each, *(codec.decode(each.body) if each.body else (0, []))) for each in found]


class Pair:
    """An engine, and proton as its server, which is told what to answer."""

    def __init__(self, made: Engine, *, is_open: bool = True) -> None:
        self.engine = made
        self.server = Connection()
        self.server.container = "theirs"
        self.transport = Transport(Transport.SERVER)
        self.transport.bind(self.server)
        self._has_heard = False
        self.sent: list[bytes] = []
        """What the engine has sent, in the pieces in which it did."""
        if is_open:
            self.server.open()
            self.run()

    def run(self) -> None:
        """Pass octets to and fro until neither side has more to say."""
        while self.to_server() or self.to_engine():
            pass

    def to_server(self) -> bool:
        """Pass on what the engine has to say."""
        octets = self.engine.output()
        if octets:
            self.sent.append(octets)
            self.push(octets)
        return bool(octets)

    def push(self, octets: bytes) -> None:
        """Give octets to the server."""
        while octets and (room := self.transport.capacity()) > 0:
            self.transport.push(octets[:room])
            octets = octets[room:]

    def pull(self) -> bytes:
        """Take what the server has to say, without the header, of which the engine is told."""
        octets = b""
        while (pending := self.transport.pending()) > 0:
            piece = self.transport.peek(pending) or b""
            self.transport.pop(len(piece))
            octets += piece
        if octets and not self._has_heard:
            self._has_heard = True
            self.engine.receive_header()
            octets = octets.removeprefix(AMQP_HEADER)
        return octets

    def to_engine(self) -> bool:
        """Pass on what the server has to say."""
        octets = self.pull()
        self.engine.receive(octets)
        return bool(octets)

    def begun(self) -> EngineSession:
        """Begin a session, on both sides."""
        session = self.engine.begin(incoming_capacity=CAPACITY, outgoing_window=WINDOW)
        self.to_server()
        self.accept()
        self.run()
        return session

    def accept(self) -> list[Session | Link]:
        """Have the server answer all sessions and links that it has been asked for."""
        found: list[Session | Link] = []
        while (session := self.server.session_head(_UNINIT)) is not None:
            session.open()
            found.append(session)
        while (link := self.server.link_head(_UNINIT)) is not None:
            link.source.copy(link.remote_source)
            link.target.copy(link.remote_target)
            link.open()
            found.append(link)
        return found
