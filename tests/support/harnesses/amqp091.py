"""The harness of AMQP 0-9-1: its driver, and a scripted broker."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from pamqp import commands as spec

from springline.core import ports
from springline.core.values import Block, Credential, OpenRequest
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.drivers.amqp091.probe_target import Amqp091ProbeTarget
from springline.reasons import Reason
from support import fake_peer, opening
from support.fake_peer import Talk
from support.harness import Harness, Peer

__all__ = ["HARNESS"]


class _Amqp091Peer:
    """A scripted AMQP 0-9-1 broker."""

    def __init__(self) -> None:
        self.rejects = False
        self.answers = True
        self.answers_renewals = "yes"
        self.listening: fake_peer.FakePeer | None = None
        self._silent = asyncio.Event()

    @property
    def _talk(self) -> Talk:
        assert self.listening is not None
        return self.listening.talk

    def request(self, **changes: Any) -> OpenRequest[Any]:
        assert self.listening is not None
        return opening.request(self.listening.port, **changes)

    async def script(self, talk: Talk) -> None:
        if not self.answers:
            await talk.silent()
        await talk.greet()
        await talk.log_in()
        if self.rejects:
            talk.send(spec.Connection.Close(403, "ACCESS_REFUSED - Login was refused", 0, 0))
            await talk.until_gone()
        await talk.tune()
        talk.send(spec.Connection.OpenOk())
        await talk.served_until(self._silent, self._serve(talk))

    async def _serve(self, talk: Talk) -> None:
        answers = asyncio.ensure_future(talk.serve(update_secret=False))
        answered = 0
        try:
            while not answers.done():
                await asyncio.sleep(0.005)
                if talk.count(spec.Connection.UpdateSecret) > answered:
                    answered += 1
                    self._answer_renewal(talk)
            answers.result()
        finally:
            answers.cancel()

    def _answer_renewal(self, talk: Talk) -> None:
        if self.answers_renewals == "yes":
            talk.send(spec.Connection.UpdateSecretOk())
        elif self.answers_renewals == "no":
            text = "NOT_ALLOWED - New secret was refused by one of the backends"
            talk.send(spec.Connection.Close(530, text, 10, 70))

    def block(self, reason: str) -> None:
        self._talk.send(spec.Connection.Blocked(reason))

    def unblock(self) -> None:
        self._talk.send(spec.Connection.Unblocked())

    def close(self, text: str) -> None:
        self._talk.send(spec.Connection.Close(320, text, 0, 0))

    def drop(self) -> None:
        self._talk.reset()

    def fall_silent(self) -> None:
        self._silent.set()

    @property
    def secrets(self) -> list[str]:
        return [
            str(frame.new_secret)
            for _, frame in self._talk.received
            if isinstance(frame, spec.Connection.UpdateSecret)
        ]

    @property
    def said_goodbye(self) -> bool:
        return self._talk.last(spec.Connection.Close) is not None


class _Amqp091Harness:
    """The AMQP 0-9-1 driver."""

    renews = True
    confirms_renewals = True
    closes_as = Reason.CONNECTION_FORCED

    def __init__(self) -> None:
        self.driver: ports.Driver = Amqp091Driver()
        self.probes: Sequence[Any] = [
            Amqp091ProbeTarget(exchange="", routing_key="springline.probe", own_queue=own_queue)
            for own_queue in (False, True)
        ]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Peer]:
        peer = _Amqp091Peer()
        async with fake_peer.serving(peer.script) as listening:
            peer.listening = listening
            yield peer

    def credential(self, secret: str) -> Credential:
        return opening.password("ann", secret)

    def shown_block(self, alarm: str) -> Block:
        return opening.block(alarm)

    async def ask(self, connection: ports.Connection) -> None:
        """All is told without being asked for."""


HARNESS: Final[Callable[[], Harness]] = _Amqp091Harness
"""What the table of protocols finds."""
