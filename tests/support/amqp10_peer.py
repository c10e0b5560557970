"""A scripted AMQP 1.0 server on loopback, for what no real broker can be made to do.

A script is a coroutine that talks to one client, as in `fake_peer`: it uses the steps of
`Amqp10Talk` as far as it wants to be correct, then does its damage. What the client sent is kept.
Frames are made by hand, so that each can be wrong. `amqp10_broker` has a script that behaves.

    async def refuse(talk):
        await talk.greet_sasl()
        await talk.expect("sasl_init")
        talk.send(composite("sasl_outcome", code=1))

    async with amqp10_peer.serving(refuse) as peer:
        ...  # connect to 127.0.0.1, peer.port
"""

import asyncio
import contextlib
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from support import fake_peer, ports
from support.amqp10_types import Composite, composite, decoded, encoded
from support.fake_peer import Talk

__all__ = [
    "AMQP_HEADER",
    "SASL_HEADER",
    "Amqp10Peer",
    "Amqp10Talk",
    "Frame",
    "Link",
    "Script",
    "Session",
    "frame",
    "serving",
]

AMQP_HEADER: Final = b"AMQP\x00\x01\x00\x00"
SASL_HEADER: Final = b"AMQP\x03\x01\x00\x00"

_AMQP_FRAME: Final = 0
_SASL_FRAME: Final = 1
_HEADER: Final = -1
_UNLIMITED: Final = 0xFFFFFFFF
# A transfer without its payload, with room to spare.
_TRANSFER_OCTETS: Final = 128


def frame(
    performative: Composite | None = None,
    *,
    channel: int = 0,
    payload: bytes = b"",
    kind: int | None = None,
    size: int | None = None,
    doff: int = 2,
    body: bytes | None = None,
) -> bytes:
    """Return a frame as octets (§2.3): right, but for what is given as something else.

    Without a performative it is the empty frame. `body` stands for performative and payload.
    """
    if kind is None:
        is_sasl = performative is not None and performative.name.startswith("sasl_")
        kind = _SASL_FRAME if is_sasl else _AMQP_FRAME
    if body is None:
        body = (b"" if performative is None else encoded(performative)) + payload
    size = 8 + len(body) if size is None else size
    return size.to_bytes(4) + bytes([doff, kind]) + channel.to_bytes(2) + body


@dataclass(frozen=True, kw_only=True)
class Frame:
    """What a client has sent: a frame, or a protocol header."""

    performative: Composite | None = None
    channel: int = 0
    payload: bytes = b""
    """What follows the performative; of a header all of it."""
    kind: int = _AMQP_FRAME

    @property
    def name(self) -> str:
        """The performative's name; "empty" for a sign of life, "header" for a protocol header."""
        if self.performative is not None:
            return self.performative.name
        return "header" if self.kind == _HEADER else "empty"

    def __getattr__(self, name: str) -> Any:
        """Return a field of the performative: `frame.hostname`."""
        if name.startswith("__") or self.performative is None:
            raise AttributeError(name)
        return getattr(self.performative, name)


@dataclass(eq=False)
class Link:
    """A link as the server has it. The server's handle is the client's."""

    session: "Session"
    attach: Frame
    """What the client attached it with."""
    name: str
    handle: int
    is_sender: bool
    """Whether the client sends on it."""
    credit: int = 0
    """How many messages the client takes; 0 on one that it sends on."""
    delivery_count: int = 0
    waiting: deque[bytes] = field(default_factory=deque)
    """Messages that wait for credit."""
    unsettled: dict[int, bytes] = field(default_factory=dict)
    """Messages on their way to the client, by delivery-id."""
    parts: list[bytes] = field(default_factory=list)
    """Of a message that the client has not sent completely."""

    @property
    def address(self) -> str | None:
        """Where it leads to."""
        terminus = self.attach.target if self.is_sender else self.attach.source
        return None if terminus is None else terminus.address


@dataclass(eq=False)
class Session:
    """A session as the server has it. The server's channel is the client's."""

    channel: int
    begin: Frame
    """What the client began it with."""
    next_incoming_id: int
    client_window: int
    """How many transfer frames the client takes in."""
    next_outgoing_id: int = 0
    next_delivery_id: int = 0
    incoming_window: int = 2048
    """How many transfer frames the server takes in, and the client may send."""
    links: dict[int, Link] = field(default_factory=dict)
    """Those that are attached, by their handle."""


class Amqp10Talk:
    """One client's connection, seen from the server."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.received: list[Frame] = []
        """All that the client sent, in order."""
        self.sessions: dict[int, Session] = {}
        """Those that are begun, by their channel."""

    # What has come

    def all(self, name: str) -> list[Frame]:
        """Return the frames of a kind that the client has sent."""
        return [each for each in self.received if each.name == name]

    def last(self, name: str) -> Frame | None:
        """Return the last frame of a kind that the client has sent, if any."""
        found = self.all(name)
        return found[-1] if found else None

    @property
    def names(self) -> list[str]:
        """The kinds of all that the client has sent, without signs of life."""
        return [each.name for each in self.received if each.name != "empty"]

    @property
    def links(self) -> list[Link]:
        """Those that are attached, of all sessions."""
        return [link for session in self.sessions.values() for link in session.links.values()]

    def link(self, name: str, *, is_sender: bool | None = None) -> Link:
        """Return the link of a name; of two that are named alike the one that is asked for."""
        [found] = [
            each for each in self.links if each.name == name and is_sender in (None, each.is_sender)
        ]
        return found

    # Speaking

    def send(self, performative: Composite, *, channel: int = 0, payload: bytes = b"") -> None:
        """Send a frame."""
        self.raw(frame(performative, channel=channel, payload=payload))

    def raw(self, octets: bytes) -> None:
        """Send octets as they are."""
        self.talk.raw(octets)

    def beat(self) -> None:
        """Send a sign of life."""
        self.raw(frame())

    async def pieces(self, octets: bytes, *, size: int = 1) -> None:
        """Send octets, so many at a time."""
        for at in range(0, len(octets), size):
            self.raw(octets[at : at + size])
            await self.talk.writer.drain()
            await asyncio.sleep(0)

    async def flood(self, octets: bytes, *, most: int = 1_000_000) -> None:
        """Send octets again and again, as fast as the client takes them, until it has gone."""
        for _ in range(most):
            self.raw(octets)
            await self.talk.writer.drain()

    def reset(self) -> None:
        """Break the connection with a TCP reset."""
        self.talk.reset()

    def hang_up(self) -> None:
        """End the connection without a word."""
        self.talk.close()

    # Listening

    async def frame(self) -> Frame:
        """Return what the client sends next, and keep account of it."""
        head = await self.talk.reader.readexactly(8)
        if head.startswith(b"AMQP"):
            found = Frame(kind=_HEADER, payload=head)
        else:
            found = await self._rest(head)
        self.received.append(found)
        self._keep_account(found)
        return found

    async def _rest(self, head: bytes) -> Frame:
        body = await self.talk.reader.readexactly(int.from_bytes(head[:4]) - 8)
        body = body[4 * head[4] - 8 :]
        performative, payload = decoded(body) if body else (None, b"")
        assert performative is None or isinstance(performative, Composite), performative
        channel = int.from_bytes(head[6:])
        return Frame(performative=performative, channel=channel, payload=payload, kind=head[5])

    async def expect(self, name: str, *, besides: tuple[str, ...] = ("empty",)) -> Frame:
        """Return the client's next frame of a kind; those `besides` are passed over."""
        while True:
            found = await self.frame()
            if found.name == name:
                return found
            assert found.name in besides, f"{found} instead of {name}"

    async def until_gone(self) -> None:
        """Take in what comes, answer nothing, and return when the client has gone."""
        while True:
            await self.frame()

    async def silent(self) -> None:
        """Read nothing more and answer nothing, until the test is over."""
        await self.talk.silent()

    def _keep_account(self, found: Frame) -> None:
        """Take in what a frame changes; what has crossed an end changes nothing."""
        account = {
            "begin": self._begun,
            "attach": self._attached,
            "flow": self._flowed,
            "transfer": self._transferred,
            "disposition": self._disposed,
        }.get(found.name)
        if account is not None:
            account(found)

    def _begun(self, begin: Frame) -> None:
        self.sessions[begin.channel] = Session(
            channel=begin.channel,
            begin=begin,
            next_incoming_id=begin.next_outgoing_id,
            client_window=begin.incoming_window,
        )

    def _attached(self, attach: Frame) -> None:
        session = self.sessions.get(attach.channel)
        if session is not None and attach.performative is not None:
            session.links[attach.handle] = Link(
                session=session,
                attach=attach,
                name=attach.performative.fields["name"],  # of a frame, it is the performative's
                handle=attach.handle,
                is_sender=not attach.role,
            )

    def _flowed(self, flow: Frame) -> None:
        session = self.sessions.get(flow.channel)
        if session is None:
            return
        # §2.5.6: what is on its way has been reckoned without.
        known = session.next_outgoing_id if flow.next_incoming_id is None else flow.next_incoming_id
        session.client_window = known + flow.incoming_window - session.next_outgoing_id
        link = session.links.get(flow.handle)
        if link is not None and not link.is_sender and flow.link_credit is not None:
            # §2.6.7.
            counted = link.delivery_count if flow.delivery_count is None else flow.delivery_count
            link.credit = counted + flow.link_credit - link.delivery_count

    def _transferred(self, transfer: Frame) -> None:
        session = self.sessions.get(transfer.channel)
        if session is None:
            return
        session.next_incoming_id += 1
        session.incoming_window -= 1
        if transfer.handle in session.links:
            session.links[transfer.handle].parts.append(transfer.payload)

    def _disposed(self, disposition: Frame) -> None:
        session = self.sessions.get(disposition.channel)
        if session is None or not disposition.role or not disposition.settled:
            return
        last = disposition.first if disposition.last is None else disposition.last
        for link in session.links.values():
            for number in range(disposition.first, last + 1):
                link.unsettled.pop(number, None)

    # The layers, step by step

    async def greet_sasl(self, *mechanisms: str) -> None:
        """Read the header of SASL, and send one with the mechanisms there are."""
        await self.expect("header")
        self.raw(SASL_HEADER)
        self.offer(*mechanisms or ("PLAIN", "ANONYMOUS"))

    def offer(self, *mechanisms: str) -> None:
        """Send the mechanisms there are."""
        self.send(composite("sasl_mechanisms", sasl_server_mechanisms=mechanisms))

    def challenge(self, octets: bytes) -> None:
        """Ask for more."""
        self.send(composite("sasl_challenge", challenge=octets))

    def outcome(self, code: int = 0, additional_data: bytes | None = None) -> None:
        """Send how the login has ended: 0 ok, 1 auth, 2 sys, 3 sys-perm, 4 sys-temp."""
        self.send(composite("sasl_outcome", code=code, additional_data=additional_data))

    async def log_in(self, *mechanisms: str) -> Frame:
        """Do all of SASL, and accept any login. Return how the client began it."""
        await self.greet_sasl(*mechanisms)
        init = await self.expect("sasl_init")
        self.outcome()
        return init

    async def greet(self) -> None:
        """Read the header of AMQP, and send one."""
        await self.expect("header")
        self.raw(AMQP_HEADER)

    async def handshake(self) -> None:
        """Do all of SASL, open, and begin one session, as a broker does."""
        await self.log_in()
        await self.greet()
        await self.expect("open")
        self.open()
        self.begin((await self.expect("begin")).channel)

    # Performatives; a field that is given stands for the usual one, None for none

    def _send(self, name: str, channel: int, usual: Mapping[str, Any], given: Any) -> None:
        self.send(composite(name, **{**usual, **given}), channel=channel)

    def open(self, **fields: Any) -> None:
        """Send Open."""
        self._send("open", 0, {"container_id": "scripted"}, fields)

    def begin(self, channel: int, **fields: Any) -> None:
        """Answer a Begin of the client."""
        session = self.sessions[channel]
        session.incoming_window = fields.get("incoming_window", session.incoming_window)
        usual = {
            "remote_channel": channel,
            "next_outgoing_id": session.next_outgoing_id,
            "incoming_window": session.incoming_window,
            "outgoing_window": 2048,
        }
        self._send("begin", channel, usual, fields)

    def attach(self, link: Link, **fields: Any) -> None:
        """Answer an Attach of the client with what it asks for."""
        asked = link.attach
        usual = {
            "name": link.name,
            "handle": link.handle,
            "role": link.is_sender,
            "snd_settle_mode": asked.snd_settle_mode,
            "rcv_settle_mode": asked.rcv_settle_mode,
            "source": asked.source,
            "target": asked.target,
            "initial_delivery_count": None if link.is_sender else link.delivery_count,
        }
        self._send("attach", link.session.channel, usual, fields)

    def refuse(self, link: Link, error: Composite) -> None:
        """Refuse a link: §2.6.3 has it attached to nothing, and detached at once."""
        self.attach(link, **{"target" if link.is_sender else "source": None})
        self.detach(link, error=error)

    def flow(self, session: Session, **fields: Any) -> None:
        """Send Flow."""
        usual = {
            "next_incoming_id": session.next_incoming_id,
            "incoming_window": session.incoming_window,
            "next_outgoing_id": session.next_outgoing_id,
            "outgoing_window": 2048,
        }
        session.incoming_window = fields.get("incoming_window", session.incoming_window)
        self._send("flow", session.channel, usual, fields)

    def grant(self, link: Link, credit: int, **fields: Any) -> None:
        """Let the client send so many messages on a link."""
        usual = {
            "handle": link.handle,
            "delivery_count": link.delivery_count,
            "link_credit": credit,
        }
        self.flow(link.session, **{**usual, **fields})

    def settle(self, transfer: Frame, state: Composite | None, **fields: Any) -> None:
        """Tell what has become of a message of the client."""
        usual = {
            "role": True,
            "first": transfer.delivery_id,
            "settled": True,
            "state": state,
        }
        self._send("disposition", transfer.channel, usual, fields)

    def deliver(self, link: Link, message: bytes) -> None:
        """Send a message to the client, as soon as it gives credit."""
        link.waiting.append(message)
        self.flush(link)

    def flush(self, link: Link) -> None:
        """Send what waits, as far as the client takes it."""
        while link.waiting and link.credit > 0 and link.session.client_window > 0:
            link.credit -= 1
            self.transfer(link, link.waiting.popleft())

    def transfer(self, link: Link, message: bytes, **fields: Any) -> None:
        """Send a message, wanted or not, in frames as large as the client takes."""
        session = link.session
        opened = self.last("open")
        largest = (opened and opened.max_frame_size) or _UNLIMITED
        room = largest - _TRANSFER_OCTETS
        pieces = [message[at : at + room] for at in range(0, len(message), room)] or [b""]
        number = session.next_delivery_id
        session.next_delivery_id += 1
        link.delivery_count += 1
        if not fields.get("settled"):
            link.unsettled[number] = message
        first = {"delivery_id": number, "delivery_tag": number.to_bytes(4), "message_format": 0}
        for index, piece in enumerate(pieces):
            session.next_outgoing_id += 1
            session.client_window -= 1
            own = {"handle": link.handle, "more": True if index + 1 < len(pieces) else None}
            given = {**(first if index == 0 else {}), **own, **fields}
            performative = composite("transfer", **given)
            self.send(performative, channel=session.channel, payload=piece)

    def detach(self, link: Link, **fields: Any) -> None:
        """Detach a link, or answer that the client has."""
        link.session.links.pop(link.handle, None)
        usual = {"handle": link.handle, "closed": True}
        self._send("detach", link.session.channel, usual, fields)

    def end(self, channel: int, error: Composite | None = None) -> None:
        """End a session, or answer that the client has."""
        self.sessions.pop(channel, None)
        self._send("end", channel, {"error": error}, {})

    def close(self, error: Composite | None = None) -> None:
        """Close the connection, or answer that the client has."""
        self._send("close", 0, {"error": error}, {})


Script = Callable[[Amqp10Talk], Awaitable[None]]


class Amqp10Peer:
    """A listening peer; `talks` are the connections so far."""

    def __init__(self) -> None:
        self.port = 0
        self.talks: list[Amqp10Talk] = []

    @property
    def talk(self) -> Amqp10Talk:
        """The latest connection."""
        return self.talks[-1]


@contextlib.asynccontextmanager
async def serving(
    script: Script,
    *,
    tls: ssl.SSLContext | None = None,
    address: str = ports.LOOPBACK,
    port: int | None = None,
) -> AsyncIterator[Amqp10Peer]:
    """Run `script` for every client that connects, as `fake_peer.serving` does."""
    peer = Amqp10Peer()

    async def converse(talk: Talk) -> None:
        own = Amqp10Talk(talk)
        peer.talks.append(own)
        await script(own)

    async with fake_peer.serving(converse, tls=tls, address=address, port=port) as listening:
        peer.port = listening.port
        yield peer
