"""`anonymous`: no login, with a broker that lets anybody in."""

from springline.core.values import Credential, CredentialKind

__all__ = ["AnonymousSource"]


class AnonymousSource:
    """Has nothing to read, as `core.ports.CredentialSource`."""

    __slots__ = ()

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:  # noqa: ARG002 - there is no other
        """Return the credential that has neither name nor secret."""
        return Credential(kind=CredentialKind.ANONYMOUS, source="anonymous")
