"""`tokenRef`: a bearer token from a Secret, renewed by somebody else.

The token is the broker's to judge. What is read from it here, unverified, only tells people whose
it is and until when it is valid.
"""

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from springline.api import v1alpha1
from springline.core import ports
from springline.core.values import Credential, CredentialKind
from springline.credentials import reading
from springline.redaction import Secret

__all__ = ["TokenSource"]


@dataclass(frozen=True, slots=True)
class TokenSource:
    """Reads a token, as `core.ports.CredentialSource`."""

    reader: ports.ObjectReader
    namespace: str
    reference: v1alpha1.TokenReference

    async def fetch(self) -> Credential:
        """Return the token as the Secret has it now. Raises `CredentialError`."""
        reference = self.reference
        found = await reading.read(self.reader, self.namespace, reference.name)
        token = reading.text(found, reference.key, name=reference.name)
        # Tokens are often written by tools that end the file with a line break.
        token = Secret(token.reveal().strip())
        if not token:
            raise reading.malformed(reference.name, reference.key, "holds only white space")
        claims = _claims(token)
        return Credential(
            kind=CredentialKind.TOKEN,
            source="tokenRef",
            username=_subject(claims),
            secret=token,
            version=found.version,
            expires_at=_expiry(claims),
        )


def _claims(token: Secret) -> Mapping[str, Any]:
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


def _subject(claims: Mapping[str, Any]) -> str:
    """Return whom RabbitMQ takes the token's bearer for by default: `sub`, else `client_id`."""
    for claim in ("sub", "client_id"):
        value = claims.get(claim)
        # Printable: it is shown, and sent as a user name, and nobody has verified it.
        if isinstance(value, str) and value and value.isprintable():
            return value
    return ""


def _expiry(claims: Mapping[str, Any]) -> datetime | None:
    value = claims.get("exp")
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    try:
        return datetime.fromtimestamp(value, tz=UTC)
    except (OverflowError, OSError, ValueError):
        return None
