"""The helper tasks of one session: they do the waiting, the session does the deciding.

There are five roles, and at most one helper of each: an attempt, a timer for the next one, a
prober, a renewal, and one that follows the lifetime of the credential. They live in the session's
task group, so none outlives it, and all they find out goes into the session's inbox.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from datetime import datetime

from springline import errors
from springline.core import lifetime, ports, probing, state
from springline.core.attempt import Means, Progress, Silent, Success, attempt
from springline.core.desired import ProbeSettings
from springline.core.environment import Environment
from springline.core.messages import (
    AttemptEnded,
    Confirmed,
    ConnectionNews,
    Desired,
    Message,
    RenewalEnded,
    RenewalFailed,
    SaidExpired,
    TimerRang,
)
from springline.core.renewal import Live, Refusal, Renewal
from springline.core.values import Credential, SessionKey
from springline.reasons import Reason

__all__ = ["Helpers"]

logger = logging.getLogger(__name__)


class Helpers:
    """Starts and ends the helper tasks of one session."""

    __slots__ = (
        "_environment",
        "_group",
        "_is_unheard",
        "_key",
        "_post",
        "_renewal",
        "_tasks",
        "renewals",
    )

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
        self._renewal: Renewal | None = None
        self._is_unheard = False
        self.renewals = 0
        """How many have begun, and so the number of the last one."""

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

    async def attempt(
        self,
        desired: Desired,
        progress: Progress,
        *,
        number: int,
        instead_of: Credential | None,
    ) -> None:
        """Make one attempt and post `AttemptEnded` with `number`.

        `instead_of` is a credential that was refused.
        """
        await self.drop("attempt")
        self._start("attempt", self._attempt(desired, progress, number, instead_of))

    async def probe(self, connection: ports.Connection, settings: ProbeSettings | None) -> None:
        """Probe the connection from now on, or no longer."""
        await self.drop("prober")
        if settings is not None:
            self._start("prober", self._probe(connection, settings))

    async def follow(
        self, connection: ports.Connection, credential: Credential, renew_at: datetime | None
    ) -> None:
        """Post `RenewalDue` and `CredentialExpired` when the credential's time comes, if ever."""
        await self.drop("lifetime")
        if renew_at is not None:
            self._start("lifetime", self._follow(connection, credential, renew_at))

    async def renew(self, desired: Desired, live: Live) -> None:
        """Bring the credential as it stands to the live session and post `RenewalEnded`."""
        await self.drop("renewal")
        self.renewals += 1
        number = self.renewals
        self._renewal = Renewal(
            live,
            desired.spec,
            self._means(desired),
            Silent(),
            rng=self._environment.rng,
            refused=lambda refusal: self._refused(number, live, refusal),
        )
        self._start("renewal", self._renew(self._renewal, number, live))

    def _refused(self, number: int, live: Live, refusal: Refusal) -> None:
        news = state.RenewalRefused(error=refusal.error, lasts=refusal.lasts)
        self._post(RenewalFailed(number, live.opened.connection, news))

    @property
    def is_renewing(self) -> bool:
        """Whether a renewal is under way, or waits for its next try."""
        task = self._tasks.get("renewal")
        return task is not None and not task.done()

    @property
    def is_to_be_heard(self) -> bool:
        """Whether a renewal must come to its end before another one begins.

        An update that is cut off costs the connection; and what one has brought to it is known only
        when the session has heard of it.
        """
        return self._is_unheard or (self._renewal is not None and self._renewal.is_updating)

    def renewal_was_heard(self) -> None:
        """Take in that the session knows what came of the last renewal."""
        self._is_unheard = False

    def _start(self, role: str, work: Coroutine[None, None, None]) -> None:
        self._tasks[role] = self._group.create_task(work, name=f"{role}/{self._key}")

    async def _ring_after(self, seconds: float, number: int) -> None:
        await self._environment.clock.sleep(seconds)
        self._post(TimerRang(number))

    async def _attempt(
        self,
        desired: Desired,
        progress: Progress,
        number: int,
        instead_of: Credential | None,
    ) -> None:
        result: Success | errors.ConnectError | errors.CredentialError
        try:
            result = await attempt(
                desired.spec, self._means(desired), progress, instead_of=instead_of
            )
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

        def expired(words: str) -> None:
            self._post(ConnectionNews(connection, SaidExpired(words)))

        try:
            refusal = await probing.probe_forever(
                connection,
                settings,
                clock=self._environment.clock,
                rng=self._environment.rng,
                confirmed=confirmed,
                unanswered=unanswered,
                expired=expired,
            )
        except Exception:  # the top of a task: without its probe the session is still worth keeping
            logger.exception("probe failed unexpectedly", extra={"session": self._key})
            refusal = "the probe ended with an internal error; see Springline's log"
        if refusal:
            self._post(ConnectionNews(connection, state.ProbeRefused(message=refusal)))

    async def _renew(self, work: Renewal, number: int, live: Live) -> None:
        while True:
            try:
                outcome = await work.run()
                break
            except Exception:  # the top of a task: the live connection keeps its credential
                logger.exception("renewal failed unexpectedly", extra={"session": self._key})
                error = errors.TransientError(
                    Reason.INTERNAL_ERROR,
                    "an internal error ended the renewal, which is tried again; see Springline's "
                    "log",
                )
                self._refused(number, live, Refusal(error=error, lasts=True))
            # Nobody else would bring the next token to the session.
            await self._environment.clock.sleep(work.longest_pause())
        if outcome is not None:
            self._is_unheard = True
            self._post(RenewalEnded(live.opened, outcome))

    async def _follow(
        self, connection: ports.Connection, credential: Credential, renew_at: datetime
    ) -> None:
        await lifetime.follow(
            credential,
            renew_at,
            clock=self._environment.clock,
            due=lambda: self._post(ConnectionNews(connection, state.RenewalDue())),
            expired=lambda: self._post(
                ConnectionNews(connection, state.CredentialExpired(message=""))
            ),
        )

    def _means(self, desired: Desired) -> Means:
        return Means(
            driver=self._environment.adapters[desired.spec.target.protocol].driver,
            resolver=self._environment.resolver,
            clock=self._environment.clock,
            credentials=desired.credentials,
            tls=desired.tls,
            endpoints=desired.endpoints,
            limit=desired.limit,
            verifications=self._environment.verifications,
            meter=self._environment.meter,
        )
