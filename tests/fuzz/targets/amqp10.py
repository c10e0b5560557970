"""The engine of AMQP 1.0, and a peer that says what the case says.

The first part of a case is the plan: how the connection is opened, and what is done with it before
each of the further parts comes, an octet each. A part comes in one piece, or octet by octet.
"""

import contextlib
import itertools
from typing import Final

from proton import Delivery, Link, ProtonException

from fuzz import amqp10_mutations, oracles
from fuzz.cases import Case
from fuzz.targets import Target
from springline.drivers.amqp10 import bounds, conditions, habits, messages, termini
from springline.drivers.amqp10.codec import UndecodableError
from springline.drivers.amqp10.conditions import Condition
from springline.drivers.amqp10.engine import Engine, EngineSession, NoRoomError, Opening
from springline.drivers.amqp10.messages import Message
from springline.redaction import Secret
from springline.veil import Veil

__all__ = ["ACTIONS", "QUEUE", "TARGET", "Client", "opening"]

ACTIONS: Final = (
    *("nothing", "begin", "send to", "receive from", "send", "receive", "settle"),
    *("detach", "free", "end", "tick", "wait", "close", "hang up"),
)
"""What an octet of the plan stands for, by its remainder."""

QUEUE: Final = "fuzz"
_MOST_ACTIONS: Final = 16
_MOST_FRAMES: Final = 2000
_MOST_OCTETS: Final = 1024 * 1024
_MOST_SENT: Final = 256 * 1024
_SECONDS: Final = 7.0
_MOST_KEPT: Final = 64


def opening(octet: int) -> Opening:
    """Return how a connection is opened; an octet says it."""
    return Opening(
        container_id="fuzz",
        hostname="vhost:/",
        heartbeat_seconds=10 if octet & 1 else 0,
        max_frame_size=bounds.LONGEST_FRAME if octet & 2 else 4096,
        channel_max=100,
        locales=("de-AT", "en-US") if octet & 4 else (),
        properties={"product": "Springline"},
    )


def address(octet: int) -> str:
    """Return where messages go; RabbitMQ has other addresses from version 4 on."""
    return f"/queues/{QUEUE}" if octet & 8 else f"/queue/{QUEUE}"


class Client:
    """What is done with an engine."""

    def __init__(self, octet: int) -> None:
        self._budget = [_MOST_FRAMES, _MOST_OCTETS]
        self._address = address(octet)
        self.engine = Engine(opening(octet), charge=self._charge)
        self.veil = Veil()
        self.veil.note(Secret(oracles.SECRET))
        self.texts: list[str] = []
        self._now = 1000.0
        self._names = itertools.count()
        self._sessions: list[EngineSession] = []
        self._links: list[Link] = []
        self._deliveries: list[Delivery] = []
        self._sent = 0
        self._said: set[Condition | None] = set()

    def _charge(self, octets: int) -> str:
        self._budget[0] -= 1
        self._budget[1] -= octets
        return "too much" if min(self._budget) < 0 else ""

    def output(self) -> bytes:
        """Return what is to be sent."""
        octets = self.engine.output()
        self._sent += len(octets)
        assert self._sent <= _MOST_SENT, f"{self._sent} octets are sent"
        return octets

    def act(self, action: str) -> None:
        """Do something, where it can be done."""
        engine = self.engine
        if engine.fault is not None or engine.has_closed:
            return
        match action:
            case "begin":
                with contextlib.suppress(NoRoomError):
                    self._sessions.append(
                        engine.begin(incoming_capacity=64 * 1024, outgoing_window=10)
                    )
            case "send to" | "receive from":
                self._attach(is_sender=action == "send to")
            case "end":
                self._end()
            case "tick" | "wait":
                self._now += _SECONDS * (1 if action == "tick" else 4)
                engine.tick(self._now)
            case "close":
                engine.close(Condition("amqp:connection:forced", "enough"))
            case "hang up":
                engine.receive_eof()
            case _:
                self._use(action)

    def _attach(self, *, is_sender: bool) -> None:
        if not self._sessions:
            return
        session, name = self._sessions[-1].proton, f"link-{next(self._names)}"
        link = session.sender(name) if is_sender else session.receiver(name)
        (link.target if is_sender else link.source).address = self._address
        link.open()
        if not is_sender:
            link.flow(2)
        self._links.append(link)

    def _use(self, action: str) -> None:
        if not self._links:
            return
        link = self._links[-1]
        match action:
            case "send" if link.is_sender and link.credit > 0:
                delivery = link.delivery(f"{next(self._names)}")
                link.stream(Message(subject="fuzz", body="body").encoded())
                link.advance()
                self._deliveries.append(delivery)
            case "receive" if link.is_receiver:
                link.flow(1)
            case "settle":
                self._settle()
            case "detach":
                link.close()
            case "free":
                self._links.pop()
                self._deliveries.clear()
                link.close()
                link.free()

    def _settle(self) -> None:
        while self._deliveries:
            delivery = self._deliveries.pop()
            self._look_at_outcome(delivery)
            delivery.settle()
        for link in self._links:
            found = None if link.is_sender else link.current
            if found is None or not found.readable or found.partial:
                continue
            with contextlib.suppress(UndecodableError):
                read = messages.read(link.recv(found.pending) or b"")
                self.texts += [repr(read)]
            found.update(Delivery.ACCEPTED)
            found.settle()

    def _look_at_outcome(self, delivery: Delivery) -> None:
        assert int(delivery.remote_state) >= 0
        self._say(Condition.of(delivery.remote.condition))

    def _end(self) -> None:
        if self._sessions:
            self._links.clear()
            self._deliveries.clear()
            session = self._sessions.pop()
            self.engine.end(session)
            assert session.is_forgotten

    def look(self) -> None:
        """Look at all states; raise `AssertionError` for what must not be."""
        engine = self.engine
        assert (
            engine.is_open
            or engine.fault
            or engine.has_closed
            or not engine.peer
            or (engine.is_closed_by_peer)
        )
        for condition in (engine.fault, engine.remote_condition):
            self._say(condition)
        for session in self._sessions:
            self._say(session.remote_condition)
            assert not session.is_open or session.windows is not None or not engine.peer
        for link in self._links:
            self._say(Condition.of(link.remote_condition))
        rest = len(engine._splitter.rest)
        assert rest < bounds.LONGEST_FRAME, f"{rest} octets of a frame are kept"
        guard = engine._guard
        kept = len(guard._by_channel) + len(guard._by_peer_channel) + len(guard._unanswered)
        assert kept <= _MOST_KEPT, f"{kept} channels are kept"

    def _say(self, condition: Condition | None) -> None:
        if condition in self._said:
            return
        self._said.add(condition)
        self.texts += [conditions.shown(condition, self.veil), repr(condition)]
        assert conditions.meaning(condition).says
        assert conditions.probe_refusal(condition).value

    def tell(self) -> None:
        """Keep all that is shown of the peer and of links."""
        peer = self.engine.peer
        if peer is not None:
            self.texts += [repr(habits.server_info(peer, self.veil))]
            self.texts += [repr(habits.properties(peer, self.veil))]
            self.texts += habits.names(peer.offered_capabilities, self.veil)
            self.texts += habits.names(peer.locales, self.veil)
        for link in self._links:
            for terminus in (link.remote_source, link.remote_target):
                self.texts += [repr(termini._terminus(terminus, self.veil))]


def run(case: Case) -> None:
    """Do one connection."""
    plan = case[0] or b"\0" if case else b"\0"
    client = Client(plan[0])
    client.output()
    client.engine.receive_header()
    actions = itertools.chain(plan[1 : _MOST_ACTIONS + 1], itertools.repeat(0))
    for octet, part in zip(actions, case[1:], strict=False):
        client.act(ACTIONS[octet % len(ACTIONS)])
        client.output()
        pieces = [part]
        if octet & 0x80:
            pieces = [bytes([each]) for each in part]
        for piece in pieces:
            client.engine.receive(piece)
        client.output()
        client.look()
    with contextlib.suppress(ProtonException):
        client.engine.receive_eof()
    client.engine.close()
    client.output()
    client.look()
    client.tell()
    client.engine.dispose()
    oracles.check_texts(client.texts, longest=64 * 1024, what="what is said of the connection")


TARGET = Target(name="amqp10", run=run, share=1, mutations=amqp10_mutations.ALL)
