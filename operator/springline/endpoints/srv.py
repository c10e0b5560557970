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
    namespace: str
    """The one of the connection."""
    own_domain: bool
    """Whether hosts outside of the domain of the name are left out: where a certificate is
    expected to have the name of the host that DNS gives, a forged record must not choose it."""

    async def fetch(self) -> Sequence[ResolvedEndpoint]:
        """Return the endpoints in the order to try (RFC 2782).

        Raises `TransientError` NameResolutionFailed and `RejectedError` TLSFailed.
        """
        found = await self.resolver.services(
            self.name, namespace=self.namespace, own_domain=self.own_domain
        )
        return [ResolvedEndpoint(endpoint) for endpoint in found]
