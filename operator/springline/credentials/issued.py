"""Credentials that somebody issues on request: asked for once, and shared.

A thousand sessions with the same declaration are one client of whoever issues their tokens. They
share the credential, the request for the next one, and the pause after a request that failed. Who
issues, and how, is the business of the sources that use this.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Hashable
from datetime import timedelta
from typing import Final, Generic, TypeVar

from springline import errors
from springline.api.times import rfc3339
from springline.core import lifetime, ports
from springline.core.values import Credential
from springline.reasons import Reason

__all__ = ["SharedIssuer", "SharedIssuers"]

Source = TypeVar("Source", bound=ports.CredentialSource)

FIRST_PAUSE_SECONDS: Final = 1.0
LONGEST_PAUSE_SECONDS: Final = 30.0
MOST_RETRY_AFTER_SECONDS: Final = 3600.0
"""Whoever wants to be left alone for longer is asked again after this."""

# What is valid for less than this would expire on the way to the broker.
MARGIN: Final = timedelta(seconds=10)
MARGIN_OF_LIFETIME: Final = 0.1


class SharedIssuer:
    """Issues for all who declare the same, as `core.ports.CredentialSource`."""

    def __init__(self, issue: Callable[[], Awaitable[Credential]], clock: ports.Clock) -> None:
        """`issue` returns a new credential or raises `CredentialError`, and ends by itself."""
        self._issue = issue
        self._clock = clock
        self._issued: Credential | None = None
        self._request: asyncio.Task[Credential | errors.CredentialError] | None = None
        self._waiting = 0
        # What the last request failed with, and until when nobody asks again.
        self._failure: errors.CredentialError | None = None
        self._failures = 0
        self._paused_until = 0.0

    @property
    def valid(self) -> Credential | None:
        """What was issued last, None where it has expired."""
        issued = self._issued
        return None if issued is None or lifetime.has_expired(issued, self._clock) else issued

    async def fetch(self, *, instead_of: Credential | None = None) -> Credential:
        """Return what was issued, or have it issued. Raises `CredentialError`.

        Safe to cancel: the request goes on for the others who wait for it.
        """
        issued = self._fresh
        if issued is not None and not (instead_of and issued.same_value(instead_of)):
            return issued
        answer = await self._answer()
        if isinstance(answer, errors.CredentialError):
            if instead_of is None and self.valid is not None:
                return self.valid
            # One of its own for each who asked: an error grows a traceback wherever it is raised.
            raise type(answer)(answer.reason, answer.message)
        if instead_of is not None and answer.same_value(instead_of):
            raise _the_same_again()
        return answer

    def _margin(self) -> timedelta:
        """Return how long what was issued must still be valid to be worth handing out."""
        issued = self._issued
        if issued is None or issued.issued_at is None or issued.expires_at is None:
            return MARGIN
        return min(MARGIN, (issued.expires_at - issued.issued_at) * MARGIN_OF_LIFETIME)

    @property
    def _fresh(self) -> Credential | None:
        """What was issued last, as long as it is not about to expire by either clock."""
        issued = self._issued
        ends = lifetime.end(issued) if issued is not None else None
        return None if ends and ends.is_near(self._clock, margin=self._margin()) else issued

    async def _answer(self) -> Credential | errors.CredentialError:
        """Return what comes of the one request that all who wait share."""
        if self._request is None or self._request.done():
            if self._failure is not None and self._clock.monotonic() < self._paused_until:
                return self._failure
            # No task group: it belongs to whoever waits for it, and ends with the last of them.
            self._request = asyncio.create_task(self._ask(), name="issue")
            self._waiting = 0
        request = self._request
        self._waiting += 1
        try:
            await asyncio.wait({request})
        finally:
            # A cancelled request may have a successor with waiters of its own by now.
            if self._request is request:
                self._waiting -= 1
                if not self._waiting:
                    self._request = None
                    if request.cancel():
                        await asyncio.wait({request})
        return request.result()

    async def _ask(self) -> Credential | errors.CredentialError:
        try:
            issued = lifetime.received(await self._issue(), self._clock)
        except errors.CredentialError as error:
            return self._failed(error)
        before, self._issued = self._issued, issued
        if before is not None and before.same_value(issued):
            return self._failed(_the_same_again())
        self._failure, self._failures = None, 0
        return issued

    def _failed(self, error: errors.CredentialError) -> errors.CredentialError:
        pause = min(FIRST_PAUSE_SECONDS * 2**self._failures, LONGEST_PAUSE_SECONDS)
        self._failures = min(self._failures + 1, 16)  # far beyond the longest pause
        message = error.message
        wanted = min(error.retry_after or 0.0, MOST_RETRY_AFTER_SECONDS)
        if wanted > pause:
            pause = wanted
            again = self._clock.now() + timedelta(seconds=pause)
            message = f"{message}; it is not asked again before {rfc3339(again)} (Retry-After)"
        self._paused_until = self._clock.monotonic() + pause
        self._failure = type(error)(error.reason, message)
        return self._failure


class SharedIssuers(Generic[Source]):
    """What declarations that are alike share, by key, for as long as a session's source has it."""

    def __init__(self) -> None:
        self._sources: weakref.WeakValueDictionary[Hashable, Source] = weakref.WeakValueDictionary()

    def shared(self, key: Hashable, make: Callable[[], Source]) -> Source:
        """Return the one of this key, made anew if nobody has it."""
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = make()
        return source


def _the_same_again() -> errors.CredentialUnavailableError:
    return errors.CredentialUnavailableError(
        Reason.TOKEN_REQUEST_FAILED, "the issuer gave the same token as before, not a new one"
    )
