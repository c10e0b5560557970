"""Until when token endpoints want to be left alone by a client, for all who are that client.

Declarations that differ in their scopes or their audience have tokens of their own, and the server
still counts them as one client. Another client, or the same with another secret, is not held back,
and no namespace is by what another one does.
"""

from dataclasses import dataclass

from springline import errors
from springline.core import ports
from springline.credentials.issued import MOST_RETRY_AFTER_SECONDS
from springline.credentials.token_endpoint import Client
from springline.redaction import Secret

__all__ = ["EndpointLimits", "RateLimits"]

_Key = tuple[str, str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Limit:
    """What a client was told."""

    secret: Secret
    until: float
    """By the monotonic clock."""
    error: errors.CredentialError


class RateLimits:
    """Remembers, for the sources of a process, who is not to ask before when."""

    def __init__(self, clock: ports.Clock) -> None:
        self._clock = clock
        self._limits: dict[_Key, _Limit] = {}

    def of(self, namespace: str, url: str) -> "EndpointLimits":
        """Return those of the clients of a namespace at a token endpoint."""
        return EndpointLimits(self, namespace, url)

    def check(self, key: _Key, client: Client) -> None:
        """Raise what the client was told last, if it is not to ask yet."""
        limit = self._limits.get(key)
        now = self._clock.monotonic()
        if limit is None or limit.secret != client.secret or limit.until <= now:
            return
        told = limit.error
        raise type(told)(told.reason, told.message, retry_after=limit.until - now)

    def note(self, key: _Key, client: Client, error: errors.CredentialError) -> None:
        """Take down what a client was told, if it says how long to wait."""
        now = self._clock.monotonic()
        self._limits = {each: limit for each, limit in self._limits.items() if limit.until > now}
        if error.retry_after:
            told = type(error)(error.reason, error.message)
            until = now + min(error.retry_after, MOST_RETRY_AFTER_SECONDS)
            self._limits[key] = _Limit(secret=client.secret, until=until, error=told)


class EndpointLimits:
    """The limits of the clients that a namespace has at one token endpoint."""

    def __init__(self, limits: RateLimits, namespace: str, url: str) -> None:
        self._limits = limits
        self._where = (namespace, url)

    def check(self, client: Client) -> None:
        """Raise `CredentialError` if the client is not to ask yet."""
        self._limits.check((*self._where, client.identifier), client)

    def note(self, client: Client, error: errors.CredentialError) -> None:
        """Take down how long the client is to wait, if the error says so."""
        self._limits.note((*self._where, client.identifier), client, error)
