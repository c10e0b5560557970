"""What an AMQP 0-9-1 probe publishes to, and what is to be done where that is refused. Pure."""

from dataclasses import dataclass
from typing import Self

from springline.api import v1alpha1
from springline.errors import ProbeRefusal, ProbeRefusedError

__all__ = ["Amqp091ProbeTarget"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Amqp091ProbeTarget:
    """Where a probe goes, as `core.protocol_values.ProbeTarget`."""

    exchange: str
    """Does not matter with `own_queue`."""
    routing_key: str
    """With `own_queue`, what the name of that queue begins with."""
    own_queue: bool = False
    """Whether it goes into a queue that is the connection's own."""

    @classmethod
    def declared(cls, probe: v1alpha1.Probe) -> Self:
        """Return what a declaration asks for."""
        return cls(
            exchange=probe.exchange,
            routing_key=probe.routing_key,
            own_queue=probe.mode == "OwnQueue",
        )

    def refusal(self, error: ProbeRefusedError) -> str:
        """Say what was refused, what that means, and what to do about it."""
        if self.own_queue:
            advice = "set spec.probe.mode to Publish or None"
            if error.why is ProbeRefusal.NO_PERMISSION:
                advice = (
                    "let the user configure queues whose names begin with "
                    f'"{self.routing_key}." and write to amq.default, or {advice}'
                )
            return (
                f"the probe's own queue was refused ({error}), so a block would go unseen; {advice}"
            )
        exchange = f'exchange "{self.exchange}"' if self.exchange else "the default exchange"
        return (
            f"the probe's publish to {exchange} was refused ({error}), so a block would go unseen; "
            "let the user write there, set spec.probe.exchange, or set spec.probe.mode to None"
        )
