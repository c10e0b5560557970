"""`secretRef`: a user name and a password from a Secret."""

from dataclasses import dataclass

from springline.api import texts, v1alpha1
from springline.core import ports
from springline.core.values import Credential, CredentialKind
from springline.credentials import reading

__all__ = ["SecretSource"]


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Reads user name and password, as `core.ports.CredentialSource`."""

    reader: ports.ObjectReader
    namespace: str
    reference: v1alpha1.SecretReference

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:  # noqa: ARG002 - somebody else renews it
        """Return the credential as the Secret has it now. Raises `CredentialError`."""
        reference = self.reference
        found = await reading.read(self.reader, self.namespace, reference.name)
        username = reading.text(found, reference.username_key, name=reference.name)
        if texts.is_too_long(username.reveal()):
            raise reading.malformed(
                reading.place(reference.name, reference.username_key),
                f"is longer than {texts.LONGEST_NAME} bytes, which no user name is",
            )
        return Credential(
            kind=CredentialKind.PASSWORD,
            source="secretRef",
            username=username.reveal(),
            secret=reading.text(found, reference.password_key, name=reference.name),
            version=found.version,
        )
