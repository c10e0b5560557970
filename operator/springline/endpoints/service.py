"""`endpointsFrom.service`: a Kubernetes Service says where the broker is."""

from collections.abc import Sequence
from dataclasses import dataclass

from springline import errors
from springline.core import ports
from springline.core.values import ResolvedEndpoint
from springline.reasons import Reason

__all__ = ["ServiceEndpoints"]


@dataclass(frozen=True, slots=True)
class ServiceEndpoints:
    """Asks for what is ready behind the Service, as `core.ports.EndpointSource`."""

    services: ports.ServiceLookup
    namespace: str
    name: str
    port: str | int

    async def fetch(self) -> Sequence[ResolvedEndpoint]:
        """Return what is ready now. Raises `ConnectError` NameResolutionFailed."""
        found = await self.services.endpoints(self.namespace, self.name, self.port)
        if not found:
            raise errors.TransientError(
                Reason.NAME_RESOLUTION_FAILED,
                f'Service "{self.name}" in namespace "{self.namespace}" has no ready endpoint',
            )
        return found
