"""`tokenRef`: a bearer token from a Secret, renewed by somebody else."""

from dataclasses import dataclass

from springline.api import v1alpha1
from springline.core import ports
from springline.core.values import Credential, CredentialKind
from springline.credentials import claims, reading
from springline.redaction import Secret

__all__ = ["TokenSource", "bearer"]


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Reads a token, as `core.ports.CredentialSource`."""

    reader: ports.ObjectReader
    namespace: str
    reference: v1alpha1.TokenReference

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:  # noqa: ARG002 - somebody else renews it
        """Return the token as the Secret has it now. Raises `CredentialError`."""
        reference = self.reference
        found = await reading.read(self.reader, self.namespace, reference.name)
        return bearer(
            reading.text(found, reference.key, name=reference.name),
            where=reading.place(reference.name, reference.key),
            source="tokenRef",
            version=found.version,
        )


def bearer(text: Secret, *, where: str, source: str, version: str) -> Credential:
    """Return the credential of a token, given as the text that was read `where`.

    Raises `CredentialError` SecretMalformed.
    """
    # Tokens are often written by tools that end the file with a line break.
    token = Secret(text.reveal().strip())
    if not token:
        raise reading.malformed(where, "holds only white space")
    claimed = claims.read(token)
    return Credential(
        kind=CredentialKind.TOKEN,
        source=source,
        username=claims.subject(claimed),
        secret=token,
        version=version,
        issued_at=claims.issued_at(claimed),
        expires_at=claims.expires_at(claimed),
    )
