"""What each condition says: its truth, its reason and a sentence. Pure.

state.py decides which of these holds; here is how it is put.
"""

from dataclasses import dataclass
from typing import Final

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core.values import Block
from springline.reasons import Reason

__all__ = [
    "ACCEPTED",
    "ANONYMOUS",
    "APPLYING",
    "IN_SYNC",
    "NOTHING_LIVE",
    "NOT_BLOCKED",
    "NOT_CHECKED",
    "NOT_CONNECTED",
    "NOT_PROBED",
    "PROBE_OFF",
    "UNPROVED",
    "UNTRIED",
    "UNVERIFIED",
    "VERIFIED",
    "Verdict",
    "blocked",
    "expired",
    "expiring",
    "judged",
    "out_of_sync",
    "refused",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One condition's truth, reason and sentence."""

    status: ConditionStatus
    reason: Reason
    message: str = ""
    passes: bool = False
    """Whether it may become True by itself, without anybody changing anything."""


NOT_CHECKED = Verdict(
    status=ConditionStatus.UNKNOWN,
    reason=Reason.NOT_CHECKED,
    message="the broker has not answered yet",
)
UNPROVED = Verdict(
    status=ConditionStatus.UNKNOWN,
    reason=Reason.NOT_CHECKED,
    message="the broker asked for no credential, so whether it would accept this one is not known",
)
ANONYMOUS = Verdict(
    status=ConditionStatus.TRUE,
    reason=Reason.ANONYMOUS,
    message="no credential is declared, and the broker lets anybody in",
)
NOT_CONNECTED = Verdict(
    status=ConditionStatus.UNKNOWN,
    reason=Reason.NOT_CONNECTED,
    message="there is no session to be blocked",
)
NOT_PROBED = Verdict(
    status=ConditionStatus.UNKNOWN,
    reason=Reason.NOT_CHECKED,
    message="the first probe is under way",
)
PROBE_OFF = Verdict(
    status=ConditionStatus.UNKNOWN,
    reason=Reason.PROBE_DISABLED,
    message="spec.probe.mode is None, and a broker tells nothing to who sends nothing",
)
NOT_BLOCKED = Verdict(
    status=ConditionStatus.FALSE,
    reason=Reason.NOT_BLOCKED,
    message="the broker takes in what it is sent",
)
ACCEPTED = Verdict(
    status=ConditionStatus.TRUE,
    reason=Reason.ACCEPTED,
    message="the broker accepted this credential",
)
VERIFIED = Verdict(
    status=ConditionStatus.TRUE,
    reason=Reason.VERIFIED,
    message="a throw-away handshake with this credential succeeded",
)


UNVERIFIED = Verdict(
    status=ConditionStatus.TRUE,
    reason=Reason.ACCEPTED,
    message="the broker confirmed it in place; spec.rotation.verify is None, so it was not tried",
)
UNTRIED = Verdict(
    status=ConditionStatus.TRUE,
    reason=Reason.ACCEPTED,
    message=(
        "the broker confirmed it in place; it was not tried, because the broker allows no "
        "connection more and spec.rotation.whenLimited is UpdateUnverified"
    ),
)


def judged(before: Verdict, error: errors.ConnectError, *, has_expired: bool) -> Verdict:
    """Tell what a failed attempt says about the credential: often nothing."""
    if isinstance(error, errors.CredentialRejectedError):
        return expired(f"it has expired; {error.message}") if has_expired else refused(error)
    if error.authenticated:
        return ACCEPTED
    return before if before.reason in _FROM_THE_BROKER else NOT_CHECKED


_FROM_THE_BROKER: Final = frozenset(
    {
        Reason.ACCEPTED,
        Reason.VERIFIED,
        Reason.REJECTED,
        Reason.CREDENTIAL_TOO_LONG,
        Reason.EXPIRING,
        Reason.EXPIRED,
    }
)


def refused(error: errors.ConnectError | errors.CredentialError) -> Verdict:
    """Say why a credential cannot be used, or why there is none."""
    reason = error.reason
    if isinstance(error, errors.ConnectError) and error.says_expired:
        return expired(f"the new one has expired; {error.message}")
    if isinstance(error, errors.ConnectError) and reason is not Reason.CREDENTIAL_TOO_LONG:
        reason = Reason.REJECTED
    return Verdict(
        status=ConditionStatus.FALSE, reason=reason, message=error.message, passes=_passes(error)
    )


def _passes(error: errors.ConnectError | errors.CredentialError) -> bool:
    return isinstance(error, errors.CredentialUnavailableError | errors.TransientError)


def expiring(message: str) -> Verdict:
    """Say that a credential is still valid, and has not been renewed though it was time."""
    return Verdict(status=ConditionStatus.TRUE, reason=Reason.EXPIRING, message=message)


def expired(message: str, *, passes: bool = False) -> Verdict:
    """Say that a credential's lifetime is over; it passes where another one may still come."""
    return Verdict(
        status=ConditionStatus.FALSE, reason=Reason.EXPIRED, message=message, passes=passes
    )


NOTHING_LIVE = Verdict(
    status=ConditionStatus.UNKNOWN,
    reason=Reason.NOT_CONNECTED,
    message="there is no session to use it",
)
IN_SYNC = Verdict(
    status=ConditionStatus.TRUE,
    reason=Reason.IN_SYNC,
    message="the session uses what is declared",
)
APPLYING = Verdict(
    status=ConditionStatus.UNKNOWN,
    reason=Reason.APPLYING,
    message="what is declared now is being brought to the session",
)


def out_of_sync(error: errors.ConnectError | errors.CredentialError) -> Verdict:
    """Say why what is declared cannot be brought to the open session, which keeps what it has."""
    is_credential = isinstance(error, errors.CredentialError | errors.CredentialRejectedError)
    return Verdict(
        status=ConditionStatus.FALSE,
        reason=refused(error).reason if is_credential else error.reason,
        message=f"the session keeps what it has: {error.message}",
        passes=_passes(error),
    )


def blocked(block: Block) -> Verdict:
    """Return the Blocked condition; the broker's words are always in the message."""
    return Verdict(
        status=ConditionStatus.TRUE,
        reason=block.reason,
        message=block.text or "the broker gave no reason",
    )
