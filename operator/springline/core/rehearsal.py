"""What a rotation would come to, tried out beside the live session.

What is new opens a connection of its own, which is closed again; how it would get to the session is
rotation.py's to say. The live session is not touched and not even known here, so what depends on
its state is taken as when all is well: that it is open, and not blocked.
"""

import dataclasses
import enum
from dataclasses import dataclass
from datetime import datetime

from springline import errors
from springline.api import texts
from springline.core import rotation
from springline.core.attempt import AsRead, Means, Silent, attempt, preparing
from springline.core.closing import close_quietly
from springline.core.desired import SessionSpec
from springline.core.rotation import Situation, Step
from springline.core.values import (
    Credential,
    CredentialKind,
    Endpoint,
    SessionKey,
    TLSClient,
    same_tls,
)
from springline.reasons import Reason

__all__ = ["Reading", "Rehearsal", "RotationOutcome", "not_tried", "read", "rehearse"]


class RotationOutcome(enum.StrEnum):
    """What would become of the session; where it can be, the word is that of its status."""

    IN_PLACE = "InPlace"  # the broker takes it, and the live connection is renewed with it
    REPLACED = "Replaced"  # the broker takes it, and a new connection takes over
    ACCEPTED = "Accepted"  # the broker takes it; how it would get there is not known
    UNCHANGED = "Unchanged"  # it is what the session has already
    REFUSED = "Refused"  # it cannot be used as it is
    NOT_TRIED = "NotTried"  # nobody could be asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a session reads before it connects, at one moment."""

    credential: Credential
    tls: TLSClient | None
    endpoints: tuple[Endpoint, ...] = ()
    """Where the broker is; empty where no object that is read says it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What would become of one session."""

    key: SessionKey
    outcome: RotationOutcome
    reason: Reason
    message: str
    """One sentence for people; never a secret."""
    credential: Credential | None = None
    """What the broker has accepted just now."""

    @property
    def would_succeed(self) -> bool:
        """Whether the session would end up with what is new, and go on."""
        return self.outcome not in (RotationOutcome.REFUSED, RotationOutcome.NOT_TRIED)

    @property
    def username(self) -> str:
        """The user that the broker has accepted, empty otherwise."""
        return texts.shown(self.credential.username) if self.credential is not None else ""

    @property
    def expires_at(self) -> datetime | None:
        """When the accepted credential expires, if it does."""
        return self.credential.expires_at if self.credential is not None else None


def not_tried(key: SessionKey, reason: Reason, message: str) -> Rehearsal:
    """Return the rehearsal of a session for which nobody could be asked."""
    return Rehearsal(
        key=key,
        outcome=RotationOutcome.NOT_TRIED,
        reason=reason,
        message=f"not tried: {message}",
    )


async def read(spec: SessionSpec, means: Means, *, before: Reading | None = None) -> Reading:
    """Return what the session would read now; what is issued is another one than `before`.

    Raises `ConnectError` or `CredentialError`. Takes at most `spec.connect_timeout` seconds.
    """
    async with preparing(spec):
        return Reading(
            credential=await means.credentials.fetch(
                instead_of=before.credential if before is not None else None
            ),
            tls=await means.tls.fetch(),
            endpoints=(
                tuple(each.endpoint for each in await means.endpoints.fetch())
                if spec.target.is_told_where
                else ()
            ),
        )


async def rehearse(spec: SessionSpec, means: Means, *, before: Reading | None) -> Rehearsal:
    """Open one connection with what there is to read now, close it, and say what would follow.

    `before` is what the session uses, None if that is not known. Tried once; a session would try
    again. Safe to cancel: nothing stays open.
    """
    step: Step | None = None
    try:
        now = await read(spec, means, before=before)
        if before is not None:
            step = _step(before, now)
            if step is None:
                return Rehearsal(
                    key=spec.key,
                    outcome=RotationOutcome.UNCHANGED,
                    reason=Reason.NOT_CHECKED,
                    message="nothing would change",
                )
        # The step holds for what was read now, so neither is read again on the way.
        means = dataclasses.replace(means, credentials=AsRead(now.credential), tls=AsRead(now.tls))
        trial = await attempt(spec, means, Silent(), name_suffix=" (verification)")
    except (errors.TransientError, errors.CredentialUnavailableError) as error:
        return not_tried(spec.key, error.reason, error.message)
    except errors.CredentialError as error:
        return _refused(spec, error.reason, f"cannot be used: {error.message}", step=None)
    except errors.ConnectError as error:
        return _refused(spec, error.reason, f"refused: {error.message}", step=step)
    await close_quietly(trial.connection, "credential verified")
    if not trial.connection.info.proved:
        return not_tried(spec.key, Reason.NOT_CHECKED, "the broker asked for no credential")
    outcome, message = _accepted(before, now, step, trial.connection.cannot_renew)
    return Rehearsal(
        key=spec.key,
        outcome=outcome,
        reason=Reason.VERIFIED,
        message=message,
        credential=trial.credential,
    )


def _step(before: Reading, now: Reading) -> Step | None:
    """Return how `now` would get to a session that is open with `before`."""
    return rotation.next_step(
        Situation(
            current=before.credential,
            new=now.credential,
            # Prepared TLS clients are shared while the certificates stay the same.
            same_certificates=same_tls(before.tls, now.tls),
            # Which of them it uses nobody knows here; it stays if it may stay wherever it is.
            same_endpoint=set(before.endpoints) <= set(now.endpoints),
            is_verified=True,
        )
    )


def _accepted(
    before: Reading | None, now: Reading, step: Step | None, cannot_renew: str
) -> tuple[RotationOutcome, str]:
    if before is None:
        return RotationOutcome.ACCEPTED, (
            "would be accepted; whether in place or by a new session is not known without the one "
            "that is used now"
        )
    if step is Step.UPDATE and not cannot_renew:
        return RotationOutcome.IN_PLACE, "would be renewed in place"
    why = [cannot_renew] if step is Step.UPDATE else []
    if before.credential.username != now.credential.username:
        why.append(f"another user: {_users(before.credential, now.credential)}")
    if not same_tls(before.tls, now.tls):
        why.append("other certificates")
    if not set(before.endpoints) <= set(now.endpoints):
        why.append("another endpoint")
    return RotationOutcome.REPLACED, f"would be replaced ({', '.join(why)})"


def _users(before: Credential, now: Credential) -> str:
    """Name both users, as far as it is certain that neither name is a secret.

    The broker has accepted the new one. What stands in the place of the old one may be a password
    that was put under the wrong key, which is just what is being corrected; the subject of a token
    cannot be that.
    """
    new = texts.shown(now.username) or "(unnamed)"
    if before.kind is not CredentialKind.TOKEN:
        return new
    return f"{texts.shown(before.username) or '(unnamed)'} → {new}"


def _refused(spec: SessionSpec, reason: Reason, message: str, *, step: Step | None) -> Rehearsal:
    unseen = step is Step.UPDATE and not spec.rotation.verify
    end = (
        "the session would get it all the same, because spec.rotation.verify is None"
        if unseen
        else "the session would keep what it has"
    )
    return Rehearsal(
        key=spec.key,
        outcome=RotationOutcome.REFUSED,
        reason=reason,
        message=f"{message.rstrip('.')}; {end}",
    )
