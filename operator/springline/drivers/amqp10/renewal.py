"""Renews the secret of a live connection, in the ways that brokers have for that.

AMQP 1.0 has none of its own. RabbitMQ takes a token at its management node from 4.1 on; brokers
with claims-based security take one at `$cbs`. Which of them, if any, is decided by what the broker
has said of itself, before anything is sent: RabbitMQ 4.0 ends the session that a token is sent on,
and says the token in doing so.
"""

import uuid
from typing import Final

from springline.core.values import Credential, CredentialKind
from springline.drivers.amqp10 import conditions, sending
from springline.drivers.amqp10.attachments import Attachment, LinkEndedError, LinkTerms
from springline.drivers.amqp10.endpoints import EndedError
from springline.drivers.amqp10.engine import EngineSession, NoRoomError
from springline.drivers.amqp10.habits import Broker
from springline.drivers.amqp10.mechanisms import TABLE
from springline.drivers.amqp10.messages import Message
from springline.drivers.amqp10.outcomes import Outcome
from springline.drivers.amqp10.parameters import SourceParameters, TargetParameters
from springline.drivers.amqp10.terms import Delivery, Role
from springline.drivers.amqp10.wire import Wire
from springline.errors import (
    NotOpenError,
    SecretNotSentError,
    SecretRefusedError,
    SecretUpdateTimeoutError,
)

__all__ = ["Renewal"]

_MANAGEMENT: Final = "/management"
_CBS: Final = "$cbs"
_CONFIRM_SECONDS: Final = 2.0
"""RabbitMQ answers 204 and closes for a token that it refuses, in either order; within a few
milliseconds on a machine with nothing else to do."""
_INCOMING_CAPACITY: Final = 128 * 1024
_OUTGOING_WINDOW: Final = 64
_TAKEN: Final = frozenset({200, 202})


class BlockedSecretUpdateError(SecretUpdateTimeoutError):
    """The broker takes nothing in, so the secret was not even sent."""

    def __str__(self) -> str:
        return "the broker takes nothing in at the moment, so the new secret was not sent"


class Renewal:
    """Renews one connection, one secret at a time."""

    __slots__ = ("_broker", "_host", "_is_unanswered", "_wire", "impossible")

    def __init__(
        self, wire: Wire, broker: Broker, *, offers_cbs: bool, host: str, mechanism: str
    ) -> None:
        self._wire = wire
        self._broker = broker
        self._host = host
        self._is_unanswered = False
        """Whether a secret was sent that the broker may still refuse, by closing."""
        self.impossible = _withheld(mechanism) or ("" if offers_cbs else _impossible(broker))
        """Why there is no way, as part of a sentence; empty if there is one."""

    async def run(self, credential: Credential, session: EngineSession, *, timeout: float) -> None:
        """Have the broker take a secret; the connection is as it was if it does not, or closed.

        Raises as `core.ports.Connection.renew` has it. Safe to cancel.
        """
        secret = credential.secret.reveal()
        if not secret:
            raise SecretNotSentError("this credential has no secret")
        if self._is_unanswered:
            raise SecretUpdateTimeoutError(seconds=timeout)
        if self.impossible:
            raise SecretNotSentError(self.impossible)
        if session.windows is not None and session.windows.incoming == 0:
            raise BlockedSecretUpdateError(seconds=timeout)
        self._wire.veil.note(credential.secret)
        deadline = self._wire.time() + timeout
        try:
            await self._ask(credential.kind, secret, deadline)
        except SecretNotSentError:
            self._is_unanswered = False
            raise
        except TimeoutError:
            raise SecretUpdateTimeoutError(seconds=timeout) from None
        except EndedError:
            raise self._refused() from None
        self._is_unanswered = False

    async def _ask(self, kind: CredentialKind, secret: str, deadline: float) -> None:
        """Ask in the way that the broker has, and wait for the answer."""
        try:
            if self._broker.takes_tokens_at_management:
                await self._at_management(secret, deadline)
            elif kind is CredentialKind.TOKEN:
                await self._at_cbs(secret, deadline)
            else:
                raise SecretNotSentError("claims-based security takes tokens, and this is none")
        except LinkEndedError as error:
            shown = conditions.shown(error.condition, self._wire.veil)
            raise SecretNotSentError(f"{error.what}: {shown}") from None
        except NoRoomError as error:
            raise SecretNotSentError(str(error)) from None
        await self._confirmed()

    # The ways

    async def _at_management(self, token: str, deadline: float) -> None:
        request = Message(
            message_id=f"{uuid.uuid4()}",
            to="/auth/tokens",
            subject="PUT",
            reply_to="$me",
            body=token.encode(),
        )
        # A pair: both links have one name, and the node answers over the other one.
        properties = {"paired": True}
        name = f"springline-{uuid.uuid4()}"
        answer = await self._asked(
            request,
            deadline,
            sender=LinkTerms(
                name=name,
                role=Role.SENDER,
                source=SourceParameters(address=_MANAGEMENT),
                target=TargetParameters(address=_MANAGEMENT),
                delivery=Delivery.AT_MOST_ONCE,
                properties=properties,
            ),
            receiver=LinkTerms(
                name=name,
                role=Role.RECEIVER,
                source=SourceParameters(address=_MANAGEMENT),
                target=TargetParameters(address=_MANAGEMENT),
                delivery=Delivery.AT_MOST_ONCE,
                properties=properties,
            ),
        )
        if answer.subject != "204":
            raise SecretNotSentError(f"the broker answered {self._shown(answer.subject)}")

    async def _at_cbs(self, token: str, deadline: float) -> None:
        reply_to = f"springline-{uuid.uuid4()}"
        request = Message(
            message_id=f"{uuid.uuid4()}",
            to=_CBS,
            reply_to=reply_to,
            application={
                "operation": "put-token",
                "type": "jwt",
                "name": f"amqp://{self._host}",
            },
            body=token,
        )
        answer = await self._asked(
            request,
            deadline,
            sender=LinkTerms(
                name=f"{reply_to}-sender",
                role=Role.SENDER,
                target=TargetParameters(address=_CBS),
            ),
            receiver=LinkTerms(
                name=f"{reply_to}-receiver",
                role=Role.RECEIVER,
                source=SourceParameters(address=_CBS),
                target=TargetParameters(address=reply_to),
            ),
        )
        status = answer.application.get("status-code")
        if not isinstance(status, int) or status not in _TAKEN:
            said = self._shown(str(answer.application.get("status-description") or ""))
            code = status if isinstance(status, int) else "no status code"
            raise SecretNotSentError(f"the broker answered {code} {said}".rstrip())

    async def _asked(
        self, request: Message, deadline: float, *, sender: LinkTerms, receiver: LinkTerms
    ) -> Message:
        """Send a request over one link, and return what comes back over the other one."""
        wire = self._wire
        async with wire.session(
            incoming_capacity=_INCOMING_CAPACITY,
            outgoing_window=_OUTGOING_WINDOW,
            timeout=wire.left(deadline),
        ) as session:
            to = Attachment(wire, sender, session=session)
            back = Attachment(wire, receiver, session=session)
            try:
                return await self._exchanged(request, deadline, to=to, back=back)
            finally:
                to.release()
                back.release()

    async def _exchanged(
        self, request: Message, deadline: float, *, to: Attachment, back: Attachment
    ) -> Message:
        """Send the request when both links are attached, and wait for its answer."""
        wire = self._wire
        await to.attached(timeout=wire.left(deadline))
        await back.attached(timeout=wire.left(deadline))
        back.link.flow(1)
        self._is_unanswered = True  # until it is
        sent = await sending.send(
            to,
            request,
            is_settled=to.terms.delivery is Delivery.AT_MOST_ONCE,
            timeout=wire.left(deadline),
        )
        if sent.outcome is not Outcome.ACCEPTED:
            raise _not_taken(sent.outcome)
        answer, delivery = await sending.receive(back, credit=0, timeout=wire.left(deadline))
        sending.settle(back, delivery, accepts=True)
        if answer is None or answer.correlation_id not in ("", request.message_id):
            raise SecretNotSentError("the broker answered something that is no answer to it")
        return answer

    async def _confirmed(self) -> None:
        """Wait whether the broker closes after all. Raises `EndedError` if it does."""
        if not self._broker.takes_tokens_at_management:
            return
        try:
            await self._wire.until(lambda: None, timeout=_CONFIRM_SECONDS)
        except TimeoutError:
            return

    # Words

    def _refused(self) -> NotOpenError | SecretRefusedError:
        """Return what it means that the connection has ended meanwhile."""
        condition = self._wire.engine.remote_condition
        if condition is None or not conditions.blames_secret(condition):
            return NotOpenError()
        return SecretRefusedError(conditions.shown(condition, self._wire.veil))

    def _shown(self, text: str) -> str:
        return conditions.shown_text(text, self._wire.veil)


def _not_taken(outcome: Outcome) -> Exception:
    if outcome in (Outcome.UNSENT, Outcome.UNACKNOWLEDGED):
        return TimeoutError()
    return SecretNotSentError(f"the broker has not taken it: {outcome.value}")


def _withheld(mechanism: str) -> str:
    """Return why no secret may be sent as it is: the login did without, perhaps without TLS.

    Then what a peer says of itself in Open may be from anybody on the way.
    """
    if mechanism in TABLE.clear_text:
        return ""
    return f"the login ({mechanism}) does not send the secret, and a renewal would"


def _impossible(broker: Broker) -> str:
    if broker.takes_tokens_at_management:
        return ""
    if broker.is_rabbitmq:
        return "RabbitMQ renews a secret over AMQP 1.0 from version 4.1 on"
    return "this broker offers no way of renewing a secret over AMQP 1.0"
