"""From a declaration to its sources. A new source of credentials is added here."""

from springline.core import ports
from springline.core.desired import SessionSpec
from springline.credentials.certificates import CertificateSource, PreparedClients
from springline.credentials.external import ExternalSource
from springline.credentials.secret import SecretSource
from springline.credentials.token import TokenSource

__all__ = ["CredentialSources"]


class CredentialSources:
    """Makes the sources of credentials and certificates that declarations name."""

    def __init__(self, reader: ports.ObjectReader) -> None:
        self._reader = reader
        self._clients = PreparedClients()

    def credentials(self, spec: SessionSpec) -> ports.CredentialSource:
        """Return the source of the one kind of credentials that is declared."""
        declared = spec.credentials
        if declared.secret_ref is not None:
            return SecretSource(self._reader, spec.key.namespace, declared.secret_ref)
        if declared.token_ref is not None:
            return TokenSource(self._reader, spec.key.namespace, declared.token_ref)
        return ExternalSource()

    def tls(self, spec: SessionSpec) -> ports.TLSSource:
        """Return the source of the broker's certificates."""
        return CertificateSource(self._reader, self._clients, spec.key.namespace, spec.target.tls)
