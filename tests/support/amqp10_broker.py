"""A broker of AMQP 1.0 that behaves, as a script of `amqp10_peer`; each step can be replaced.

It lets anybody in who is not kept out, opens, begins, attaches what it is asked for, gives credit,
keeps messages in queues by their address, and answers what ends. Over paired links to `/management`
it takes tokens as RabbitMQ does from 4.1 on, and over `$cbs` as Azure does.

    broker = Broker(on={"begin": lambda talk, begin: talk.close(error("amqp:not-allowed"))})
    async with amqp10_peer.serving(broker) as peer:
        ...

A step is called with what the client has sent, by its name: "header", "sasl_init", "open",
"begin", "attach", "flow", "transfer", "disposition", "detach", "end", "close" and "empty".
`IGNORED` is a step that does nothing. A step may call `broker.usual` for what it stands for.
"""

import asyncio
import inspect
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from support.amqp10_peer import AMQP_HEADER, SASL_HEADER, Amqp10Talk, Frame, Link
from support.amqp10_types import Composite, accepted, composite, message, sections
from support.scram_server import ScramServer, ScramUser

__all__ = ["CBS", "IGNORED", "MANAGEMENT", "Broker", "Login", "Reply", "Step", "eager"]

MANAGEMENT: Final = "/management"
CBS: Final = "$cbs"
_WINDOW: Final = 2048
_AUTH: Final = 1  # of an outcome: the login is refused

Step = Callable[[Amqp10Talk, Frame], Awaitable[None] | None]


def IGNORED(talk: Amqp10Talk, frame: Frame) -> None:  # noqa: N802 - a step like any other
    """Answer nothing."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What is said to a renewal: a status, and with it or in its place an end of the connection."""

    status: int | None = 204
    close: Composite | None = None
    is_close_first: bool = False
    """The two come in either order."""


@dataclass(frozen=True, kw_only=True)
class Login:
    """A login as it came."""

    mechanism: str
    user: str = ""
    secret: str = ""
    """What the client sent of it: nothing with SCRAM."""


@dataclass(kw_only=True)
class Broker:
    """What a broker is like, and what it has seen. Serves one client per call."""

    mechanisms: tuple[str, ...] = ("PLAIN", "ANONYMOUS")
    users: Mapping[str, str] | None = None
    """With their passwords, for PLAIN; None lets anybody in."""
    scram: ScramUser | None = None
    """Who can log in with SCRAM."""
    proof: Literal["challenge", "outcome", "both", "none"] = "outcome"
    """What the proof of SCRAM comes with."""
    challenges: Sequence[bytes] = ()
    """What any other login is asked before it is accepted."""
    outcome: int = 0
    """What a login that is right is told."""
    opened: Mapping[str, Any] = field(default_factory=dict)
    """Fields of Open."""
    begun: Mapping[str, Any] = field(default_factory=dict)
    """Fields of Begin."""
    attached: Mapping[str, Any] = field(default_factory=dict)
    """Fields of Attach."""
    refused: Mapping[str, Composite] = field(default_factory=dict)
    """Addresses to which no link is attached, with the error."""
    credit: int = 100
    """For each link of a sender; renewed with each message."""
    settled: Composite | None = field(default_factory=accepted)
    """The outcome of messages; None is none."""
    beats: bool = True
    """Whether signs of life are sent, where the client asks for them."""
    management: Callable[[str], Reply] | None = None
    """What a token gets that is sent to `/management`; None is an address like any other."""
    cbs: Callable[[str], Reply] | None = None
    """The same of `$cbs`."""
    on: Mapping[str, Step] = field(default_factory=dict)
    """Steps that are replaced."""

    logins: list[Login] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)
    """Those that were sent to renew."""
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    """All that came, with their address."""
    queues: dict[str, deque[bytes]] = field(default_factory=lambda: defaultdict(deque))
    """Messages that nobody has taken yet."""
    talks: list[Amqp10Talk] = field(default_factory=list)

    async def __call__(self, talk: Amqp10Talk) -> None:
        """Serve one client until it has gone."""
        self.talks.append(talk)
        beating: list[asyncio.Task[None]] = []
        try:
            while True:
                frame = await talk.frame()
                if frame.name == "open" and frame.idle_time_out and self.beats:
                    beats = self._beat(talk, frame.idle_time_out / 1000)
                    beating.append(asyncio.create_task(beats, name="signs of life"))
                await self.step(talk, frame)
        finally:
            for each in beating:
                each.cancel()

    async def step(self, talk: Amqp10Talk, frame: Frame) -> None:
        """Do what is due for something that the client has sent."""
        replaced = self.on.get(frame.name)
        if replaced is None:
            await self.usual(talk, frame)
            return
        done = replaced(talk, frame)
        if inspect.isawaitable(done):
            await done

    async def usual(self, talk: Amqp10Talk, frame: Frame) -> None:
        """Do what a broker does for something that the client has sent."""
        match frame.name:
            case "header":
                self._greet(talk, frame)
            case "sasl_init":
                await self._log_in(talk, frame)
            case "open":
                talk.open(**self.opened)
            case "begin":
                talk.begin(frame.channel, **self.begun)
            case "attach" | "flow" | "transfer" | "detach":
                self._serve_link(talk, frame)
            case "end" if frame.channel in talk.sessions:  # else it is the answer to ours
                talk.end(frame.channel)
            case "close":
                talk.close()
            case _:
                pass

    # SASL

    def _greet(self, talk: Amqp10Talk, header: Frame) -> None:
        if header.payload == SASL_HEADER:
            talk.raw(SASL_HEADER)
            talk.offer(*self.mechanisms)
        else:
            talk.raw(AMQP_HEADER)

    async def _log_in(self, talk: Amqp10Talk, init: Frame) -> None:
        if self.scram is not None and init.mechanism == self.scram.mechanism:
            await self._scram(talk, init, self.scram)
            return
        for each in self.challenges:
            talk.challenge(each)
            await talk.expect("sasl_response")
        user, secret = "", ""
        if init.mechanism == "PLAIN":
            _, user, secret = init.initial_response.decode().split("\0")
        self.logins.append(Login(mechanism=init.mechanism, user=user, secret=secret))
        is_known = self.users is None or self.users.get(user) == secret
        talk.outcome(self.outcome if is_known else _AUTH)

    async def _scram(self, talk: Amqp10Talk, init: Frame, user: ScramUser) -> None:
        self.logins.append(Login(mechanism=init.mechanism, user=user.name))
        server = ScramServer(user=user)
        try:
            talk.challenge(server.first(init.initial_response))
        except ValueError:
            talk.outcome(_AUTH)
            return
        response = await talk.expect("sasl_response")
        final = server.final(response.response)
        if final.startswith(b"e="):
            talk.outcome(_AUTH, final)
            return
        if self.proof in ("challenge", "both"):
            talk.challenge(final)
            await talk.expect("sasl_response")
        talk.outcome(self.outcome, final if self.proof in ("outcome", "both") else None)

    # Links

    def _serve_link(self, talk: Amqp10Talk, frame: Frame) -> None:
        session = talk.sessions.get(frame.channel)
        if session is None:  # it has crossed an end
            return
        if frame.name == "flow" and frame.echo:
            talk.flow(session)
        link = session.links.get(frame.handle)
        if link is None:  # a flow of the session, or something that crossed a detach
            return
        match frame.name:
            case "attach":
                self._attach(talk, link)
            case "transfer":
                self._take(talk, link, frame)
            case "flow":
                self._hand_out(talk, link)
            case _:
                self._detach(talk, link, frame)

    def _attach(self, talk: Amqp10Talk, link: Link) -> None:
        refusal = self.refused.get(link.address or "")
        if refusal is not None:
            talk.refuse(link, refusal)
            return
        talk.attach(link, **self._named(talk, link), **self.attached)
        if link.is_sender and self.credit:
            talk.grant(link, self.credit)

    @staticmethod
    def _named(talk: Amqp10Talk, link: Link) -> dict[str, Any]:
        """Return the terminus of a dynamic address, which is made up here."""
        name = "target" if link.is_sender else "source"
        asked = getattr(link.attach, name)
        if asked is None or not asked.dynamic:
            return {}
        address = f"dynamic-{len(talk.received)}"
        return {name: composite(name, **{**asked.fields, "address": address})}

    def _take(self, talk: Amqp10Talk, link: Link, transfer: Frame) -> None:
        if transfer.more:
            return
        octets, link.parts[:] = b"".join(link.parts), []
        first = next(
            each
            for each in reversed(talk.all("transfer"))
            if each.handle == transfer.handle and each.delivery_id is not None
        )
        link.delivery_count += 1
        address = link.address or ""
        if self.settled is not None and not first.settled:
            talk.settle(first, self.settled)
        if self.credit:
            link.session.incoming_window = self.begun.get("incoming_window", _WINDOW)
            talk.grant(link, self.credit)
        if address == MANAGEMENT and self.management is not None:
            self._manage(talk, link, octets)
        elif address == CBS and self.cbs is not None:
            self._put_token(talk, octets)
        else:
            self.messages.append((address, octets))
            self.queues[address].append(octets)
            for each in talk.links:
                self._hand_out(talk, each)

    def _hand_out(self, talk: Amqp10Talk, link: Link) -> None:
        """Give a receiver what it takes."""
        if link.is_sender:
            return
        waiting = self.queues.get(link.address or "", deque())
        while waiting and link.credit > len(link.waiting):
            link.waiting.append(waiting.popleft())
        talk.flush(link)

    def _detach(self, talk: Amqp10Talk, link: Link, detach: Frame) -> None:
        if not link.is_sender:
            back = [*link.unsettled.values(), *link.waiting]
            self.queues[link.address or ""].extendleft(reversed(back))
        talk.detach(link, closed=detach.closed)

    # Renewal

    def _manage(self, talk: Amqp10Talk, link: Link, octets: bytes) -> None:
        """Take a token over paired links: PUT /auth/tokens."""
        found = sections(octets)
        request = found["properties"]
        assert self.management is not None
        if (request.subject, request.to) == ("PUT", "/auth/tokens"):
            reply = self._renewed(found["value"].decode(), self.management)
        else:
            reply = Reply(status=404)
        answer = message(
            properties={
                "correlation_id": request.message_id,
                "subject": str(reply.status),
                "to": request.reply_to,
            },
            application_properties={"http:response": "1.1"},
        )
        self._reply(talk, talk.link(link.name, is_sender=False), reply, answer)

    def _put_token(self, talk: Amqp10Talk, octets: bytes) -> None:
        """Take a token for claims-based security."""
        found = sections(octets)
        request = found["properties"]
        assert self.cbs is not None
        assert found["application_properties"]["operation"] == "put-token"
        reply = self._renewed(found["value"], self.cbs)
        answer = message(
            properties={"correlation_id": request.message_id},
            application_properties={
                "status-code": reply.status,
                "status-description": "as it is",
            },
        )
        [back] = [each for each in talk.links if not each.is_sender and each.address == CBS]
        self._reply(talk, back, reply, answer)

    def _renewed(self, token: str, decide: Callable[[str], Reply]) -> Reply:
        self.tokens.append(token)
        return decide(token)

    @staticmethod
    def _reply(talk: Amqp10Talk, link: Link, reply: Reply, answer: bytes) -> None:
        if reply.close is not None and reply.is_close_first:
            talk.close(reply.close)
        if reply.status is not None:
            talk.deliver(link, answer)
        if reply.close is not None and not reply.is_close_first:
            talk.close(reply.close)

    # Signs of life

    @staticmethod
    async def _beat(talk: Amqp10Talk, idle: float) -> None:
        """Send signs of life, twice as often as the client has to hear one."""
        while True:
            await asyncio.sleep(idle / 2)
            talk.beat()


async def eager(talk: Amqp10Talk) -> None:
    """Say everything of an open handshake before anything is asked, then behave."""
    talk.raw(SASL_HEADER)
    talk.offer("PLAIN", "ANONYMOUS")
    talk.outcome()
    talk.raw(AMQP_HEADER)
    talk.open()
    said = composite(
        "begin", remote_channel=0, next_outgoing_id=0, incoming_window=2048, outgoing_window=2048
    )
    talk.send(said)
    silent: dict[str, Step] = dict.fromkeys(("header", "sasl_init", "open", "begin"), IGNORED)
    await Broker(on=silent)(talk)
