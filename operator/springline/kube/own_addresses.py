"""Where the API server is, as IP addresses: no declaration may have a session opened there.

They are those of the Service `kubernetes`, as every pod is told, and what the name resolves to by
which the API server is reached.
"""

import contextlib
import os
from typing import Final
from urllib.parse import urlsplit

from springline import errors
from springline.core import ports
from springline.core.addresses import is_address
from springline.core.values import Endpoint
from springline.kube.access import Access

__all__ = ["APIServerAddresses"]

_AGAIN_SECONDS: Final = 60.0
"""How often names are looked up again; the addresses behind one may change."""


class APIServerAddresses:
    """Knows the addresses of the API server; `look` before the first session, then `run`."""

    def __init__(self, access: Access, resolver: ports.Resolver, clock: ports.Clock) -> None:
        self._resolver = resolver
        self._clock = clock
        hosts = {
            urlsplit(access.configuration.host).hostname or "",
            os.environ.get("KUBERNETES_SERVICE_HOST", ""),
        }
        self._fixed = frozenset(filter(is_address, hosts))
        self._names = hosts - self._fixed - {""}
        self._found: dict[str, frozenset[str]] = {}

    def known(self) -> frozenset[str]:
        """Return the addresses as they were found last."""
        return self._fixed.union(*self._found.values())

    async def look(self) -> None:
        """Look the names up. One that is not found keeps the addresses that it had."""
        for name in self._names:
            with contextlib.suppress(errors.ConnectError):
                found = await self._resolver.addresses(Endpoint(name, 443), namespace="")
                self._found[name] = frozenset(found)

    async def run(self) -> None:
        """Look the names up again and again, until cancelled."""
        while True:
            await self._clock.sleep(_AGAIN_SECONDS)
            await self.look()
