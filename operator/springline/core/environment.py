"""What every session of a process shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

from springline.core import metering, ports
from springline.core.addresses import AddressPolicy
from springline.core.events import EventSink
from springline.core.fair_turns import FairTurns
from springline.core.limits import Limits
from springline.core.verification import Verifications

__all__ = ["Environment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Adapters by protocol, name lookup, time, randomness, where events go, which addresses may be
    connected to, who counts, what is limited, and what is known of credentials.
    """

    adapters: Mapping[str, ports.Adapter]
    resolver: ports.Resolver
    clock: ports.Clock
    rng: Random | None
    """None leaves nothing to chance: retry delays and the interval of probes are as declared."""
    events: EventSink
    addresses: AddressPolicy = field(default_factory=AddressPolicy)
    meter: ports.Meter = metering.NO_METER
    limits: Limits = field(default_factory=Limits)
    turns: FairTurns = field(init=False)
    """Whose turn it is to connect, by these limits."""
    verifications: Verifications = field(default_factory=Verifications)

    def __post_init__(self) -> None:
        object.__setattr__(self, "turns", FairTurns(self.limits.attempts_at_once))  # it is frozen
