"""Everything that a session reads before an attempt, as its declaration says.

Credentials, certificates and endpoints each have a package with one module for each source; this
puts them together for the manager.
"""

from springline.core import ports
from springline.core.addresses import AddressPolicy
from springline.core.desired import SessionSpec
from springline.credentials.api_server import GuardedSource
from springline.credentials.sources import CredentialSources
from springline.endpoints.sources import EndpointSources

__all__ = ["DeclaredSources"]


class DeclaredSources:
    """Makes the sources that declarations name, as `core.manager.Sources`."""

    def __init__(
        self,
        reader: ports.ObjectReader,
        *,
        clock: ports.Clock,
        resolver: ports.Resolver,
        addresses: AddressPolicy,
        services: ports.ServiceLookup,
        tokens: ports.ServiceAccountTokens,
        token_files: ports.TokenFiles,
    ) -> None:
        self._tokens = tokens
        self._credentials = CredentialSources(
            reader,
            clock=clock,
            tokens=tokens,
            token_files=token_files,
            resolver=resolver,
            addresses=addresses,
        )
        self._endpoints = EndpointSources(reader, resolver=resolver, services=services)

    def credentials(self, spec: SessionSpec) -> ports.CredentialSource:
        """Return the source of what the session logs in with."""
        return GuardedSource(self._credentials.credentials(spec), self._tokens)

    def tls(self, spec: SessionSpec) -> ports.TLSSource:
        """Return the source of the broker's certificates."""
        return self._credentials.tls(spec)

    def endpoints(self, spec: SessionSpec) -> ports.EndpointSource:
        """Return the source of the broker's endpoints."""
        return self._endpoints.endpoints(spec)
