"""`endpointsFrom.dnsSRV`: SRV records say where the broker is."""

from collections.abc import Sequence
from dataclasses import dataclass

from springline.core import ports
from springline.core.values import ResolvedEndpoint

__all__ = ["SRVEndpoints"]


@dataclass(frozen=True, slots=True)
class SRVEndpoints:
    """Asks DNS, as `core.ports.EndpointSource`."""

    resolver: ports.Resolver
    name: str

    async def fetch(self) -> Sequence[ResolvedEndpoint]:
        """Return the endpoints in the order to try (RFC 2782). Raises `TransientError`."""
        return [ResolvedEndpoint(endpoint) for endpoint in await self.resolver.services(self.name)]
