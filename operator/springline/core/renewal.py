"""Bringing what has changed to a live session: credential, certificates, whatever is declared.

What is done next is rotation.py's to say. Whatever happens here, the live connection stays as it
was until the new credential has opened a connection of its own. A refusal is told and tried again,
because a Secret is often changed a little before the broker's user is.
"""

import dataclasses
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import assert_never

from springline import errors
from springline.core import backoff, lifetime, rotation
from springline.core.attempt import AsRead, Means, Silent, Success, attempt, preparing
from springline.core.closing import close_quietly
from springline.core.desired import SessionSpec
from springline.core.outcomes import UpdateOutcome
from springline.core.rotation import Situation, Step
from springline.core.values import Credential, ResolvedEndpoint, TLSClient, same_tls
from springline.core.verification import Question
from springline.reasons import Reason

__all__ = [
    "Live",
    "NoRoom",
    "Outcome",
    "Refusal",
    "Renewal",
    "Replaced",
    "Unchanged",
    "UpdatedInPlace",
]

_UPDATE_SECONDS = 10.0

_HICCUP_SECONDS = 5.0
"""How long a first try may take before its failure is worth a word though it may pass."""

_LIMITED = "a connection more is needed while the session is open; raise the broker's limit"

_NOT_ASKED = "the broker asked for no credential, so the new one could not be tried"

_CLOSED_FIRST = "closed first, as spec.rotation.whenLimited says:"

_ELSE = {
    "Wait": ", or set spec.rotation.whenLimited",
    "UpdateUnverified": ", or set spec.rotation.whenLimited to CloseFirst",
    "CloseFirst": "",  # only tried once more, which nothing is closed for
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Live:
    """The live session as it is before."""

    opened: Success
    """Its connection, with the credential that it uses now."""
    renew_at: datetime | None = None
    """When that is to be renewed."""
    asked_at: float | None = None
    """When, by the monotonic clock, somebody asked for a renewal, if that is what this is."""
    is_refused: bool = False
    """Whether the broker says that what it uses has expired."""
    not_before: float | None = None
    """When, by the monotonic clock, the renewal may begin, if not at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdatedInPlace:
    """The live connection has the new secret."""

    credential: Credential
    verified_at: datetime | None
    """When it was tried on a handshake, if it was."""
    is_limited: bool = False
    """Whether it was not because the broker allows no connection more."""
    is_part: bool = False
    """Whether something else is declared as well that cannot be brought to the session yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A new connection is open with the new credential; the old one is still open too."""

    success: Success
    why: str = ""
    """Why the new secret did not go to the old one in place, where it cannot be renewed so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """There was nothing to bring: the value is the same."""

    credential: Credential
    verified_at: datetime | None = None
    """When it was tried anew on a handshake, if it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRoom:
    """The live connection has to be closed first, as is declared for this case."""

    message: str
    """Why, for people."""


Outcome = UpdatedInPlace | Replaced | Unchanged | NoRoom

_Failure = errors.ConnectError | errors.CredentialError


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One try that failed."""

    error: _Failure
    lasts: bool
    """Whether it is more than a hiccup."""

    @property
    def no_other_issued(self) -> bool:
        """Whether there is no other credential yet, which says nothing of the one in use."""
        return self.error.reason is Reason.TOKEN_REQUEST_FAILED


@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """What the session is to use, as it was read at one time."""

    credential: Credential
    tls: TLSClient | None
    same_endpoint: bool
    means: Means
    """To open a connection with exactly this; nothing is read again on the way."""


def _is_news(situation: Situation, step: Step | None) -> bool:
    """Whether a step would be taken without that anybody has asked for it."""
    if not situation.is_asked_for:
        return step is not None
    return rotation.next_step(dataclasses.replace(situation, is_asked_for=False)) is not None


class Renewal:
    """One renewal: `tries` brings what has changed to the live session, until that works."""

    def __init__(self, live: Live, spec: SessionSpec, means: Means, *, rng: Random | None) -> None:
        self._live = live
        self._connection = live.opened.connection
        self._spec = spec
        self._means = means
        self._rng = rng
        self._failures = 0
        self._refused_question: Question | None = None
        self._refused_credential: Credential | None = None
        # On a connection that has shown the broker no credential there is none to renew or to try.
        self._is_proved = self._connection.info.proved
        self._can_update = self._is_proved
        self._has_news = False  # whether anything is to be brought, or only tried once more
        # Of the try under way: what was read, and whether the session stays where it is.
        self._fetched: Credential | None = None
        self._stays = False
        self._is_updating = False
        self._has_sent = False

    @property
    def is_updating(self) -> bool:
        """Whether a new secret is on its way. Cancelling would cost the live connection."""
        return self._is_updating

    async def tries(self) -> AsyncIterator[Outcome | Refusal]:
        """Yield why each try failed, and last what came of it.

        Ends without an outcome if the live connection ends: that is the session's to handle. Safe
        to cancel: the live connection stays open.
        """
        if self._live.not_before is not None:
            clock = self._means.clock
            await clock.sleep(max(self._live.not_before - clock.monotonic(), 0.0))
        while self._connection.is_open:
            started = self._means.clock.monotonic()
            self._refused_question = self._fetched = None
            self._stays = self._has_sent = False
            try:
                outcome = await self._try_measured()
            except (errors.ConnectError, errors.CredentialError) as error:
                failure = error
            except (errors.SecretRefusedError, errors.NotOpenError):
                return
            else:
                yield outcome
                return
            self._failures += 1
            refusal = Refusal(error=failure, lasts=self._lasts(failure, since=started))
            yield refusal
            self._has_sent = False
            try:
                kept = await self._keep_alive()
            except (errors.SecretRefusedError, errors.NotOpenError):
                return
            if isinstance(kept, UpdatedInPlace):
                yield kept
                return
            if self._has_sent:
                # What was declared meanwhile had to wait for the update. Now it need not wait.
                yield refusal
            # A hiccup with what is due must not wait as long as a change that is refused.
            await self._pause(kept or failure, since=started)

    def longest_pause(self) -> float:
        """Return the seconds between tries that nobody expects to succeed."""
        return backoff.slow_delay(self._spec.retry, rng=self._rng)

    def _lasts(self, error: _Failure, *, since: float) -> bool:
        """Whether the failure of a try that began at `since` is more than a hiccup."""
        may_pass = isinstance(error, errors.TransientError | errors.CredentialUnavailableError)
        is_first = self._failures == 1 and self._means.clock.monotonic() < since + _HICCUP_SECONDS
        return not (may_pass and is_first) or error.reason is Reason.CONNECTION_LIMIT_REACHED

    async def _pause(self, failure: _Failure, *, since: float) -> None:
        """Wait for the next try after one that began at `since`."""
        says_expired = isinstance(failure, errors.ConnectError) and failure.says_expired
        if says_expired and self._failures == 1:
            return  # there may be another one to be had in its place
        clock, retry = self._means.clock, self._spec.retry
        until = since + backoff.spaced_delay(retry, failures=self._failures, rng=self._rng)
        until = max(until, clock.monotonic() + (failure.retry_after or 0.0))
        if self._refused_question is not None:
            # Others are waiting for the same, and an issuer may give another one every time.
            verifications = self._means.verifications
            await verifications.pause(self._refused_question, clock, at_least_until=until)
            return
        if not isinstance(failure, errors.TransientError | errors.CredentialUnavailableError):
            until = max(until, since + self.longest_pause())
        await clock.sleep(max(until - clock.monotonic(), 0.0))

    async def _try_measured(self) -> Outcome:
        clock, meter = self._means.clock, self._means.meter
        started = clock.monotonic()

        def tell(method: str, outcome: UpdateOutcome) -> None:
            meter.secret_updated(method, outcome, clock.monotonic() - started)

        try:
            result = await self._try_once()
        except (errors.TransientError, errors.CredentialUnavailableError, errors.NotOpenError):
            tell("None", UpdateOutcome.FAILED)
            raise
        except (errors.ConnectError, errors.CredentialError, errors.SecretRefusedError):
            tell("None", UpdateOutcome.REFUSED)
            raise
        match result:
            case UpdatedInPlace():
                tell("InPlace", UpdateOutcome.UPDATED)
            case Replaced():
                tell("Replaced", UpdateOutcome.UPDATED)
            case Unchanged() | NoRoom():
                pass
            case _:
                assert_never(result)
        return result

    async def _try_once(self) -> Outcome:
        try:
            return await self._try_step_by_step(await self._read(), self._spec)
        except errors.ConnectError as error:
            if error.reason is not Reason.CONNECTION_LIMIT_REACHED:
                raise
            when_limited = self._spec.rotation.when_limited
            if when_limited == "CloseFirst" and self._has_news:
                return NoRoom(message=f"{_CLOSED_FIRST} {error.message}")
            message = f"{error.message.rstrip('.')}; {_LIMITED}{_ELSE[when_limited]}"
            raise error.again(message) from error

    async def _keep_alive(self) -> UpdatedInPlace | errors.TransientError | None:
        """Bring a credential that is due to the live session; None if it is not, or cannot be.

        Returns the error if another try may work in a moment. What else is declared cannot be
        brought to the session, which stays what it is. It must not end with the lifetime of its
        credential for that.
        """
        credential, opened = self._fetched, self._live.opened
        if credential is None or self._stays or not self._is_due():
            return None
        means = dataclasses.replace(
            self._means,
            credentials=AsRead(credential),
            tls=AsRead(opened.tls),
            endpoints=AsRead((ResolvedEndpoint(self._connection.info.endpoint),)),
        )
        read = _Read(credential=credential, tls=opened.tls, same_endpoint=True, means=means)
        spec = dataclasses.replace(self._spec, target=opened.target)
        accepted = self._situation(read, spec, is_verified=True)
        if rotation.next_step(accepted) is not Step.UPDATE:
            return None
        question = self._refused_question
        try:
            outcome = await self._try_step_by_step(read, spec)
        except errors.TransientError as error:
            return error
        except (errors.ConnectError, errors.CredentialError):
            return None  # what is told, and waited for, is what is declared
        finally:
            self._refused_question = question
        match outcome:
            case UpdatedInPlace():
                return dataclasses.replace(outcome, is_part=True)
            case Replaced(success=success):
                await close_quietly(success.connection, "no longer wanted")
            case _:
                pass
        return None

    def _is_due(self) -> bool:
        """Whether the live session needs another credential, by its age or the broker's word."""
        live = self._live
        is_old = lifetime.is_due(live.opened.credential, live.renew_at, self._means.clock)
        return is_old or live.is_refused

    def _situation(
        self, read: _Read, spec: SessionSpec, *, is_verified: bool, is_limited: bool = False
    ) -> Situation:
        """Return how things stand with what was read, and by now perhaps tried.

        `is_limited` if it cannot be tried, and is to be used all the same.
        """
        return Situation(
            current=self._live.opened.credential,
            new=read.credential,
            is_blocked=self._connection.blocked is not None,
            # Prepared TLS clients are shared while the certificates stay the same.
            same_certificates=same_tls(read.tls, self._live.opened.tls),
            same_endpoint=read.same_endpoint,
            same_target=self._live.opened.target.fits(
                spec.target, connected_to=self._connection.info.endpoint
            ),
            can_update=self._can_update and not self._connection.cannot_renew,
            must_verify=spec.rotation.verify and self._is_proved and not is_limited,
            is_verified=is_verified,
            is_asked_for=self._live.asked_at is not None and self._is_proved,
        )

    async def _try_step_by_step(self, read: _Read, spec: SessionSpec) -> Outcome:
        verified_at: datetime | None = None
        is_limited = False
        while True:
            situation = self._situation(
                read, spec, is_verified=verified_at is not None, is_limited=is_limited
            )
            self._stays = not situation.has_moved
            step = rotation.next_step(situation)
            self._has_news = _is_news(situation, step)
            match step:
                case None:
                    return Unchanged(credential=read.credential, verified_at=verified_at)
                case Step.VERIFY:
                    try:
                        verified_at = await self._verify(read, spec)
                    except errors.ConnectError as error:
                        if not self._does_without(error):
                            raise
                        is_limited = True
                case Step.UPDATE:
                    self._can_update = await self._update(read.credential)
                    if self._can_update:
                        return UpdatedInPlace(
                            credential=read.credential,
                            verified_at=verified_at,
                            is_limited=is_limited,
                        )
                case Step.REPLACE if spec.target.parameters.alone:
                    return NoRoom(message=f"closed first, as {spec.target.parameters.alone}")
                case Step.REPLACE:
                    return Replaced(
                        success=await attempt(spec, read.means, Silent()),
                        why=self._why_not_in_place(situation),
                    )
                case other:
                    assert_never(other)

    def _why_not_in_place(self, situation: Situation) -> str:
        """Return what the driver says, if the secret would have gone to the connection but for it.

        No refusal: nothing was sent, and the broker was not even asked.
        """
        why = self._connection.cannot_renew
        if not why:
            return ""
        otherwise = dataclasses.replace(situation, can_update=self._can_update)
        return why if rotation.next_step(otherwise) is Step.UPDATE else ""

    def _does_without(self, error: errors.ConnectError) -> bool:
        """Whether a credential that could not be tried is to be used untried."""
        return (
            error.reason is Reason.CONNECTION_LIMIT_REACHED
            and self._spec.rotation.when_limited == "UpdateUnverified"
            and self._live.asked_at is None  # then it is the trying that is asked for
        )

    async def _read(self) -> _Read:
        means = self._means
        same_endpoint = True
        async with preparing(self._spec):
            fetched = await means.credentials.fetch(instead_of=self._to_replace())
            credential = self._fetched = lifetime.received(fetched, means.clock)
            tls = await means.tls.fetch()
            if self._spec.target.is_told_where:
                found = await means.endpoints.fetch()
                means = dataclasses.replace(means, endpoints=AsRead(found))
                same_endpoint = self._connection.info.endpoint in [each.endpoint for each in found]
        means = dataclasses.replace(means, credentials=AsRead(credential), tls=AsRead(tls))
        return _Read(credential=credential, tls=tls, same_endpoint=same_endpoint, means=means)

    def _to_replace(self) -> Credential | None:
        """Return what a source that has credentials issued is to give another one for."""
        if self._refused_credential is not None:
            return self._refused_credential
        is_wanted = self._is_due() or self._live.asked_at is not None
        return self._live.opened.credential if is_wanted else None

    async def _verify(self, read: _Read, spec: SessionSpec) -> datetime:
        """Return when the broker accepted it on a handshake, which others may have made."""
        question = Question.of(spec, read.credential, read.tls)

        async def handshake() -> None:
            trial = await attempt(spec, read.means, Silent(), name_suffix=" (verification)")
            await close_quietly(trial.connection, "credential verified")
            if not trial.connection.info.proved:
                raise errors.RejectedError(Reason.NO_AUTHENTICATION_MECHANISM, _NOT_ASKED)

        try:
            return await self._means.verifications.verify(
                question,
                handshake,
                retry=spec.retry,
                clock=self._means.clock,
                rng=self._rng,
                since=self._live.asked_at or float("-inf"),
                meter=self._means.meter,
            )
        except (errors.ConnectError, errors.CredentialError) as error:
            self._refused_question = question
            if not isinstance(error, errors.CredentialRejectedError):
                raise
            self._refused_credential = read.credential
            if error.says_expired or not lifetime.has_expired(read.credential, self._means.clock):
                raise
            # Few brokers say so of a login.
            raise errors.CredentialRejectedError(
                error.reason, error.message, says_expired=True
            ) from error

    async def _update(self, credential: Credential) -> bool:
        """Send the secret to the live connection; False if it has to be replaced instead."""
        self._is_updating = self._has_sent = True
        try:
            await self._connection.renew(credential, timeout=_UPDATE_SECONDS)
        except errors.SecretUpdateTimeoutError:
            # Blocked or slow: nobody knows what became of the update, so this one is given up.
            return False
        except errors.SecretNotSentError:
            return False
        finally:
            self._is_updating = False
        return True
