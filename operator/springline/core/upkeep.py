"""Keeping the credential of an open session current, and saying so where that fails.

The session decides nothing about this itself; it hands on what it hears and replaces its
connection when it is told to.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.api.times import rfc3339
from springline.core import lifetime, ports, state
from springline.core.attempt import Success
from springline.core.backoff import Retry
from springline.core.desired import RotationSettings
from springline.core.events import EventType
from springline.core.helpers import Helpers
from springline.core.messages import Desired
from springline.core.notes import Notes
from springline.core.renewal import Live
from springline.core.state import SessionState, StateEvent
from springline.core.urgency import Urgency
from springline.core.values import Credential
from springline.core.verdicts import Verdict
from springline.reasons import Reason

__all__ = ["Upkeep"]

_DRIFT = timedelta(minutes=1)
"""By what the wall clock may lag behind without that anybody has set it."""


class _Emit(Protocol):
    def __call__(
        self, kind: EventType, message: str, *, reason: Reason | None = None
    ) -> Awaitable[None]:
        """Report an event of the session."""


class Upkeep:
    """Looks after the credential of one session's current connection."""

    def __init__(
        self,
        helpers: Helpers,
        notes: Notes,
        clock: ports.Clock,
        *,
        shown: Callable[[], SessionState],
        advance: Callable[[StateEvent], Awaitable[None]],
        emit: _Emit,
    ) -> None:
        """`shown` is what the session is now; `advance` takes a step of it."""
        self._helpers = helpers
        self._notes = notes
        self._clock = clock
        self._shown = shown
        self._advance = advance
        self._emit = emit
        self._followed: tuple[ports.Connection, RotationSettings] | None = None
        self._asked_at: float | None = None
        self._served_at: float | None = None  # which of those the renewal under way is for
        self._again = False
        # What the broker says has expired, and how it says so.
        self._refused: Credential | None = None
        self._words = ""
        self._urgency = Urgency(clock)
        self._not_before: float | None = None
        # Of the expiry of the credential in use: what was reported, and why there is no other yet.
        self._reported: set[EventType] = set()
        self._problem = ""
        self._problem_passes = False
        self._is_refusal_told = False
        self._told: set[tuple[EventType, Reason]] = set()  # of what is declared now

    # --- the credential in use

    async def use(
        self,
        connection: ports.Connection,
        credential: Credential,
        rotation: RotationSettings,
        steps: Sequence[StateEvent],
        *,
        method: str,
        verified_at: datetime | None = None,
    ) -> None:
        """Note that the connection uses the credential from now on, and follow its lifetime.

        The session takes the steps before anything is waited for: its status may be read at any
        wait, and must not show the new credential beside what was known of the old one.
        """
        self._followed = (connection, rotation)
        is_proved = connection.info.proved
        self._notes.use(credential, method=method if is_proved else None, verified_at=verified_at)
        for step in steps:
            await self._advance(step)
        self._reported.clear()
        self._problem = ""
        self._refused = None
        if method == "Handshake":
            self._asked_at = None  # that it could be opened is an answer
        await self._follow_anew()

    async def adjust(self, connection: ports.Connection, rotation: RotationSettings) -> None:
        """Take in that the time to renew is declared otherwise."""
        self._followed = (connection, rotation)
        await self._follow_anew()

    def let_go(self) -> None:
        """Take in that there is no connection any more."""
        self._followed = None
        self._again = False
        self._asked_at = None

    async def _follow_anew(self) -> None:
        """Have it told when the credential in use is to be renewed, and when it expires."""
        use = self._notes.credential
        if self._followed is None or use is None:
            return
        connection, rotation = self._followed
        receipt = use.credential.received
        began_at = receipt.wall if receipt is not None else use.applied_at or self._clock.now()
        renew_at = lifetime.renewal_time(
            use.credential, share=rotation.renew_at, fetched_at=began_at
        )
        self._notes.renew(renew_at)
        await self._helpers.follow(connection, use.credential, renew_at)

    # --- renewing it

    def changed(self) -> None:
        """Take in that something the session reads has changed; a refusal of that is news."""
        self._told.clear()

    def ask(self) -> None:
        """Take in that somebody wants it renewed now, and tried even if its value is the same."""
        self._asked_at = self._clock.monotonic()

    async def renew(self, desired: Desired, opened: Success) -> None:
        """Bring the credential as it stands to the connection, in the background."""
        if self._helpers.is_to_be_heard:
            self._again = True
            return
        self._again = False
        self._served_at = self._asked_at
        use = self._notes.credential
        live = Live(
            opened=opened,
            renew_at=use.renew_at if use is not None else None,
            asked_at=self._asked_at,
            is_refused=self._refused is not None,
            not_before=self._not_before,
        )
        self._not_before = None
        await self._helpers.renew(desired, live)

    @property
    def is_due(self) -> bool:
        """Whether the credential in use is to be renewed because of its age, and nothing is amiss.

        That it then is renewed is no news.
        """
        return self._is_old and self._asked_at is None and not self._reported

    @property
    def _is_old(self) -> bool:
        use = self._notes.credential
        return use is not None and lifetime.is_due(use.credential, use.renew_at, self._clock)

    @property
    def is_overtaken(self) -> bool:
        """Whether another renewal has to follow the one under way, which is not about all of it."""
        return self._again

    def is_over(self) -> bool:
        """Take in that a renewal has come to its end; return whether another one has to follow.

        What was to be renewed meanwhile has waited for this.
        """
        self._helpers.renewal_was_heard()
        if self._asked_at == self._served_at:
            self._asked_at = None
        again, self._again = self._again, False
        return again

    async def unchanged(
        self, credential: Credential, verified_at: datetime | None, *, synced: Verdict
    ) -> None:
        """What is to be used is in use already; that may be a good sign or a bad one."""
        before = self._notes.credential
        self._notes.amend(credential, verified_at=verified_at)
        if before is not None and before.credential.expires_at != credential.expires_at:
            await self._follow_anew()  # the same token, with another lifetime
        self._problem = ""
        if verified_at is not None:
            self._refused = None
        # Whatever was refused before has been taken back.
        await self._advance(
            state.Unchanged(synced=synced) if verified_at is None else state.Renewed(synced=synced)
        )
        if self._has_expired:
            await self.expired()
        elif self._is_old:
            await self._expiring("whoever renews it has not done so yet")

    async def refused(self, news: state.RenewalRefused) -> None:
        """Say what keeps a change from the session, once in the events for each reason."""
        error: errors.ConnectError | errors.CredentialError = news.error
        if error.reason is Reason.TOKEN_REQUEST_FAILED:
            # That there is no new token says nothing of the one in use.
            self._problem = error.message
            self._problem_passes = isinstance(error, errors.CredentialUnavailableError)
            if self._has_expired:
                await self.expired()
            else:
                await self._expiring(error.message)
            is_in_sync = self._shown().synced.status is ConditionStatus.TRUE
            if is_in_sync and (self._is_old or self._has_expired):
                return  # what is declared has not changed, and that it grows old has been said
        before = self._shown()
        await self._advance(news)
        after = self._shown()
        if after.credentials != before.credentials:
            kind, reason = EventType.SECRET_REJECTED, after.credentials.reason
        elif after.synced.reason is not before.synced.reason:
            kind, reason = EventType.CHANGE_REFUSED, after.synced.reason
        else:
            return
        self._is_refusal_told = True
        if before.synced.reason is Reason.APPLYING:
            self._told.clear()
        if (kind, reason) in self._told:
            return
        self._told.add((kind, reason))
        await self._emit(kind, error.message, reason=reason)

    async def tell_recovery(self) -> None:
        """Say that what was told to be refused is no longer, if that is so by now."""
        if self._is_refusal_told and self._shown().synced.status is ConditionStatus.TRUE:
            self._is_refusal_told = False
            self._told.clear()
            await self._emit(EventType.IN_SYNC, "the session uses what is declared again")

    # --- its end

    def knows_expired(self, credential: Credential) -> bool:
        """Whether a credential has expired, by our clock or by the broker's word."""
        if self._refused is not None and self._refused.same_value(credential):
            return True
        return lifetime.has_expired(credential, self._clock)

    @property
    def _has_expired(self) -> bool:
        use = self._notes.credential
        return use is not None and self.knows_expired(use.credential)

    async def _expiring(self, why: str) -> None:
        """Say that it should have been renewed by now."""
        use = self._notes.credential
        if use is None or use.credential.expires_at is None:
            return
        message = f"it expires at {rfc3339(use.credential.expires_at)} and is not renewed: {why}"
        await self._advance(state.CredentialExpiring(message=message))
        await self._report_once(EventType.CREDENTIALS_EXPIRING, message)

    async def ended(self) -> None:
        """Take in that a lifetime is over; by now it may be that of the credential before."""
        if self._has_expired:
            await self.expired()

    async def said_expired(self, words: str, retry: Retry) -> None:
        """Say that the broker calls the credential in use expired, and have it renewed at once."""
        await self.ended_by_broker(words)
        self._not_before = self._urgency.next_start(retry)
        await self._advance(state.RenewalDue())

    async def ended_by_broker(self, words: str) -> None:
        """Say that its lifetime is over by the broker's word, whatever our clock says."""
        if self._notes.credential is not None:
            self._refused, self._words = self._notes.credential.credential, words
        await self.expired()

    async def expired(self) -> None:
        """Say that its lifetime is over, by our clock or else by the broker's word."""
        why = f": {self._problem}" if self._problem else ""
        message = f"{self._ending()} and has not been renewed{why}"
        passes = bool(self._problem) and self._problem_passes
        await self._advance(state.CredentialExpired(message=message, passes=passes))
        await self._report_once(EventType.CREDENTIALS_EXPIRED, message)

    def _ending(self) -> str:
        """Return how its lifetime came to its end."""
        if self._refused is not None:
            return f"the broker says it has expired ({self._words})"
        use = self._notes.credential
        at = use.credential.expires_at if use is not None else None
        if at is None:
            return "it has expired"
        if at > self._clock.now() + _DRIFT:
            return f"it has expired (the clock here, which was set back, says {rfc3339(at)})"
        return f"it expired at {rfc3339(at)}"

    async def _report_once(self, kind: EventType, message: str) -> None:
        if kind not in self._reported:
            self._reported.add(kind)
            await self._emit(kind, message)
