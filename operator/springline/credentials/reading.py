"""What every source that reads a Secret shares: finding it, its key, and usable text in it."""

from springline import errors
from springline.api.meta import Identity
from springline.core import ports
from springline.reasons import Reason
from springline.redaction import Secret

__all__ = ["read", "text"]


async def read(reader: ports.ObjectReader, namespace: str, name: str) -> ports.DataObject:
    """Return the Secret. Raises `CredentialError` SecretNotFound."""
    found = await reader.read(Identity("Secret", namespace, name))
    if found is None:
        raise errors.CredentialError(
            Reason.SECRET_NOT_FOUND,
            f'there is no Secret "{name}" in namespace "{namespace}"; create it',
        )
    return found


def text(found: ports.DataObject, key: str, *, name: str) -> Secret:
    """Return the text under `key`: not empty, UTF-8, without NUL.

    Raises `CredentialError` SecretKeyMissing or SecretMalformed, whose texts never hold the value.
    """
    value = found.get(key)
    if value is None:
        raise errors.CredentialError(
            Reason.SECRET_KEY_MISSING, f'Secret "{name}" has no key "{key}"; add it'
        )
    if not value:
        raise _malformed(name, key, "is empty")
    if b"\0" in value:
        # SASL PLAIN separates its parts with NUL (RFC 4616).
        raise _malformed(name, key, "holds a NUL byte, which no login can carry")
    try:
        return Secret(value.decode())
    except UnicodeDecodeError:
        # Not chained: the original error holds the value.
        raise _malformed(name, key, "is not UTF-8 text") from None


def _malformed(name: str, key: str, finding: str) -> errors.CredentialError:
    return errors.CredentialError(
        Reason.SECRET_MALFORMED, f'key "{key}" of Secret "{name}" {finding}; correct it'
    )
