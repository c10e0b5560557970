"""`endpoints`: the declaration itself says where the broker is."""

from collections.abc import Sequence
from dataclasses import dataclass

from springline.core.values import Endpoint, ResolvedEndpoint

__all__ = ["DeclaredEndpoints"]


@dataclass(frozen=True, slots=True)
class DeclaredEndpoints:
    """Has nothing to ask, as `core.ports.EndpointSource`."""

    declared: tuple[Endpoint, ...]

    async def fetch(self) -> Sequence[ResolvedEndpoint]:
        """Return the endpoints in the order they are declared."""
        return [ResolvedEndpoint(endpoint) for endpoint in self.declared]
