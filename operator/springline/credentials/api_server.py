"""Tokens that the API server itself takes: no broker gets one, wherever it was read.

Whoever had it could act as its ServiceAccount, and a declaration names the broker. Tokens are told
by what they say of themselves; one that is no JWT cannot be told.
"""

import itertools
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final

from springline import errors
from springline.core import ports
from springline.core.values import Credential
from springline.credentials import claims
from springline.reasons import Reason
from springline.redaction import Secret

__all__ = ["USUAL_AUDIENCES", "GuardedSource", "check"]

USUAL_AUDIENCES: Final = frozenset(
    {"https://kubernetes.default.svc", "https://kubernetes.default.svc.cluster.local"}
)
"""What an API server takes for itself unless it is configured otherwise."""

# Of tokens in Secrets, which have no audience and no end.
_LEGACY_ISSUER: Final = "kubernetes/serviceaccount"
_BOUND: Final = "kubernetes.io"  # the claim of every newer one

_NOT_OF_A_TOKEN: Final = re.compile(r"[^A-Za-z0-9_.\-]+")
_MOST_LOOKED_AT: Final = 1000


@dataclass(frozen=True, slots=True)
class GuardedSource:
    """Hands on what a source gives, unless the API server would take it."""

    source: ports.CredentialSource
    tokens: ports.ServiceAccountTokens

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:
        """Return the credential. Raises `CredentialError`, SecretNotAllowed for such a token."""
        credential = await self.source.fetch(instead_of=instead_of)
        if credential.secret:
            await check(credential.secret, self.tokens, where=f"credentials.{credential.source}")
        return credential


async def check(secret: Secret, tokens: ports.ServiceAccountTokens, *, where: str) -> None:
    """Raise `CredentialError` SecretNotAllowed for a secret that the API server would take."""
    if not any(True for _ in _jwts(secret)):
        return
    audiences = await tokens.own_audiences()
    if any(_is_for(each, audiences) for each in _jwts(secret)):
        raise errors.CredentialError(
            Reason.SECRET_NOT_ALLOWED,
            f"{where} is a token that the API server itself takes: whoever gets it can act as its "
            "ServiceAccount, so no broker does; use one with an audience of its own, such as "
            "rabbitmq",
        )


def _is_for(token: Secret, audiences: Collection[str]) -> bool:
    claimed = claims.read(token)
    issuer, named = claimed.get("iss"), claims.audiences(claimed)
    if not named:
        return issuer == _LEGACY_ISSUER or _BOUND in claimed
    # Unless it is configured otherwise, an API server takes its issuer's name for its own.
    return not named.isdisjoint(audiences) or (_BOUND in claimed and issuer in named)


def _jwts(secret: Secret) -> Iterator[Secret]:
    """Yield what may be a JWT in a text, also with `Bearer` around it or line breaks inside."""
    text = secret.reveal()
    for word in (*_NOT_OF_A_TOKEN.split(text), *_NOT_OF_A_TOKEN.split("".join(text.split()))):
        parts = word.split(".")
        for start in itertools.islice(range(len(parts) - 2), _MOST_LOOKED_AT):
            found = Secret(".".join(parts[start : start + 3]))
            if claims.read(found):
                yield found
