"""`core.ports.Adapter` for AMQP 1.0: what the rest of Springline knows of the protocol."""

from dataclasses import dataclass
from typing import Any, Final

from springline.api import v1alpha1
from springline.core import ports
from springline.core.values import OpenRequest
from springline.drivers.amqp10.parameters import Amqp10Parameters
from springline.drivers.amqp10.probe_target import Amqp10ProbeTarget

__all__ = ["ADAPTER", "Amqp10Adapter"]


class _Driver:
    """`core.ports.Driver` that imports its library when somebody connects: it may be missing."""

    async def open(self, request: OpenRequest[Any]) -> ports.Connection:
        """Open a connection, as `core.ports.Driver` has it."""
        from springline.drivers.amqp10.driver import Amqp10Driver  # noqa: PLC0415 - see the class

        return await Amqp10Driver().open(request)


@dataclass(frozen=True, slots=True)
class Amqp10Adapter:
    """The driver of AMQP 1.0, and what is declared for it."""

    driver: ports.Driver

    def parameters(
        self, connection: v1alpha1.BrokerConnectionSpec, broker: v1alpha1.BrokerSpec, *, name: str
    ) -> Amqp10Parameters:
        """Return what a declaration asks of the broker."""
        return Amqp10Parameters.declared(connection, broker, name=name)

    def probe_target(self, probe: v1alpha1.Probe) -> Amqp10ProbeTarget:  # noqa: ARG002 - of the port
        """Return what a declared probe does: where it sends to is in the parameters."""
        return Amqp10ProbeTarget()


ADAPTER: Final[ports.Adapter] = Amqp10Adapter(_Driver())
"""What the table of protocols finds."""
