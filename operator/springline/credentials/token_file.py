"""`tokenFile`: a bearer token from a file, renewed by somebody else."""

from dataclasses import dataclass

from springline.api import v1alpha1
from springline.core import ports
from springline.core.values import Credential
from springline.credentials import reading, token

__all__ = ["TokenFileSource"]


@dataclass(frozen=True, slots=True)
class TokenFileSource:
    """Reads a token, as `core.ports.CredentialSource`."""

    files: ports.TokenFiles
    namespace: str
    reference: v1alpha1.TokenFile

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:  # noqa: ARG002 - somebody else renews it
        """Return the token as the file has it now. Raises `CredentialError`."""
        found = await self.files.read(self.namespace, self.reference.name)
        where = reading.place_of_file(found.path)
        return token.bearer(
            reading.usable(found.content, where=where),
            where=where,
            source="tokenFile",
            version=found.version,
        )
