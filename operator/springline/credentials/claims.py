"""What a JWT says of itself (RFC 7519), unverified.

The token is the broker's to judge. What is read here only tells people whose it is and until when
it is valid, and Springline when to see to the next one.
"""

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from springline.api import texts
from springline.redaction import Secret

__all__ = ["audiences", "expires_at", "issued_at", "read", "subject"]


def read(token: Secret) -> Mapping[str, Any]:
    """Return the claims of a JWT (RFC 7519 §3), or none for a token of another kind."""
    parts = token.reveal().split(".")
    if len(parts) != 3:
        return {}
    payload = parts[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def audiences(claims: Mapping[str, Any]) -> frozenset[str]:
    """Return for whom it is: `aud` (RFC 7519 §4.1.3), one or several."""
    value = claims.get("aud")
    listed = value if isinstance(value, list) else [value]
    return frozenset(each for each in listed if isinstance(each, str))


def subject(claims: Mapping[str, Any]) -> str:
    """Return whom RabbitMQ takes the token's bearer for by default: `sub`, else `client_id`."""
    for claim in ("sub", "client_id"):
        value = claims.get(claim)
        # Printable: it is shown, and sent as a user name, and nobody has verified it.
        if not isinstance(value, str) or not value.isprintable():
            continue
        if value and not texts.is_too_long(value):
            return value
    return ""


def issued_at(claims: Mapping[str, Any]) -> datetime | None:
    """Return `iat` (RFC 7519 §4.1.6), None where it is no time or comes after the expiry."""
    issued, expiry = _time(claims, "iat"), expires_at(claims)
    return None if issued is None or (expiry is not None and issued >= expiry) else issued


def expires_at(claims: Mapping[str, Any]) -> datetime | None:
    """Return `exp` (RFC 7519 §4.1.4), None where it is no time."""
    return _time(claims, "exp")


def _time(claims: Mapping[str, Any], claim: str) -> datetime | None:
    value = claims.get(claim)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(value, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None
