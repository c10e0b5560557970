"""The probe of an AMQP 1.0 connection: has the broker take something in, and tells what it did.

With an address, that is a message, and with `receive` it is taken back. Without one nothing is
sent: where a broker shows a block by a session's window, it is asked for a session.
"""

import uuid
from typing import Final

from springline.drivers.amqp10 import conditions, sending
from springline.drivers.amqp10.attachments import Attachment, LinkEndedError, LinkTerms
from springline.drivers.amqp10.engine import NoRoomError
from springline.drivers.amqp10.habits import Broker
from springline.drivers.amqp10.messages import Message
from springline.drivers.amqp10.outcomes import Outcome
from springline.drivers.amqp10.parameters import (
    Amqp10Parameters,
    ProbeParameters,
    SourceParameters,
    TargetParameters,
)
from springline.drivers.amqp10.probe_target import NothingToSendError
from springline.drivers.amqp10.sending import Sent
from springline.drivers.amqp10.terms import Role
from springline.drivers.amqp10.wire import Wire
from springline.errors import ProbeRefusal, ProbeRefusedError

__all__ = ["Probe"]

_NAME: Final = "springline-probe"
_MOST_STRANGE: Final = 8
"""Messages of others that are released before it is said that the node is not the probe's own."""
_INCOMING_CAPACITY: Final = 128 * 1024
_OUTGOING_WINDOW: Final = 16


class Probe:
    """Probes one connection, one probe at a time; keeps its sender attached in between."""

    __slots__ = ("_broker", "_declared", "_sender", "_wire")

    def __init__(self, wire: Wire, parameters: Amqp10Parameters, broker: Broker) -> None:
        self._wire = wire
        self._declared = parameters.probe
        self._broker = broker
        self._sender: Attachment | None = None

    async def run(self, *, lifetime: float | None, timeout: float) -> float:
        """Return the seconds until the broker has taken something in.

        Raises `ProbeRefusedError`, `TimeoutError` and `EndedError`. Safe to cancel.
        """
        began = self._wire.time()
        deadline = began + timeout
        declared = self._declared
        try:
            if declared is None:
                return await self._ask_for_session(began, timeout)
            sent, message = await self._send(declared, lifetime, deadline)
            self._judge(sent)
            seconds = self._wire.time() - began
            if declared.receive:
                await self._take_back(declared, message, deadline)
        except LinkEndedError as error:
            self._release()
            raise self._refused(error) from None
        except NoRoomError as error:
            raise ProbeRefusedError(ProbeRefusal.LIMIT, str(error)) from None
        return seconds

    # Without an address

    async def _ask_for_session(self, began: float, timeout: float) -> float:
        """Begin a session and end it: the broker shows by its window whether it is blocked."""
        if not self._broker.shows_blocks:
            raise NothingToSendError
        wire = self._wire
        async with wire.session(
            incoming_capacity=_INCOMING_CAPACITY, outgoing_window=_OUTGOING_WINDOW, timeout=timeout
        ) as session:
            wire.flush()
            await wire.until(
                lambda: session.is_open or session.is_ended_by_peer or None, timeout=timeout
            )
            if session.is_ended_by_peer:
                condition = session.remote_condition
                text = f"a session was ended: {conditions.shown(condition, wire.veil)}"
                raise ProbeRefusedError(conditions.probe_refusal(condition), text)
            return wire.time() - began

    # With an address

    async def _send(
        self, declared: ProbeParameters, lifetime: float | None, deadline: float
    ) -> tuple[Sent, Message]:
        sender = self._sender
        if sender is None or not sender.is_attached:
            self._release()
            sender = self._sender = await self._attach(
                Role.SENDER, deadline, target=TargetParameters(address=declared.address)
            )
        await sender.attached(timeout=self._wire.left(deadline))
        message = Message(message_id=f"{_NAME}-{uuid.uuid4()}", ttl=lifetime)
        return await sending.send(sender, message, timeout=self._wire.left(deadline)), message

    def _judge(self, sent: Sent) -> None:
        """Raise what it means if the message was not accepted (R4.9)."""
        said = (
            f": {conditions.shown(sent.condition, self._wire.veil)}"
            if sent.condition is not None
            else ""
        )
        match sent.outcome:
            case Outcome.ACCEPTED:
                return
            case Outcome.UNSENT:
                raise ProbeRefusedError(
                    ProbeRefusal.TROUBLE, "unsent: the broker gave no credit for a message in time"
                )
            case Outcome.UNACKNOWLEDGED:
                raise TimeoutError
            case Outcome.REJECTED:
                why = (
                    conditions.probe_refusal(sent.condition)
                    if sent.condition is not None
                    else ProbeRefusal.OTHER
                )
                raise ProbeRefusedError(why, f"rejected{said}")
            case Outcome.RELEASED:
                raise ProbeRefusedError(
                    ProbeRefusal.PLACE_MISSING, "released: nothing there takes the message"
                )
            case Outcome.MODIFIED:
                raise ProbeRefusedError(
                    ProbeRefusal.TROUBLE, "modified: the message could not be delivered"
                )
            case _:
                raise ProbeRefusedError(
                    ProbeRefusal.OTHER, f"unknown: an outcome that is not of AMQP 1.0{said}"
                )

    async def _take_back(
        self, declared: ProbeParameters, message: Message, deadline: float
    ) -> None:
        """Take our own message and nothing else; release what belongs to others."""
        receiver = await self._attach(
            Role.RECEIVER, deadline, source=SourceParameters(address=declared.address)
        )
        try:
            await receiver.attached(timeout=self._wire.left(deadline))
            for _ in range(_MOST_STRANGE):
                found, delivery = await sending.receive(receiver, timeout=self._wire.left(deadline))
                is_ours = found is not None and found.message_id == message.message_id
                # Of a probe before, whose answer was too late.
                is_left_over = found is not None and found.message_id.startswith(_NAME)
                sending.settle(receiver, delivery, accepts=is_ours or is_left_over)
                if is_ours:
                    return
        finally:
            receiver.release()
        raise ProbeRefusedError(
            ProbeRefusal.OTHER,
            "the node has messages of others, so that the probe's own did not come back;"
            " use one that nobody else sends to",
        )

    async def _attach(
        self,
        role: Role,
        deadline: float,
        *,
        source: SourceParameters | None = None,
        target: TargetParameters | None = None,
    ) -> Attachment:
        terms = LinkTerms(
            name=f"{_NAME}-{role.lower()}",
            role=role,
            source=source or SourceParameters(),
            target=target or TargetParameters(),
        )
        return await Attachment.begin(
            self._wire,
            terms,
            incoming_capacity=_INCOMING_CAPACITY,
            outgoing_window=_OUTGOING_WINDOW,
            timeout=self._wire.left(deadline),
        )

    def _refused(self, error: LinkEndedError) -> ProbeRefusedError:
        text = f"{error.what}: {conditions.shown(error.condition, self._wire.veil)}"
        return ProbeRefusedError(conditions.probe_refusal(error.condition), text)

    def _release(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.release()
