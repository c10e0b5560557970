"""`external`: the certificate logs in, so there is nothing to read."""

from springline.core.values import CredentialKind
from springline.credentials.external import ExternalSource


async def test_credential_has_neither_name_nor_secret() -> None:
    credential = await ExternalSource().fetch()
    assert credential.kind is CredentialKind.EXTERNAL
    assert credential.source == "external"
    assert credential.username == ""
    assert not credential.secret
    assert (credential.version, credential.expires_at) == ("", None)
