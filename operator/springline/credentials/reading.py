"""What the sources share that read a Secret or a file: finding it, and usable text in it."""

from pathlib import Path

from springline import errors
from springline.api.meta import Identity
from springline.core import ports
from springline.reasons import Reason
from springline.redaction import Secret

__all__ = ["malformed", "place", "place_of_file", "read", "text", "usable"]


async def read(reader: ports.ObjectReader, namespace: str, name: str) -> ports.DataObject:
    """Return the Secret.

    Raises `CredentialError` SecretNotFound, SecretNotAllowed, or SecretUnreadable, which may pass.
    """
    try:
        found = await reader.read(Identity("Secret", namespace, name))
    except errors.ObjectUnavailableError as error:
        raise errors.CredentialUnavailableError(Reason.SECRET_UNREADABLE, str(error)) from error
    except errors.ObjectNotAllowedError as error:
        raise errors.CredentialError(Reason.SECRET_NOT_ALLOWED, str(error)) from error
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
    return usable(value, where=place(name, key))


def usable(value: bytes, *, where: str) -> Secret:
    """Return the text of a value: not empty, UTF-8, without NUL.

    Raises `CredentialError` SecretMalformed, whose text says `where` and never holds the value.
    """
    if not value:
        raise malformed(where, "is empty")
    if b"\0" in value:
        # SASL PLAIN separates its parts with NUL (RFC 4616).
        raise malformed(where, "holds a NUL byte, which no login can carry")
    try:
        return Secret(value.decode())
    except UnicodeDecodeError:
        pass
    # Outside of `except`: the original error holds the value, and would be this one's context.
    raise malformed(where, "is not UTF-8 text")


def place(name: str, key: str) -> str:
    """Say where in a Secret a value is."""
    return f'key "{key}" of Secret "{name}"'


def place_of_file(path: Path | str) -> str:
    """Say which file it is."""
    return f'file "{path}"'


def malformed(where: str, finding: str) -> errors.CredentialError:
    """Return the error for a value that cannot be used. `finding` follows its place."""
    return errors.CredentialError(Reason.SECRET_MALFORMED, f"{where} {finding}; correct it")
