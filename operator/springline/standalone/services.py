"""Kubernetes Services, where there is no Kubernetes."""

from collections.abc import Sequence

from springline import errors
from springline.core.values import ResolvedEndpoint
from springline.reasons import Reason

__all__ = ["NoServices"]


class NoServices:
    """Says that there are none, as `core.ports.ServiceLookup`."""

    __slots__ = ()

    async def endpoints(
        self, namespace: str, name: str, port: str | int
    ) -> Sequence[ResolvedEndpoint]:
        """Raise `RejectedError` NameResolutionFailed, always."""
        raise errors.RejectedError(
            Reason.NAME_RESOLUTION_FAILED,
            f'port {port} of Service "{name}" in namespace "{namespace}" can only be looked up in '
            "a cluster; use endpoints or endpointsFrom.dnsSRV here",
        )
