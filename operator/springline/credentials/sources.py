"""From a declaration to its sources. A new source of credentials is added here."""

from springline.core import ports
from springline.core.addresses import AddressPolicy
from springline.core.desired import SessionSpec
from springline.credentials.anonymous import AnonymousSource
from springline.credentials.certificates import CertificateSource, PreparedClients
from springline.credentials.external import ExternalSource
from springline.credentials.oauth2 import OAuth2Sources
from springline.credentials.secret import SecretSource
from springline.credentials.service_account import ServiceAccountSources
from springline.credentials.token import TokenSource
from springline.credentials.token_file import TokenFileSource

__all__ = ["CredentialSources"]


class CredentialSources:
    """Makes the sources of credentials and certificates that declarations name."""

    def __init__(
        self,
        reader: ports.ObjectReader,
        *,
        clock: ports.Clock,
        tokens: ports.ServiceAccountTokens,
        token_files: ports.TokenFiles,
        resolver: ports.Resolver,
        addresses: AddressPolicy,
    ) -> None:
        self._reader = reader
        self._service_accounts = ServiceAccountSources(tokens, clock)
        self._token_files = token_files
        self._clients = PreparedClients(now=lambda: clock.now().timestamp())
        self._oauth2 = OAuth2Sources(
            reader, self._clients, clock, tokens, resolver=resolver, addresses=addresses
        )

    def credentials(self, spec: SessionSpec) -> ports.CredentialSource:
        """Return the source of the one kind of credentials that is declared."""
        declared, namespace = spec.credentials, spec.key.namespace
        if declared.secret_ref is not None:
            return SecretSource(self._reader, namespace, declared.secret_ref)
        if declared.token_ref is not None:
            return TokenSource(self._reader, namespace, declared.token_ref)
        if declared.token_file is not None:
            return TokenFileSource(self._token_files, namespace, declared.token_file)
        if declared.oauth2 is not None:
            return self._oauth2.source(namespace, declared.oauth2)
        if declared.service_account is not None:
            return self._service_accounts.source(namespace, declared.service_account)
        if declared.anonymous is not None:
            return AnonymousSource()
        return ExternalSource()

    def tls(self, spec: SessionSpec) -> ports.TLSSource:
        """Return the source of the broker's certificates."""
        target = spec.target
        return CertificateSource(
            self._reader,
            self._clients,
            spec.key.namespace,
            target.tls,
            alpn=target.parameters.alpn,
        )
