"""The declared links of a connection: attached, shown, and attached again (R4.8).

Each has a task of its own. A link that is refused or detached says why, and is tried again with
growing pauses; the connection is left alone. A receiver that is not to be kept is attached, looked
at and detached, now and then: while it is attached it is a consumer, and may be the only one that
gets anything.
"""

import asyncio
import dataclasses
from collections.abc import Callable
from random import Random
from typing import Final

from springline import wheel
from springline.core.backoff import Retry, jittered, spaced_delay
from springline.drivers.amqp10 import conditions, termini
from springline.drivers.amqp10.attachments import Attachment, LinkEndedError, LinkTerms
from springline.drivers.amqp10.endpoints import EndedError
from springline.drivers.amqp10.engine import NoRoomError
from springline.drivers.amqp10.negotiated import LinkInfo
from springline.drivers.amqp10.parameters import Amqp10Parameters, LinkParameters
from springline.drivers.amqp10.terms import LinkState, Role
from springline.drivers.amqp10.wire import Wire

__all__ = ["Links"]

_ATTACH_SECONDS: Final = 30.0
"""How long to wait for an answer to Attach."""
_CREDIT_SECONDS: Final = 2.0
"""How long after Attach a broker has to give a sender its first credit."""
_LOOK_AGAIN_SECONDS: Final = 300.0
"""How often a receiver that is not kept is attached."""
_RETRY: Final = Retry(delay=2.0, max_delay=300.0, jitter=0.3)


class Links:
    """All declared links of one connection."""

    __slots__ = ("_links", "_tasks", "on_change")

    def __init__(self, wire: Wire, parameters: Amqp10Parameters) -> None:
        self.on_change: Callable[[], None] = _nothing
        """Told, in a later turn, when `infos` answers otherwise."""
        self._links = [_Kept(wire, each, parameters, self._tell) for each in parameters.links]
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Attach them, from now on."""
        loop = asyncio.get_running_loop()
        self._tasks = [
            loop.create_task(each.keep(), name=f"amqp10/link {each.info.name}")
            for each in self._links
        ]

    def stop(self) -> None:
        """Let go of them, and of who is told: the connection ends. Idempotent."""
        self.on_change = _nothing
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()

    def look(self) -> None:
        """Take in what has come."""
        for each in self._links:
            each.look()

    def infos(self) -> tuple[LinkInfo, ...]:
        """Return each as it is now, in the order of the declaration."""
        return tuple(each.info for each in self._links)

    def without_credit(self) -> tuple[str, ...]:
        """Return the names of the senders that may send nothing now."""
        return tuple(each.info.name for each in self._links if each.lacks_credit)

    def _tell(self) -> None:
        self.on_change()


class _Kept:
    """One declared link."""

    __slots__ = (
        "_attachment",
        "_credit_due",
        "_loop",
        "_parameters",
        "_rng",
        "_tell",
        "_terms",
        "_wire",
        "info",
    )

    def __init__(
        self,
        wire: Wire,
        declared: LinkParameters,
        parameters: Amqp10Parameters,
        tell: Callable[[], None],
    ) -> None:
        self._wire = wire
        self._parameters = parameters
        self._tell = tell
        self._loop = asyncio.get_running_loop()
        self._rng = Random()  # noqa: S311 - for pauses
        self._terms = LinkTerms(
            name=declared.wire_name,
            role=declared.role,
            source=declared.source,
            target=declared.target,
            delivery=declared.delivery,
            is_durable=declared.durable_subscription is not None,
        )
        self._attachment: Attachment | None = None
        self._credit_due = 0.0
        self.info = LinkInfo(
            name=declared.name,
            role=declared.role,
            state=LinkState.ATTACHING,
            durable_subscription=declared.durable_subscription,
            kept=declared.keep,
        )

    @property
    def lacks_credit(self) -> bool:
        """Whether it is a sender that is attached, and may send nothing."""
        return (
            self.info.role is Role.SENDER
            and self.info.state is LinkState.ATTACHED
            and self.info.credit == 0
            and self._loop.time() >= self._credit_due
        )

    def look(self) -> None:
        """Take in how it is now, while it is attached."""
        attachment = self._attachment
        if self.info.state is not LinkState.ATTACHED or attachment is None:
            return
        # The rest is as Attach said it. To read it again takes long, and anything may have come.
        if attachment.is_attached:
            self._show(dataclasses.replace(self.info, credit=termini.credit(attachment)))

    async def keep(self) -> None:
        """Attach it, and again whenever that is due. Ends with the connection."""
        failures = 0
        while True:
            try:
                await self._attach()
                failures = 0
                pause = jittered(_LOOK_AGAIN_SECONDS, jitter=0.2, rng=self._rng)
            except (LinkEndedError, NoRoomError, TimeoutError) as error:
                self._show_failure(error)
                failures += 1
                pause = spaced_delay(_RETRY, failures=failures, rng=self._rng)
            except EndedError:
                return
            finally:
                self._release()
            await wheel.sleep(pause)

    async def _attach(self) -> None:
        """Attach, and stay attached or detach. Raises why it came to an end by itself."""
        attachment = self._attachment = await Attachment.begin(
            self._wire,
            self._terms,
            incoming_capacity=self._parameters.incoming_capacity,
            outgoing_window=self._parameters.outgoing_window,
        )
        await attachment.attached(timeout=_ATTACH_SECONDS)
        self._credit_due = self._loop.time() + _CREDIT_SECONDS
        self._show(
            dataclasses.replace(
                termini.seen(attachment, self.info, self._wire.veil),
                state=LinkState.ATTACHED,
                message="",
            )
        )
        if not self.info.kept:
            await attachment.detach()
            self._attachment = None
            self._show(dataclasses.replace(self.info, state=LinkState.DETACHED, credit=None))
            return
        if self.info.role is Role.SENDER:
            # Whether it lacks credit then, is looked at with whatever comes; here, in any case.
            wheel.call_later(_CREDIT_SECONDS, self._look_for_credit)
        raise await attachment.ended()

    def _look_for_credit(self) -> None:
        if not self._wire.is_ending:
            self._wire.flush()

    def _show_failure(self, error: LinkEndedError | NoRoomError | TimeoutError) -> None:
        was_attached = self.info.state is LinkState.ATTACHED
        match error:
            case LinkEndedError():
                text = f"{error.what}: {conditions.shown(error.condition, self._wire.veil)}"
            case NoRoomError():
                text = str(error)
            case _:
                text = f"the broker has not answered Attach within {_ATTACH_SECONDS:g} s"
        self._show(
            dataclasses.replace(
                self.info,
                state=LinkState.DETACHED if was_attached else LinkState.REFUSED,
                credit=None,
                message=text,
            )
        )

    def _release(self) -> None:
        attachment, self._attachment = self._attachment, None
        if attachment is not None:
            attachment.release()

    def _show(self, info: LinkInfo) -> None:
        if info != self.info:
            self.info = info
            self._loop.call_soon(self._tell)


def _nothing() -> None:
    """Nobody is there to be told yet."""
