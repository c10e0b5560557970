"""How a credential is shown to a server: the Authorization field (RFC 9110 §11.6.2). Pure.

Whether it may be sent at all, the policy that drivers share decides (`drivers.shared.sasl`): both
schemes send the secret as it is. A field is never shown; see `messages`.
"""

import base64
import re
from typing import Final, assert_never

from springline.core.values import Credential, CredentialKind
from springline.drivers.http import bounds
from springline.drivers.http.messages import Headers
from springline.drivers.shared.sasl import MechanismTable
from springline.errors import CredentialRejectedError
from springline.reasons import Reason

__all__ = ["TABLE", "authorization", "scheme"]

_CLEAR_TEXT: Final = frozenset({"BASIC", "BEARER"})

TABLE: Final = MechanismTable(
    supported=_CLEAR_TEXT | {"EXTERNAL", "ANONYMOUS"}, clear_text=_CLEAR_TEXT
)
"""The schemes, in the words of SASL mechanisms; EXTERNAL is the client certificate alone."""

_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750 §2.1
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")  # RFC 7617 §2
_MOST: Final = bounds.MAX_REQUEST_HEADER_OCTETS // 2
"""Octets of the field; servers take less, and each says so by itself."""


def scheme(credential: Credential) -> str:
    """Return what a kind of credential is shown with, as `TABLE` names it."""
    match credential.kind:
        case CredentialKind.PASSWORD:
            return "BASIC"
        case CredentialKind.TOKEN:
            return "BEARER"
        case CredentialKind.EXTERNAL:
            return "EXTERNAL"
        case CredentialKind.ANONYMOUS:
            return "ANONYMOUS"
        case _:
            assert_never(credential.kind)


def authorization(credential: Credential) -> Headers:
    """Return the fields that show a credential; none where the transport does it.

    Raises `CredentialRejectedError` for one that the scheme has no room for.
    """
    secret = credential.secret.reveal()
    match credential.kind:
        case CredentialKind.PASSWORD:
            value = _basic(credential.username, secret)
        case CredentialKind.TOKEN:
            value = _bearer(secret)
        case CredentialKind.EXTERNAL | CredentialKind.ANONYMOUS:
            return ()
        case _:
            assert_never(credential.kind)
    if len(value) > _MOST:
        raise CredentialRejectedError(
            Reason.CREDENTIAL_TOO_LONG,
            f"the Authorization field would have {len(value)} octets, and {_MOST} are sent at most",
        )
    return ((b"authorization", value),)


def _basic(username: str, password: str) -> bytes:
    """Return user name and password in UTF-8 (RFC 7617 §2, §2.1)."""
    if ":" in username:
        raise _malformed("the user name contains a colon, which separates it from the password")
    if _CONTROL.search(username) or _CONTROL.search(password):
        raise _malformed("the user name or the password contains a control character")
    try:
        octets = f"{username}:{password}".encode()
    except UnicodeEncodeError:
        raise _malformed("the user name or the password is no text") from None
    return b"Basic " + base64.b64encode(octets)


def _bearer(token: str) -> bytes:
    if not _BEARER.fullmatch(token):
        raise _malformed("the token has characters that no bearer token has (RFC 6750 §2.1)")
    return b"Bearer " + token.encode("ascii")


def _malformed(text: str) -> CredentialRejectedError:
    return CredentialRejectedError(Reason.SECRET_MALFORMED, text)
