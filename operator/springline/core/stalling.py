"""Whether a session gets no further until somebody changes something. Pure.

kstatus, which Flux and others ask, takes the condition Stalled for a failure, and who waits for it
gives up. So it is not said of what may pass by itself, and at once only of what lies in the
declaration of the connection alone: users, Secrets and brokers often come seconds later.
"""

from typing import Final, assert_never

from springline.api.conditions import Condition, ConditionStatus
from springline.core.state import Failure, Phase, SessionState
from springline.core.verdicts import Verdict
from springline.core.view import SessionView
from springline.reasons import Reason

__all__ = ["GRACE_SECONDS", "refusal", "stalled", "stalls_in"]

GRACE_SECONDS: Final = 300.0
"""How long something is refused before it counts as stalled."""

_OF_ITS_OWN: Final = frozenset({Reason.INVALID_SPEC, Reason.STAY_CLOSED})
"""What only another declaration of the same connection can mend, unless a broker's can, too."""


def refusal(state: SessionState) -> Failure | None:
    """Return what has to be changed by somebody; None if nothing is, or it may pass by itself."""
    match state.phase:
        case Phase.SUSPENDED | Phase.CONNECTING:
            return None
        case Phase.CONNECTED if state.synced.reason is Reason.APPLYING:
            return None  # what was refused before, is no longer declared
        case Phase.CONNECTED:
            return _of(state.credentials) or _of(state.synced)
        case Phase.WAITING:
            failure = state.failure
            is_about_credential = failure is not None and failure.reason is Reason.NO_CREDENTIALS
            return _of(state.credentials) if is_about_credential else None
        case Phase.REJECTED:
            return state.failure
        case Phase.CLOSED:
            return None if state.ended else state.failure
        case _:
            assert_never(state.phase)


def _of(verdict: Verdict) -> Failure | None:
    if verdict.status is not ConditionStatus.FALSE or verdict.passes:
        return None
    return Failure(reason=verdict.reason, message=verdict.message)


def stalled(view: SessionView, before: Condition | None = None) -> Verdict | None:
    """Return what the condition Stalled says; None if the session is not stalled.

    `before` is the condition as it was. What was stalled and is refused still, stays so for as long
    as the declaration is the same. That the operator ends changes nothing about it: the next one
    does not begin to count anew.
    """
    is_known = (
        before is not None
        and before.status is ConditionStatus.TRUE
        and before.observed_generation == view.generation
    )
    if view.state.ended and is_known and before is not None:
        return Verdict(status=before.status, reason=before.reason, message=before.message)
    failure = refusal(view.state)
    if failure is None:
        return None
    if not (is_known or _is_its_own(failure) or view.refused_seconds >= GRACE_SECONDS):
        return None
    return Verdict(status=ConditionStatus.TRUE, reason=failure.reason, message=failure.message)


def stalls_in(view: SessionView) -> float | None:
    """Return in how many seconds the session will be stalled if nothing happens; else None."""
    failure = refusal(view.state)
    if failure is None or _is_its_own(failure) or view.refused_seconds >= GRACE_SECONDS:
        return None
    return GRACE_SECONDS - view.refused_seconds


def _is_its_own(failure: Failure) -> bool:
    return failure.reason in _OF_ITS_OWN and not failure.elsewhere
