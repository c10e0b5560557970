"""`core.ports.Adapter` for HTTP: what the rest of Springline knows of the protocol."""

from dataclasses import dataclass
from typing import Final

from springline.api import v1alpha1
from springline.core import ports
from springline.drivers.http.driver import HttpDriver
from springline.drivers.http.parameters import HttpParameters
from springline.drivers.http.probe_target import HttpProbeTarget

__all__ = ["ADAPTER", "HttpAdapter"]


@dataclass(frozen=True, slots=True)
class HttpAdapter:
    """The driver of HTTP, and what is declared for it."""

    driver: ports.Driver

    def parameters(
        self, connection: v1alpha1.BrokerConnectionSpec, broker: v1alpha1.BrokerSpec, *, name: str
    ) -> HttpParameters:
        """Return what a declaration asks of the server."""
        return HttpParameters.declared(connection, broker, name=name)

    def probe_target(self, probe: v1alpha1.Probe) -> HttpProbeTarget:  # noqa: ARG002 - of the port
        """Return what a declared probe does: what is asked is in the parameters."""
        return HttpProbeTarget()


ADAPTER: Final[ports.Adapter] = HttpAdapter(HttpDriver())
"""What the table of protocols finds."""
