"""The harness of AMQP 1.0: its driver, and a scripted broker that says it is RabbitMQ."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from springline.core import ports
from springline.core.values import Block, Credential, OpenRequest
from springline.drivers.amqp10.adapter import ADAPTER
from springline.drivers.amqp10.parameters import ProbeParameters
from springline.drivers.amqp10.probe_target import Amqp10ProbeTarget
from springline.reasons import Reason
from support import amqp10_opening, amqp10_peer, opening
from support.amqp10_broker import Broker, Reply
from support.amqp10_peer import Amqp10Peer, Amqp10Talk
from support.amqp10_types import error
from support.harness import Harness, Peer

__all__ = ["HARNESS"]

_WINDOW: Final = 2048
_CLOSED: Final = (
    "the broker has closed the session's incoming window, as RabbitMQ does while an alarm holds"
)


class _Amqp10Peer:
    """A scripted broker, with the words and the habits of RabbitMQ 4.3."""

    def __init__(self) -> None:
        self.rejects = False
        self.answers = True
        self.answers_renewals = "yes"
        self.listening: Amqp10Peer | None = None
        self._silent = asyncio.Event()
        self._broker = Broker(
            opened={"properties": {"product": "RabbitMQ", "version": "4.3.6"}},
            management=self._reply,
        )

    @property
    def _talk(self) -> Amqp10Talk:
        assert self.listening is not None
        return self.listening.talk

    def request(self, **changes: Any) -> OpenRequest[Any]:
        assert self.listening is not None
        probe = ProbeParameters(address="/queues/springline.probe", receive=True)
        return amqp10_opening.request(self.listening.port, **{"probe": probe, **changes})

    async def script(self, talk: Amqp10Talk) -> None:
        if not self.answers:
            await talk.silent()
        self._broker.users = {} if self.rejects else None
        await talk.talk.served_until(self._silent, self._broker(talk))

    def _reply(self, token: str) -> Reply:  # noqa: ARG002 - the test decides
        refusal = error("amqp:unauthorized-access", "signature_invalid")
        return {
            "yes": Reply(),
            "no": Reply(close=refusal),
            "never": Reply(status=None),
        }[self.answers_renewals]

    def block(self, reason: str) -> None:  # noqa: ARG002 - the protocol has no words for it
        self._set_window(0)

    def unblock(self) -> None:
        self._set_window(_WINDOW)

    def _set_window(self, frames: int) -> None:
        for session in self._talk.sessions.values():
            self._talk.flow(session, incoming_window=frames)

    def close(self, text: str) -> None:
        self._talk.close(error("amqp:connection:forced", text))

    def drop(self) -> None:
        self._talk.reset()

    def fall_silent(self) -> None:
        self._silent.set()

    @property
    def secrets(self) -> list[str]:
        return self._broker.tokens

    @property
    def said_goodbye(self) -> bool:
        return self._talk.last("close") is not None


class _Amqp10Harness:
    """The AMQP 1.0 driver."""

    renews = True
    confirms_renewals = True
    closes_as = Reason.CONNECTION_FORCED

    def __init__(self) -> None:
        self.driver: ports.Driver = ADAPTER.driver
        self.probes: Sequence[Any] = [Amqp10ProbeTarget()]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Peer]:
        peer = _Amqp10Peer()
        async with amqp10_peer.serving(peer.script) as listening:
            peer.listening = listening
            yield peer

    def credential(self, secret: str) -> Credential:
        return opening.password("ann", secret)

    def shown_block(self, alarm: str) -> Block:  # noqa: ARG002 - one is like the other
        return Block(reason=Reason.WINDOW_CLOSED, text=_CLOSED)

    async def ask(self, connection: ports.Connection) -> None:
        """All is told without being asked for."""


HARNESS: Final[Callable[[], Harness]] = _Amqp10Harness
"""What the table of protocols finds."""
