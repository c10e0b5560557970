"""The helper tasks of one session: they do the waiting, the session does the deciding.

There are four roles, and at most one helper of each: an attempt, a timer for the next one, a
prober, a renewal. They live in the session's task group, so none outlives it, and all they find
out goes into the session's inbox.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence

from springline import errors
from springline.core import ports, probing, renewal, state
from springline.core.attempt import Means, Progress, Success, attempt
from springline.core.desired import ProbeSettings
from springline.core.environment import Environment
from springline.core.messages import (
    AttemptEnded,
    Confirmed,
    ConnectionNews,
    Desired,
    Message,
    RenewalEnded,
    TimerRang,
)
from springline.core.values import Credential, Endpoint, SessionKey
from springline.reasons import Reason

__all__ = ["Helpers"]

logger = logging.getLogger(__name__)


class Helpers:
    """Starts and ends the helper tasks of one session."""

    __slots__ = ("_environment", "_group", "_key", "_post", "_tasks")

    def __init__(
        self,
        key: SessionKey,
        environment: Environment,
        group: asyncio.TaskGroup,
        post: Callable[[Message], None],
    ) -> None:
        self._key = key
        self._environment = environment
        self._group = group
        self._post = post
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def drop(self, role: str) -> None:
        """End the helper of that role, if any, and return when it is gone."""
        task = self._tasks.pop(role, None)
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def drop_all(self) -> None:
        """End every helper and return when they are gone."""
        for role in tuple(self._tasks):
            await self.drop(role)

    async def ring_after(self, seconds: float, *, number: int) -> None:
        """Post `TimerRang` with `number` after so many seconds; at once if there are none."""
        await self.drop("timer")
        if seconds <= 0:
            self._post(TimerRang(number))
        else:
            self._start("timer", self._ring_after(seconds, number))

    async def attempt(self, desired: Desired, progress: Progress, *, number: int) -> None:
        """Make one attempt and post `AttemptEnded` with `number`."""
        await self.drop("attempt")
        self._start("attempt", self._attempt(desired, progress, number))

    async def probe(self, connection: ports.Connection, settings: ProbeSettings | None) -> None:
        """Probe the connection from now on, or no longer."""
        await self.drop("prober")
        if settings is not None:
            self._start("prober", self._probe(connection, settings))

    async def renew(self, desired: Desired, live: Success) -> None:
        """Bring the credential as it stands to the live session and post `RenewalEnded`."""
        await self.drop("renewal")
        self._start("renewal", self._renew(desired, live))

    @property
    def is_renewing(self) -> bool:
        """Whether a renewal is under way."""
        task = self._tasks.get("renewal")
        return task is not None and not task.done()

    def _start(self, role: str, work: Coroutine[None, None, None]) -> None:
        self._tasks[role] = self._group.create_task(work, name=f"{role}/{self._key}")

    async def _ring_after(self, seconds: float, number: int) -> None:
        await self._environment.clock.sleep(seconds)
        self._post(TimerRang(number))

    async def _attempt(self, desired: Desired, progress: Progress, number: int) -> None:
        result: Success | errors.ConnectError | errors.CredentialError
        try:
            result = await attempt(desired.spec, self._means(desired), progress)
        except (errors.ConnectError, errors.CredentialError) as error:
            result = error
        except Exception:  # the top of a task: a defect ends the attempt, not the session
            logger.exception("attempt failed unexpectedly", extra={"session": self._key})
            result = errors.TransientError(
                Reason.INTERNAL_ERROR, "an internal error ended the attempt; see Springline's log"
            )
        self._post(AttemptEnded(number, result))

    async def _probe(self, connection: ports.Connection, settings: ProbeSettings) -> None:
        def confirmed(seconds: float) -> None:
            self._environment.meter.probed(seconds)
            self._post(ConnectionNews(connection, Confirmed(seconds)))

        def unanswered() -> None:
            news = state.ProbeUnanswered(seconds=settings.timeout)
            self._post(ConnectionNews(connection, news))

        try:
            refusal = await probing.probe_forever(
                connection,
                settings,
                clock=self._environment.clock,
                rng=self._environment.rng,
                confirmed=confirmed,
                unanswered=unanswered,
            )
        except Exception:  # the top of a task: without its probe the session is still worth keeping
            logger.exception("probe failed unexpectedly", extra={"session": self._key})
            refusal = "the probe ended with an internal error; see Springline's log"
        if refusal:
            self._post(ConnectionNews(connection, state.ProbeRefused(message=refusal)))

    async def _renew(self, desired: Desired, live: Success) -> None:
        def refused(error: errors.ConnectError | errors.CredentialError) -> None:
            self._post(ConnectionNews(live.connection, state.RenewalRefused(error=error)))

        try:
            outcome = await renewal.renew(
                live,
                desired.spec,
                self._means(desired),
                _Silent(),
                rng=self._environment.rng,
                refused=refused,
            )
        except Exception:  # the top of a task: the live connection keeps its credential
            logger.exception("renewal failed unexpectedly", extra={"session": self._key})
            return
        if outcome is not None:
            self._post(RenewalEnded(live, outcome))

    def _means(self, desired: Desired) -> Means:
        return Means(
            driver=self._environment.drivers[desired.spec.target.protocol],
            resolver=self._environment.resolver,
            clock=self._environment.clock,
            credentials=desired.credentials,
            tls=desired.tls,
            endpoints=desired.endpoints,
            limit=desired.limit,
            meter=self._environment.meter,
        )


class _Silent:
    """Progress of a handshake beside the live session, which the session's cycle does not show."""

    async def started(self) -> None:
        pass

    def fetched(self, credential: Credential) -> None:
        pass

    async def resolved(self, endpoint: Endpoint, addresses: Sequence[str]) -> None:
        pass
