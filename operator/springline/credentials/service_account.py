"""`serviceAccount`: tokens of a ServiceAccount, which the API server issues for one audience.

Connections of a namespace that declare the same share a token, and so the requests for it. Nothing
keeps it but memory: after a restart there is a new one.
"""

import functools
from datetime import timedelta

from springline.api import v1alpha1
from springline.core import deadline, ports
from springline.core.values import Credential, CredentialKind
from springline.credentials import claims, lifetimes
from springline.credentials.issued import SharedIssuer, SharedIssuers

__all__ = ["ServiceAccountSources"]


class ServiceAccountSources:
    """Makes sources that have tokens issued; what is declared alike in a namespace has one."""

    def __init__(self, tokens: ports.ServiceAccountTokens, clock: ports.Clock) -> None:
        self._tokens = tokens
        self._clock = clock
        self._shared: SharedIssuers[SharedIssuer] = SharedIssuers()

    def source(
        self, namespace: str, reference: v1alpha1.ServiceAccountReference
    ) -> ports.CredentialSource:
        """Return the source of what is declared in a namespace."""
        key = (namespace, reference.name, reference.audience, reference.expiration)
        issue = functools.partial(self._issue, namespace, reference)
        return self._shared.shared(key, lambda: SharedIssuer(issue, self._clock))

    async def _issue(
        self, namespace: str, reference: v1alpha1.ServiceAccountReference
    ) -> Credential:
        """Return a new credential. Raises `CredentialError`."""
        # The token is younger than this, so it does not expire before we think.
        asked = deadline.instant(self._clock)
        token = await self._tokens.issue(
            namespace,
            reference.name,
            audience=reference.audience,
            seconds=int(reference.expiration.total_seconds()),
        )
        claimed = claims.read(token.value)
        # Without `iat`, which the API server never leaves out, its end says nothing of a lifetime.
        begins = claims.issued_at(claimed)
        seconds = token.lifetime
        if begins is not None:
            shortest = lifetimes.shortest(seconds, claimed, sent_at=None, now=begins)
            seconds = seconds if shortest is None else shortest
        return Credential(
            kind=CredentialKind.TOKEN,
            source="serviceAccount",
            username=claims.subject(claimed),
            secret=token.value,
            issued_at=asked.wall,
            expires_at=asked.wall + timedelta(seconds=seconds),
            received=asked,
        )
