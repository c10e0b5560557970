"""Keeping the credential of one session current: what is in use, what is wanted, what is due.

The keeper is handed what is live and what is wanted. It calls nobody back: what happens comes out
of the two streams `moments` and `tries`, and whoever reads them takes the steps that follow. What
the keeper knows is written here and nowhere else.
"""

import dataclasses
import logging
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta

from springline import errors
from springline.api.times import rfc3339
from springline.core import lifetime, state
from springline.core.attempt import Success
from springline.core.backoff import Retry
from springline.core.desired import RotationSettings
from springline.core.environment import Environment
from springline.core.lifetime import Moment
from springline.core.pauses import Pause
from springline.core.renewal import Live, Outcome, Refusal, Renewal, UpdatedInPlace
from springline.core.urgency import Urgency
from springline.core.values import Credential, SessionKey
from springline.core.view import CredentialUse
from springline.core.wanted import Desired
from springline.reasons import Reason

__all__ = ["Keeper"]

logger = logging.getLogger(__name__)

_DRIFT = timedelta(minutes=1)
"""By what the wall clock may lag behind without that anybody has set it."""


class Keeper:
    """Looks after the credential of one session, and after the renewals of its connection."""

    __slots__ = (
        "_again",
        "_asked_at",
        "_began_at",
        "_environment",
        "_has_unheard",
        "_key",
        "_live",
        "_not_before",
        "_number",
        "_problem",
        "_refused",
        "_renewal",
        "_rotation",
        "_served_at",
        "_urgency",
        "_use",
        "_used_since",
        "_words",
        "_worn_out",
    )

    def __init__(self, key: SessionKey, environment: Environment) -> None:
        self._key = key
        self._environment = environment
        self._live: Success | None = None
        self._use: CredentialUse | None = None
        self._used_since: datetime | None = None  # whether or not the broker has asked for it
        self._rotation: RotationSettings | None = None  # as declared for what is live
        self._refused: Credential | None = None
        # What the broker says has expired, and how it says so.
        self._worn_out: Credential | None = None
        self._words = ""
        self._problem: errors.ConnectError | errors.CredentialError | None = None  # why no other
        # Of renewals: the one under way, who asked for one, and when the next may begin.
        self._renewal: Renewal | None = None
        self._number = 0
        self._began_at = float("-inf")
        self._has_unheard = False
        self._again = False
        self._asked_at: float | None = None
        self._served_at: float | None = None  # which of those the one under way is for
        self._urgency = Urgency(environment.clock)
        self._not_before: float | None = None

    # --- what is in use

    @property
    def live(self) -> Success | None:
        """The open connection, with the credential that it uses now."""
        return self._live

    @property
    def use(self) -> CredentialUse | None:
        """The credential that is in use, or else was tried last."""
        return self._use

    @property
    def refused(self) -> Credential | None:
        """What the broker refused last, for sources that have another one."""
        return self._refused

    def try_out(self, credential: Credential) -> None:
        """Take in what an attempt logs in with."""
        if self._live is None:
            again = lifetime.received_again(self._in_use, credential)
            self._use = CredentialUse(credential=again)

    def attempt_failed(self, error: errors.ConnectError | errors.CredentialError) -> bool:
        """Take in why an attempt failed; return whether what it logged in with has expired."""
        credential = self._in_use
        if credential is None or not isinstance(error, errors.CredentialRejectedError):
            return False
        self._refused = credential
        return error.says_expired or self._knows_expired(credential)

    def open(self, live: Success, rotation: RotationSettings, *, method: str) -> None:
        """Take in that this is the connection from now on. `method` is how it came to be."""
        self._live = live
        self._refused = None
        if method == "Handshake":
            self._asked_at = None  # that it could be opened is an answer
        self._use_now(live.credential, rotation, method=method, verified_at=None)

    def updated(
        self, credential: Credential, rotation: RotationSettings, *, verified_at: datetime | None
    ) -> None:
        """Take in that the connection was given another credential in place."""
        if self._live is not None:
            self._live = dataclasses.replace(self._live, credential=credential)
            self._use_now(credential, rotation, method="InPlace", verified_at=verified_at)

    def unchanged(self, credential: Credential, *, verified_at: datetime | None) -> bool:
        """Take in that what was read is in use already; return whether it ends at another time."""
        before = self._use
        if before is None:
            return False
        self._use = dataclasses.replace(
            before,
            credential=lifetime.received_again(before.credential, credential),
            verified_at=verified_at or before.verified_at,
        )
        self._problem = None
        if verified_at is not None:
            self._worn_out = None
        if before.credential.expires_at == credential.expires_at:
            return False
        self._plan()
        return True

    def adjust(self, rotation: RotationSettings) -> None:
        """Take in that the time to renew is declared otherwise."""
        if self._live is not None:
            self._rotation = rotation
            self._plan()

    def let_go(self) -> None:
        """Take in that there is no connection any more."""
        self._live = None
        self._rotation = None
        self._again = False
        self._asked_at = None
        self._renewal = None

    def _use_now(
        self,
        credential: Credential,
        rotation: RotationSettings,
        *,
        method: str,
        verified_at: datetime | None,
    ) -> None:
        """Note that the connection uses it from now on.

        Unless it was tried before, the broker has accepted it just now; where the broker did not
        ask for it, nobody has.
        """
        clock = self._environment.clock
        is_proved = self._live is not None and self._live.connection.info.proved
        now = clock.now()
        again = lifetime.received_again(self._in_use, credential)
        # What the broker takes after its end was received with a wall clock that was wrong then.
        was_wrong = lifetime.has_expired(again, clock)
        self._use = CredentialUse(
            credential=credential if was_wrong else again,
            method=method if is_proved else None,
            applied_at=now if is_proved else None,
            verified_at=(verified_at or now) if is_proved else None,
        )
        self._used_since = now
        self._rotation = rotation
        self._problem = None
        self._worn_out = None
        self._plan()

    def _plan(self) -> None:
        """Set when the credential in use is to be renewed."""
        if self._use is None or self._rotation is None:
            return
        receipt = self._use.credential.received
        began_at = receipt.wall if receipt is not None else self._use.applied_at
        renew_at = lifetime.renewal_time(
            self._use.credential,
            share=self._rotation.renew_at,
            fetched_at=began_at or self._environment.clock.now(),
        )
        self._use = dataclasses.replace(self._use, renew_at=self._not_too_soon(renew_at))

    def _not_too_soon(self, renew_at: datetime | None) -> datetime | None:
        """Return when a renewal may be that is due at `renew_at`, as far as that is limited."""
        least = self._environment.limits.least_renewal_interval
        if renew_at is None or self._used_since is None or not least:
            return renew_at
        return max(renew_at, self._used_since + timedelta(seconds=least))

    @property
    def _in_use(self) -> Credential | None:
        return self._use.credential if self._use is not None else None

    # --- its age

    @property
    def has_end(self) -> bool:
        """Whether anything will come of `moments`."""
        return self._use is not None and self._use.renew_at is not None

    def moments(self) -> Iterator[Moment | Pause]:
        """Yield each moment in the life of the credential in use, and pauses until then.

        Another credential, and another time to renew it, has moments of its own.
        """
        use = self._use
        if use is None or use.renew_at is None:
            return
        yield from lifetime.moments(use.credential, use.renew_at, self._environment.clock)

    @property
    def is_old(self) -> bool:
        """Whether the time to renew the credential in use has come."""
        use, clock = self._use, self._environment.clock
        return use is not None and lifetime.is_due(use.credential, use.renew_at, clock)

    @property
    def has_expired(self) -> bool:
        """Whether the credential in use has expired, by our clock or by the broker's word."""
        credential = self._in_use
        return credential is not None and self._knows_expired(credential)

    @property
    def is_routine(self) -> bool:
        """Whether a renewal now would be for nothing but the credential's age."""
        return self.is_old and self._asked_at is None

    def said_expired(self, words: str) -> None:
        """Take in that the broker calls what is in use expired, whatever our clock says."""
        if self._use is not None:
            self._worn_out, self._words = self._use.credential, words

    def lost_as_expired(self, words: str) -> None:
        """Take in that the broker ended the connection for that."""
        self.said_expired(words)
        self._refused = self._in_use

    def hurry(self, retry: Retry) -> None:
        """Have the next renewal begin at once, unless the one before it was a moment ago."""
        self._not_before = self._urgency.next_start(retry)

    def expiring(self, why: str) -> state.CredentialExpiring | None:
        """Return that it should have been renewed by now and why it is not, if it ever expires."""
        credential = self._in_use
        if credential is None or credential.expires_at is None:
            return None
        ends = rfc3339(credential.expires_at)
        return state.CredentialExpiring(message=f"it expires at {ends} and is not renewed: {why}")

    def expiry(self) -> state.CredentialExpired:
        """Return how its lifetime came to its end, and why there is no other credential."""
        why = f": {self._problem.message}" if self._problem is not None else self._why_so_late()
        return state.CredentialExpired(
            message=f"{self._ending()} and has not been renewed{why}",
            passes=isinstance(self._problem, errors.CredentialUnavailableError),
        )

    def _why_so_late(self) -> str:
        """Say that it lives shorter than renewals are apart, if so."""
        use = self._use
        if use is None or use.renew_at is None or use.credential.expires_at is None:
            return ""
        if use.renew_at <= use.credential.expires_at:
            return ""
        least = self._environment.limits.least_renewal_interval
        return f": it lives shorter than the {least:g} s that renewals are apart at least"

    def _ending(self) -> str:
        if self._worn_out is not None:
            return f"the broker says it has expired ({self._words})"
        credential = self._in_use
        at = credential.expires_at if credential is not None else None
        if at is None:
            return "it has expired"
        if at > self._environment.clock.now() + _DRIFT:
            return f"it has expired (the clock here, which was set back, says {rfc3339(at)})"
        return f"it expired at {rfc3339(at)}"

    def _knows_expired(self, credential: Credential) -> bool:
        if self._worn_out is not None and self._worn_out.same_value(credential):
            return True
        return lifetime.has_expired(credential, self._environment.clock)

    # --- renewing it

    def ask(self) -> None:
        """Take in that somebody wants it renewed now, and tried even if its value is the same."""
        self._asked_at = self._environment.clock.monotonic()

    def plan_renewal(self, desired: Desired) -> bool:
        """Have `tries` bring what is declared now to the connection.

        Returns whether it can begin. If not, the one under way has to come to its end first: an
        update that is cut off costs the connection, and what it has brought is known only when it
        was heard of. Another one is to follow it then, as `heard` says.
        """
        if self._live is None:
            return False
        if self._has_unheard or (self._renewal is not None and self._renewal.is_updating):
            self._again = True
            return False
        self._again = False
        self._served_at = self._asked_at
        not_before = self._spaced()
        live = Live(
            opened=self._live,
            renew_at=self._use.renew_at if self._use is not None else None,
            asked_at=self._asked_at,
            is_refused=self._worn_out is not None,
            not_before=not_before,
        )
        self._not_before = None
        self._number += 1
        self._renewal = Renewal(
            live, desired.spec, desired.means(self._environment), rng=self._environment.rng
        )
        return True

    def _spaced(self) -> float | None:
        """Return when the renewal that is planned now may begin, if not at once.

        Each asks the broker, whatever it is for; so they are spaced as attempts are at least.
        """
        least, now = self._environment.limits.least_retry_delay, self._environment.clock.monotonic()
        begins = max(now, self._not_before or now)
        if least:
            # What another one takes the place of before it has begun leaves its time to that.
            begins = max(begins, self._began_at + (least if self._began_at <= now else 0.0))
            self._began_at = begins
        return begins if begins > now else None

    @property
    def number(self) -> int:
        """How many renewals were planned, and so the number of the last one."""
        return self._number

    async def tries(self) -> AsyncIterator[Outcome | Refusal]:
        """Yield why each try of the planned renewal failed, and last what came of it.

        A defect of ours counts as a failed try. Ends without an outcome if the connection ends.
        Cancelling is safe but while a secret is on its way.
        """
        renewal = self._renewal
        while renewal is not None:
            try:
                async for came in renewal.tries():
                    self._has_unheard = not isinstance(came, Refusal)
                    yield came
            except Exception:  # the live connection keeps its credential
                logger.exception("renewal failed unexpectedly", extra={"session": self._key})
            else:
                return
            error = errors.TransientError(
                Reason.INTERNAL_ERROR,
                "an internal error ended the renewal, which is tried again; see Springline's log",
            )
            yield Refusal(error=error, lasts=True)
            # Nobody else would bring the next token to the session.
            await self._environment.clock.sleep(renewal.longest_pause())

    @property
    def is_overtaken(self) -> bool:
        """Whether another renewal has to follow the one under way, which is not about all of it."""
        return self._again

    def failed(self, refusal: Refusal) -> None:
        """Take in why a try failed."""
        if refusal.no_other_issued:
            self._problem = refusal.error

    def heard(self, outcome: Outcome) -> bool:
        """Take in that the steps that follow from an outcome were taken.

        Returns whether another renewal has to follow: for what was to be renewed meanwhile, or for
        what could not be brought to the connection this time.
        """
        self._has_unheard = False
        self._renewal = None  # it holds on to the connection before, and to what was read
        if self._asked_at == self._served_at:
            self._asked_at = None
        again, self._again = self._again, False
        return again or (isinstance(outcome, UpdatedInPlace) and outcome.is_part)
