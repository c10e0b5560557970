"""Sends one message and tells what became of it; takes one message in."""

import itertools
from typing import Final, NamedTuple

from proton import Delivery

from springline.drivers.amqp10 import messages
from springline.drivers.amqp10.attachments import Attachment
from springline.drivers.amqp10.codec import UndecodableError
from springline.drivers.amqp10.conditions import Condition
from springline.drivers.amqp10.messages import Message
from springline.drivers.amqp10.outcomes import Outcome

__all__ = ["MAX_MESSAGE", "Sent", "receive", "send", "settle"]

MAX_MESSAGE: Final = 64 * 1024
"""Octets of a message that is taken."""

_OUTCOMES: Final = {
    Delivery.ACCEPTED: Outcome.ACCEPTED,
    Delivery.REJECTED: Outcome.REJECTED,
    Delivery.RELEASED: Outcome.RELEASED,
    Delivery.MODIFIED: Outcome.MODIFIED,
}
_RECEIVED: Final = Delivery.RECEIVED
_tags = itertools.count()


class Sent(NamedTuple):
    """What became of a message."""

    outcome: Outcome
    condition: Condition | None = None
    """Why, where the peer says so."""


async def send(
    attachment: Attachment, message: Message, *, is_settled: bool = False, timeout: float | None
) -> Sent:
    """Send a message when there is credit, and return its outcome when that has come.

    `timeout` is in seconds, for both; 0 tries, None waits for ever. Without credit in time it is
    unsent, without an outcome unacknowledged. Raises `LinkEndedError` and `EndedError`. Safe to
    cancel: what has been sent stays sent.
    """
    wire, link = attachment.wire, attachment.link
    deadline = None if timeout is None else wire.time() + timeout

    def has_credit() -> bool | None:
        attachment.check()
        return True if link.credit > 0 else None

    try:
        await wire.until(has_credit, timeout=timeout)
    except TimeoutError:
        return Sent(Outcome.UNSENT)
    delivery = link.delivery(f"{next(_tags)}")
    try:
        link.stream(message.encoded())
        if is_settled:
            delivery.settle()
        link.advance()
        wire.flush()
        if is_settled:
            return Sent(Outcome.ACCEPTED)  # nobody will say more of it

        def answered() -> Sent | None:
            sent = _outcome(delivery)
            if sent is None:
                attachment.check()
            return sent

        left = None if deadline is None else max(deadline - wire.time(), 0.0)
        return await wire.until(answered, timeout=left)
    except TimeoutError:
        return Sent(Outcome.UNACKNOWLEDGED)
    finally:
        if not is_settled:
            delivery.settle()


async def receive(
    attachment: Attachment, *, credit: int = 1, timeout: float | None
) -> tuple[Message | None, Delivery]:
    """Ask for one message, and return it with its delivery, which is to be settled (R4.16).

    With no `credit` it has been asked for already.

    None stands for a message that makes no sense, is too long, or was aborted (part 2 §2.7.5).
    Raises `TimeoutError`, `LinkEndedError` and `EndedError`.
    """
    wire, link = attachment.wire, attachment.link
    link.flow(credit)
    wire.flush()

    def arrived() -> Delivery | None:
        found = link.current
        if found is not None and (found.readable and not found.partial):
            return found
        attachment.check()
        return None

    delivery = await wire.until(arrived, timeout=timeout)
    if delivery.aborted or delivery.pending > MAX_MESSAGE:
        return None, delivery
    octets = link.recv(delivery.pending)
    try:
        return messages.read(octets or b""), delivery
    except UndecodableError:
        return None, delivery


def settle(attachment: Attachment, delivery: Delivery, *, accepts: bool) -> None:
    """Accept a message, or release it to others."""
    delivery.update(Delivery.ACCEPTED if accepts else Delivery.RELEASED)
    delivery.settle()
    attachment.wire.flush()


def _outcome(delivery: Delivery) -> Sent | None:
    state = int(delivery.remote_state)
    if state == 0 or state == _RECEIVED:
        # Settled without a word is done, and nobody knows how (§2.6.12).
        return Sent(Outcome.UNKNOWN) if delivery.settled else None
    return Sent(_OUTCOMES.get(state, Outcome.UNKNOWN), Condition.of(delivery.remote.condition))
