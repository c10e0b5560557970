"""`core.ports.Adapter` for AMQP 0-9-1: what the rest of Springline knows of the protocol."""

from dataclasses import dataclass
from typing import Final

from springline.api import v1alpha1
from springline.core import ports
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.drivers.amqp091.parameters import Amqp091Parameters
from springline.drivers.amqp091.probe_target import Amqp091ProbeTarget

__all__ = ["ADAPTER", "Amqp091Adapter"]


@dataclass(frozen=True, slots=True)
class Amqp091Adapter:
    """The driver of AMQP 0-9-1, and what is declared for it."""

    driver: ports.Driver

    def parameters(
        self, connection: v1alpha1.BrokerConnectionSpec, broker: v1alpha1.BrokerSpec, *, name: str
    ) -> Amqp091Parameters:
        """Return what a declaration asks of the broker."""
        return Amqp091Parameters.declared(connection, broker, name=name)

    def probe_target(self, probe: v1alpha1.Probe) -> Amqp091ProbeTarget:
        """Return what a declared probe publishes to."""
        return Amqp091ProbeTarget.declared(probe)


ADAPTER: Final[ports.Adapter] = Amqp091Adapter(Amqp091Driver())
"""What the table of protocols finds."""
