"""`external`: SASL EXTERNAL, where the client certificate of the TLS handshake is the login."""

from springline.core.values import Credential, CredentialKind

__all__ = ["ExternalSource"]


class ExternalSource:
    """Has nothing to read, as `core.ports.CredentialSource`: the certificate is the broker's."""

    __slots__ = ()

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:  # noqa: ARG002 - somebody else renews it
        """Return the credential that has neither name nor secret."""
        return Credential(kind=CredentialKind.EXTERNAL, source="external")
