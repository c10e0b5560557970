"""`core.ports.Adapter` for Echo: what the rest of Springline knows of the protocol."""

from dataclasses import dataclass
from typing import Final

from springline.api import v1alpha1
from springline.core import ports
from springline.drivers.echo.driver import EchoDriver
from springline.drivers.echo.parameters import EchoParameters
from springline.drivers.echo.probe_target import EchoProbeTarget

__all__ = ["ADAPTER"]


@dataclass(frozen=True, slots=True)
class EchoAdapter:
    """The driver of Echo, and what is declared for it."""

    driver: ports.Driver

    def parameters(
        self, connection: v1alpha1.BrokerConnectionSpec, broker: v1alpha1.BrokerSpec, *, name: str
    ) -> EchoParameters:
        """Return what a declaration asks of the hub."""
        return EchoParameters.declared(connection, broker, name=name)

    def probe_target(self, probe: v1alpha1.Probe) -> EchoProbeTarget:  # noqa: ARG002 - of the port
        """Return what a declared probe does: it has nothing to choose."""
        return EchoProbeTarget()


ADAPTER: Final[ports.Adapter] = EchoAdapter(EchoDriver())
"""What the table of protocols finds."""
