"""Attempts in a row: how they are spaced, and how each is told as it goes on."""

from collections.abc import Sequence

from springline import errors
from springline.core import backoff
from springline.core.attempt import attempting_message
from springline.core.backoff import Retry
from springline.core.desired import SessionSpec
from springline.core.environment import Environment
from springline.core.events import EventType
from springline.core.keeper import Keeper
from springline.core.reporter import Reporter
from springline.core.values import Credential, Endpoint

__all__ = ["Cycle"]


class Cycle:
    """The attempts of one session since it was last open or declared; told how far each is.

    As `core.attempt.Progress`. Spaced start to start, so that a slow refusal is not also a slow
    retry.
    """

    __slots__ = (
        "_environment",
        "_is_announced",
        "_keeper",
        "_last_start",
        "_left_alone_until",
        "_report",
        "_spec",
    )

    def __init__(self, environment: Environment, reporter: Reporter, keeper: Keeper) -> None:
        self._environment = environment
        self._report = reporter
        self._keeper = keeper
        self._spec: SessionSpec | None = None
        self._last_start: float | None = None
        self._left_alone_until = 0.0
        self._is_announced = False

    def attempt(self, spec: SessionSpec) -> None:
        """Take in what the next attempt is for."""
        self._spec, self._left_alone_until = spec, 0.0

    def failed(self, error: errors.ConnectError | errors.CredentialError) -> None:
        """Take in why the last attempt failed, and how long the broker wants to be left alone."""
        if isinstance(error, errors.ConnectError) and error.retry_after:
            self._left_alone_until = self._environment.clock.monotonic() + error.retry_after

    def end(self) -> None:
        """Take in that the next attempt is the first of another cycle."""
        self._is_announced = False

    def until_next(self, retry: Retry, *, failures: int, slowly: bool) -> float:
        """Return the seconds until the next attempt may start; `slowly` after the longest delay."""
        if self._last_start is None:
            return 0.0
        rng = self._environment.rng
        if slowly:
            delay = backoff.slow_delay(retry, rng=rng)
        else:
            delay = backoff.spaced_delay(retry, failures=failures, rng=rng)
        starts = max(self._last_start + delay, self._left_alone_until)
        return max(starts - self._environment.clock.monotonic(), 0.0)

    def until_allowed(self) -> float:
        """Return the seconds until an attempt may start that nothing else is to wait for."""
        if self._last_start is None:
            return 0.0
        least = self._environment.limits.least_retry_delay
        return max(self._last_start + least - self._environment.clock.monotonic(), 0.0)

    # Progress

    async def started(self) -> None:
        """Note when, and announce the first attempt of a cycle."""
        self._last_start = self._environment.clock.monotonic()
        if not self._is_announced and self._spec is not None:
            self._is_announced = True
            await self._report.emit(EventType.ATTEMPTING, attempting_message(self._spec))

    def fetched(self, credential: Credential) -> None:
        """Have it shown as what is tried."""
        self._keeper.try_out(credential)

    async def resolved(self, endpoint: Endpoint, addresses: Sequence[str]) -> None:
        """Tell where the endpoint is."""
        message = f"{endpoint} is at {', '.join(addresses)}"
        await self._report.emit(EventType.OBTAINED_ADDRESS, message)
