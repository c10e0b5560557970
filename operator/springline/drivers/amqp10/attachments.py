"""One link in a session of its own, from Attach to Detach (part 2 §2.6).

A session of its own, because a broker may end the whole session for what is wrong with a link
(RabbitMQ 4 does), and then nothing else is to suffer.
"""

import asyncio
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from proton import Delivery as ProtonDelivery
from proton import Described, Endpoint, Link, Terminus, symbol

from springline.drivers.amqp10.conditions import Condition
from springline.drivers.amqp10.endpoints import EndedError, Origin
from springline.drivers.amqp10.engine import EngineSession
from springline.drivers.amqp10.parameters import SourceParameters, TargetParameters
from springline.drivers.amqp10.terms import Delivery, Distribution, Durability, Expiry, Role
from springline.drivers.amqp10.wire import Wire

__all__ = [
    "DISTRIBUTIONS",
    "DURABILITIES",
    "EXPIRIES",
    "Attachment",
    "LinkEndedError",
    "LinkTerms",
]

DETACH_SECONDS: Final = 3.0
"""How long to wait for a peer to answer a Detach; its session is ended then in any case."""

_UNASKED: Final = Condition("amqp:link:transfer-limit-exceeded")

# Our words, and proton's for the same.
DURABILITIES: Final = {
    Durability.NONE: Terminus.NONDURABLE,
    Durability.CONFIGURATION: Terminus.CONFIGURATION,
    Durability.UNSETTLED_STATE: Terminus.DELIVERIES,
}
EXPIRIES: Final = {
    Expiry.LINK_DETACH: Terminus.EXPIRE_WITH_LINK,
    Expiry.SESSION_END: Terminus.EXPIRE_WITH_SESSION,
    Expiry.CONNECTION_CLOSE: Terminus.EXPIRE_WITH_CONNECTION,
    Expiry.NEVER: Terminus.EXPIRE_NEVER,
}
DISTRIBUTIONS: Final = {
    Distribution.MOVE: Terminus.DIST_MODE_MOVE,
    Distribution.COPY: Terminus.DIST_MODE_COPY,
}


class LinkEndedError(EndedError):
    """The link is refused, detached, or its session has ended; the connection is as it was."""

    def __init__(self, origin: Origin, condition: Condition | None, *, what: str) -> None:
        super().__init__(origin, condition)
        self.what = what
        """What the peer did, as part of a sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkTerms:
    """What a link is asked to be."""

    name: str
    """Between both containers, one for each direction."""
    role: Role
    source: SourceParameters = field(default_factory=SourceParameters)
    target: TargetParameters = field(default_factory=TargetParameters)
    delivery: Delivery = Delivery.AT_LEAST_ONCE
    is_durable: bool = False
    """Whether the peer is to keep its end when the link is detached, and is never told to close
    it: a durable subscription."""
    properties: Mapping[str, Any] = field(default_factory=dict)


class Attachment:
    """A link that is asked for. Attach, use, and release it, whatever has come of it."""

    __slots__ = ("_is_ours", "_is_released", "link", "session", "terms", "wire")

    def __init__(
        self,
        wire: Wire,
        terms: LinkTerms,
        *,
        session: EngineSession,
        is_its_own: bool = False,
    ) -> None:
        """Send Attach in a session, which ends with the link if it is the link's own."""
        wire.require_open()
        self.wire = wire
        self.terms = terms
        self._is_ours = is_its_own
        self._is_released = False
        self.session = session
        self.link = self._attached()

    @classmethod
    async def begin(
        cls,
        wire: Wire,
        terms: LinkTerms,
        *,
        incoming_capacity: int,
        outgoing_window: int,
        timeout: float = math.inf,
    ) -> Self:
        """Send Attach in a session of its own, as `Wire.begin` begins one. Safe to cancel."""
        session = await wire.begin(
            incoming_capacity=incoming_capacity, outgoing_window=outgoing_window, timeout=timeout
        )
        return cls(wire, terms, session=session, is_its_own=True)

    def _attached(self) -> Link:
        terms, proton = self.terms, self.session.proton
        is_sender = terms.role is Role.SENDER
        link = proton.sender(terms.name) if is_sender else proton.receiver(terms.name)
        _set_source(link.source, terms.source)
        _set_target(link.target, terms.target)
        # The shorthands of R4.13: settled or unsettled, and first.
        is_settled = terms.delivery is Delivery.AT_MOST_ONCE
        link.snd_settle_mode = Link.SND_SETTLED if is_settled else Link.SND_UNSETTLED
        link.rcv_settle_mode = Link.RCV_FIRST
        if terms.properties:
            link.properties = {symbol(name): value for name, value in terms.properties.items()}
        link.open()
        return link

    # What has come of it

    @property
    def is_attached(self) -> bool:
        """Whether both sides have attached it, to something, and none has detached."""
        state = self.link.state
        if not state & Endpoint.LOCAL_ACTIVE or not state & Endpoint.REMOTE_ACTIVE:
            return False
        if self._is_detached:
            return False
        return self._has_terminus and self.session.is_open

    @property
    def _has_terminus(self) -> bool:
        """Whether the peer's end is there: an Attach without it is a refusal (§2.6.3)."""
        remote = self.link.remote_target if self.link.is_sender else self.link.remote_source
        return bool(remote.type != Terminus.UNSPECIFIED)

    @property
    def _is_detached(self) -> bool:
        """Whether the peer has detached it, for good or not (§2.6.4)."""
        key = (self.terms.name, self.terms.role is Role.SENDER)
        return bool(self.link.state & Endpoint.REMOTE_CLOSED) or key in self.session.detached

    def end(self) -> LinkEndedError | None:
        """Return how the peer has ended it, or broken it, None if it has not."""
        # What it says of the link comes first: it may end the session of a refused one, too.
        if self._is_detached:
            what = "the broker detached it" if self._has_terminus else "the broker refused it"
            return LinkEndedError(
                Origin.REMOTE, Condition.of(self.link.remote_condition), what=what
            )
        if self.session.is_ended_by_peer:
            return LinkEndedError(
                Origin.REMOTE, self.session.remote_condition, what="the broker ended the session"
            )
        if not self.link.is_sender and self.link.queued > self.link.credit:
            return LinkEndedError(
                Origin.LOCAL, _UNASKED, what="the broker sent a message that was not asked for"
            )
        return None

    async def attached(self, *, timeout: float | None) -> None:
        """Wait until it is attached. Raises `LinkEndedError`, `EndedError` and `TimeoutError`."""

        def looked() -> bool | None:
            self.check()
            return True if self.is_attached else None

        self.wire.flush()
        await self.wire.until(looked, timeout=timeout)

    def check(self) -> None:
        """Raise `LinkEndedError` if the peer has ended it."""
        end = self.end()
        if end is not None:
            raise end

    async def ended(self) -> LinkEndedError:
        """Wait until the peer ends it. Raises `EndedError` when the connection ends."""
        return await self.wire.until(self.end)

    # Letting go

    async def detach(self, *, timeout: float = DETACH_SECONDS) -> None:
        """Say Detach, wait for the peer's, and release. Safe to cancel."""
        try:
            if self.end() is None and not self.wire.is_ending:
                self._say_detach()
                self.wire.flush()
                await self.wire.until(lambda: self._is_gone or None, timeout=timeout)
        except (TimeoutError, EndedError):
            pass  # releasing it ends it in any case
        finally:
            self.release()

    def _give_back(self) -> None:
        """Release what has come and was not taken: settled without a word, it might be lost."""
        while not self.link.is_sender and (found := self.link.current) is not None:
            found.update(ProtonDelivery.RELEASED)
            found.settle()

    def _say_detach(self) -> None:
        if self.terms.is_durable:
            self.link.detach()
        else:
            self.link.close()

    @property
    def _is_gone(self) -> bool:
        return self._is_detached or self.session.is_ended_by_peer

    def release(self) -> None:
        """Let go of it at once, without waiting for the peer. Idempotent.

        A session of its own is ended, which is sent in a later turn. Whoever has brought the
        session ends it, and flushes the wire.
        """
        if self._is_released:
            return
        self._is_released = True
        if not self.wire.is_ending:
            self._give_back()
            self._say_detach()
        self.link.free()
        if not self._is_ours:
            return
        self.wire.engine.end(self.session)
        if not self.wire.is_ending:
            asyncio.get_running_loop().call_soon(self.wire.flush)


def _set_target(terminus: Terminus, wanted: TargetParameters) -> None:
    if wanted.address is not None:
        terminus.address = wanted.address
    terminus.durability = DURABILITIES[wanted.durability]
    terminus.expiry_policy = EXPIRIES[wanted.expiry]
    terminus.timeout = wanted.timeout_seconds
    terminus.dynamic = wanted.dynamic


def _set_source(terminus: Terminus, wanted: SourceParameters) -> None:
    _set_target(terminus, wanted)
    if wanted.distribution is not None:
        terminus.distribution_mode = DISTRIBUTIONS[wanted.distribution]
    if wanted.filters:
        # A filter is described by what it is (§3.5.8), and called so here, too.
        terminus.filter.put_object(
            {symbol(name): Described(symbol(name), text) for name, text in wanted.filters}
        )
