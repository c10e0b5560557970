"""What came of opening a connection over AMQP 1.0, and how status shows it. Pure."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from springline.api import durations, texts
from springline.api.status import (
    AMQP10LinkStatus,
    AMQP10SessionStatus,
    AMQP10TerminusStatus,
    NegotiatedAMQP10Status,
    NegotiatedStatus,
)
from springline.core.values import Negotiated
from springline.drivers.amqp10.terms import (
    Distribution,
    Durability,
    Expiry,
    LinkState,
    ReceiverSettle,
    Role,
    SenderSettle,
)

__all__ = ["Amqp10Negotiated", "LinkInfo", "SessionWindows", "TerminusInfo"]

_MOST_NAMES: Final = 32
"""Capabilities or properties of a peer's that are shown; brokers have about ten."""

_MOST_FILTERS: Final = 8
"""Filters of a link that are shown, as many as can be declared."""

_LONGEST_ADDRESS: Final = 1024
"""Bytes, as an address can be declared with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TerminusInfo:
    """The settings of one end of a link, as the peer confirmed them."""

    address: str = ""
    """Empty where it has none."""
    durability: Durability = Durability.NONE
    expiry: Expiry = Expiry.SESSION_END
    timeout: timedelta = timedelta(0)
    dynamic: bool = False
    filters: tuple[str, ...] = ()
    """The names of those that the peer applies; a source only."""
    distribution: Distribution | None = None
    """A source only; None where the peer does not say."""

    def as_status(self) -> AMQP10TerminusStatus:
        """Return how status shows it, without the address."""
        return AMQP10TerminusStatus(
            durability=self.durability,
            expiry=self.expiry,
            timeout=durations.format(self.timeout),
            dynamic=self.dynamic,
            filter=_names(self.filters, limit=_MOST_FILTERS),
            distribution=self.distribution,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkInfo:
    """A declared link as it is now."""

    name: str
    """As declared."""
    role: Role
    state: LinkState
    source: TerminusInfo | None = None
    """None where the peer confirmed none."""
    target: TerminusInfo | None = None
    """None where the peer confirmed none."""
    sender_settle: SenderSettle | None = None
    """None as long as the peer has not answered; the same of what follows."""
    receiver_settle: ReceiverSettle | None = None
    credit: int | None = None
    """Messages that the link's receiver takes now."""
    max_message_size: int | None = None
    """Bytes; 0 for no limit."""
    durable_subscription: str | None = None
    kept: bool = False
    """Whether it is to stay attached."""
    message: str = ""
    """Why it was refused or detached, for people."""

    @property
    def address(self) -> str:
        """The broker's end of it, as the peer confirmed it; empty where it did not."""
        remote = self.target if self.role is Role.SENDER else self.source
        return remote.address if remote is not None else ""

    def as_status(self) -> AMQP10LinkStatus:
        """Return how status shows it."""
        return AMQP10LinkStatus(
            name=texts.shown(self.name),
            role=self.role,
            state=self.state,
            address=texts.shown(self.address, _LONGEST_ADDRESS) or None,
            source=self.source.as_status() if self.source is not None else None,
            target=self.target.as_status() if self.target is not None else None,
            sender_settle=self.sender_settle,
            receiver_settle=self.receiver_settle,
            credit=self.credit,
            max_message_size=self.max_message_size,
            durable_subscription=(
                texts.shown(self.durable_subscription)
                if self.durable_subscription is not None
                else None
            ),
            kept=self.kept,
            message=texts.shown(self.message, texts.LONGEST_MESSAGE) or None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionWindows:
    """The windows of the AMQP session, in frames."""

    incoming: int
    outgoing: int
    peer_incoming: int
    peer_outgoing: int

    def as_status(self) -> AMQP10SessionStatus:
        """Return how status shows them."""
        return AMQP10SessionStatus(
            incoming_window=self.incoming,
            outgoing_window=self.outgoing,
            peer_incoming_window=self.peer_incoming,
            peer_outgoing_window=self.peer_outgoing,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Amqp10Negotiated(Negotiated):
    """What came of Open and Begin, and of each Attach since then."""

    container_id: str
    hostname: str = ""
    """As sent; empty for none."""
    user: str = ""
    """Who is logged in, as far as that is known."""
    peer_container_id: str = ""
    idle_timeout: timedelta = timedelta(0)
    """After what silence of the peer we end it; the peer is told half of that. 0 for never."""
    peer_idle_timeout: timedelta = timedelta(0)
    """What the peer demands; 0 for none."""
    max_frame_size: int
    """Bytes of the largest frame that is taken from the peer."""
    peer_max_frame_size: int
    """Bytes of the largest frame that the peer takes."""
    channel_max: int
    peer_channel_max: int
    session: SessionWindows
    offered_capabilities: tuple[str, ...] = ()
    """The peer's."""
    desired_capabilities: tuple[str, ...] = ()
    """The peer's."""
    peer_properties: Mapping[str, str] = field(default_factory=dict)
    client_properties: Mapping[str, str] = field(default_factory=dict)
    """As sent."""
    links: tuple[LinkInfo, ...] = ()
    """In the order of the declaration."""

    def as_status(self) -> NegotiatedStatus:
        """Return `status.negotiated`."""
        return NegotiatedStatus(
            mechanism=self.mechanism,
            heartbeat=f"{self.heartbeat_seconds}s",
            client_properties=(
                _pairs(self.client_properties, limit=len(self.client_properties)) or None
            ),
            tls=self.tls.as_status() if self.tls is not None else None,
            amqp10=NegotiatedAMQP10Status(
                container_id=texts.shown(self.container_id),
                hostname=texts.shown(self.hostname) or None,
                user=texts.shown(self.user) or None,
                peer_container_id=texts.shown(self.peer_container_id) or None,
                idle_timeout=durations.format(self.idle_timeout),
                peer_idle_timeout=durations.format(self.peer_idle_timeout),
                max_frame_size=self.max_frame_size,
                peer_max_frame_size=self.peer_max_frame_size,
                channel_max=self.channel_max,
                peer_channel_max=self.peer_channel_max,
                session=self.session.as_status(),
                offered_capabilities=_names(self.offered_capabilities),
                desired_capabilities=_names(self.desired_capabilities),
                peer_properties=_pairs(self.peer_properties) or None,
                links=tuple(each.as_status() for each in self.links) or None,
            ),
        )


def _names(found: Iterable[str], *, limit: int = _MOST_NAMES) -> tuple[str, ...] | None:
    return tuple(texts.shown(each) for each in itertools.islice(found, limit)) or None


def _pairs(found: Mapping[str, str], *, limit: int = _MOST_NAMES) -> dict[str, str]:
    first = itertools.islice(found.items(), limit)
    return {texts.shown(name): texts.shown(value) for name, value in first}
