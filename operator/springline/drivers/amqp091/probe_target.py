"""What an AMQP 0-9-1 probe publishes to, and what is to be done where that is refused. Pure."""

from dataclasses import dataclass
from typing import Self

from springline.api import v1alpha1
from springline.drivers.amqp091 import replies
from springline.drivers.amqp091.replies import Close
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

    @property
    def uses_default_exchange(self) -> bool:
        """Whether it publishes to the exchange that every virtual host has."""
        return self.own_queue or not self.exchange

    def judged(self, error: ProbeRefusedError) -> ProbeRefusedError:
        """Return what a refusal means here.

        The default exchange is there as long as the virtual host is (AMQP 0-9-1 §3.1.3.1).
        """
        if error.why is ProbeRefusal.PLACE_MISSING and self.uses_default_exchange:
            return ProbeRefusedError(ProbeRefusal.TROUBLE, error.text)
        return error

    def cost(self, close: Close) -> str:
        """Say that the probe has cost the connection, and what to do about it."""
        advice = "set spec.probe.mode to None"
        if replies.is_channel_limit(close):
            advice = f"let the user open one channel more, or {advice}"
        return (
            f"the broker ended the connection because of the probe ({close.code} {close.shown}), "
            f"so the session goes without one and a block would go unseen; {advice}"
        )

    def refusal(self, error: ProbeRefusedError) -> str:
        """Say what was refused, what that means, and what to do about it."""
        if error.why is ProbeRefusal.TROUBLE:
            return f"the broker could not take in the probe ({error}); it is tried again"
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
