"""The session's state machine: `step(state, event)` is pure. No clock, no await, no logging.

The session (session.py) turns what happens into the events below, hands them here one at a time,
and carries out the command that comes back. Everything that status shows about *whether and why*
is in `SessionState`; times, addresses and negotiated values are not, because no decision depends
on them.
"""

import enum
from dataclasses import dataclass, replace
from typing import assert_never

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core import verdicts
from springline.core.values import Block
from springline.core.verdicts import Verdict
from springline.reasons import Reason

__all__ = [
    "AttemptFailed",
    "Blocked",
    "CloseRequested",
    "CloseWhenLostRequested",
    "Command",
    "CredentialChanged",
    "CredentialExpired",
    "CredentialExpiring",
    "Declared",
    "Failure",
    "Lost",
    "Opened",
    "Phase",
    "ProbeConfirmed",
    "ProbeFailed",
    "ProbeRefused",
    "ProbeRestarted",
    "ProbeUnanswered",
    "ReconnectRequested",
    "RenewRequested",
    "RenewalDue",
    "RenewalRefused",
    "Renewed",
    "RoomNeeded",
    "SessionState",
    "StateEvent",
    "Transition",
    "Unblocked",
    "Unchanged",
    "step",
]


class Phase(enum.StrEnum):
    """`status.state`: one word for people."""

    SUSPENDED = "Suspended"  # declared so
    CONNECTING = "Connecting"  # the first attempt since the declaration or credential changed
    CONNECTED = "Connected"  # open
    WAITING = "Waiting"  # not open, expected to come back by itself; retried with backoff
    REJECTED = (
        "Rejected"  # refused; waits for somebody to change something, retried slowly if at all
    )
    CLOSED = "Closed"  # over, and not to be reopened


class Command(enum.Enum):
    """What the session does next. Commands that start over drop a running attempt first."""

    NOTHING = "nothing"  # keep on
    CONNECT_NOW = "connect now"  # something changed: the spacing of attempts does not apply
    CONNECT_SPACED = "connect spaced"  # when the retry delay since the last start has passed
    CONNECT_SLOWLY = "connect slowly"  # after the longest delay
    RECONNECT = "reconnect"  # close the open connection, then connect now
    RENEW = "renew"  # bring the new credential to the open connection
    STAND_DOWN = "stand down"  # close or drop whatever there is, and wait for an event
    FINISH = "finish"  # the same, and the session ends


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why there is no session: a reason of the contract and a sentence."""

    reason: Reason
    message: str
    elsewhere: bool = False
    """Whether another object than the declaration can mend it as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionState:
    """All that decisions depend on and conditions are made of."""

    phase: Phase = Phase.CONNECTING
    stay_closed: bool = False
    finish_when_lost: bool = False
    """Whether the session ends together with its current connection."""
    attempts: int = 0
    """Failed attempts since the last success."""
    failure: Failure | None = None
    """What keeps it from being connected; None while connected and before the first result."""
    standing: bool = False
    """Whether `failure` lies in the declaration, so that only a new one can help."""
    proved: bool = True
    """Whether the open connection, or else the one before, proved its credential to the broker."""
    anonymous: bool = False
    """Whether there was none to prove, as declared."""
    credentials: Verdict = verdicts.NOT_CHECKED
    blocked: Verdict = verdicts.NOT_CONNECTED
    unprobed: Verdict | None = None
    """What is said of blocks while the open session goes without a probe and none is known."""
    synced: Verdict = verdicts.NOTHING_LIVE
    """Whether the open session uses what is declared."""
    ended: bool = False
    """Whether the session is over; nothing follows from anything then."""


# --- events


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """The declaration is new or has changed."""

    problem: Failure | None = None
    """Why it cannot be used, if so."""
    suspend: bool = False
    stay_closed: bool = False
    changed: bool = True
    """Whether what an open session uses may no longer be what is declared."""
    probing: bool | None = True
    """Whether blocks are looked for; None where that is declared as before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialChanged:
    """An object that the session reads its credential or certificates from has changed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewRequested:
    """Somebody asked for the credential to be renewed now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalDue:
    """The credential in use is to be renewed, before its lifetime ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialExpiring:
    """The credential in use should have been renewed by now; why it has not been."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialExpired:
    """The lifetime of the credential in use is over."""

    message: str
    passes: bool = False
    """Whether there is none yet only because whoever issues it cannot be asked now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconnectRequested:
    """Somebody asked for a fresh connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFailed:
    """An attempt ended without a connection."""

    error: errors.ConnectError | errors.CredentialError
    has_expired: bool = False
    """Whether what it was made with has expired, by our clock or by the broker's word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """An attempt succeeded."""

    probing: bool = True
    proved: bool = True
    """Whether the broker asked for the credential, and accepted it."""
    anonymous: bool = False
    """Whether none is declared, so that there was nothing to ask for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The open connection ended, not by our doing."""

    failure: Failure
    by_probe: bool = False
    """Whether it ended because of a probe, which is worth no session."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocked:
    """The broker said that it blocks this connection, and why."""

    block: Block


@dataclass(frozen=True, slots=True, kw_only=True)
class Unblocked:
    """The broker took the block back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeConfirmed:
    """The broker confirmed a publish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeUnanswered:
    """The broker neither confirmed a publish in time nor said that it blocks."""

    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeFailed:
    """The probe was answered, but not with what shows anything; the next one comes as usual."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRefused:
    """The probe may not publish, or there is none; that is tried again after a long pause."""

    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRestarted:
    """The probe may publish again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewed:
    """The open connection, or its replacement, uses the credential as it now stands."""

    verified: bool = True
    """Whether it was tried on a handshake."""
    limited: bool = False
    """Whether it was not because the broker allows no connection more."""
    synced: Verdict = verdicts.IN_SYNC
    """Whether that is all that is declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unchanged:
    """What is in use is what it should be; whatever was refused has been taken back."""

    synced: Verdict = verdicts.IN_SYNC
    """Whether that is all that is declared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewalRefused:
    """What is declared cannot be brought to the open connection, which keeps what it has."""

    error: errors.ConnectError | errors.CredentialError
    lasts: bool = True
    """Whether it is more than a hiccup of what may pass by itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoomNeeded:
    """The open connection has to be closed before another one can be opened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseRequested:
    """The session is to end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloseWhenLostRequested:
    """The session is to end when its current connection does."""


StateEvent = (
    Declared
    | CredentialChanged
    | RenewRequested
    | RenewalDue
    | CredentialExpiring
    | CredentialExpired
    | ReconnectRequested
    | AttemptFailed
    | Opened
    | Lost
    | Blocked
    | Unblocked
    | ProbeConfirmed
    | ProbeUnanswered
    | ProbeFailed
    | ProbeRefused
    | ProbeRestarted
    | Renewed
    | Unchanged
    | RenewalRefused
    | RoomNeeded
    | CloseRequested
    | CloseWhenLostRequested
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """The next state, and what to do to get there."""

    state: SessionState
    command: Command = Command.NOTHING


# --- step


def step(state: SessionState, event: StateEvent) -> Transition:
    """Return what follows from `event` in `state`. Total: no event is an error anywhere."""
    if state.ended:
        return Transition(state=state)
    transition = _react(state, event)
    if state.finish_when_lost and transition.state.phase is not Phase.CONNECTED:
        # Whoever ends the connection, the session was to end with it.
        return _finish(state)
    return transition


def _react(state: SessionState, event: StateEvent) -> Transition:  # noqa: C901  # one arm an event; each arm is one line or one call
    match event:
        case Declared():
            return _declared(state, event)
        case CredentialChanged() | RenewRequested():
            return _credential_changed(state)
        case RenewalDue():
            is_connected = state.phase is Phase.CONNECTED
            command = Command.RENEW if is_connected else Command.NOTHING
            return Transition(state=state, command=command)
        case CredentialExpiring(message=message):
            return _credential_expiring(state, message)
        case CredentialExpired(message=message, passes=passes):
            return _while_connected(state, credentials=verdicts.expired(message, passes=passes))
        case ReconnectRequested() | RoomNeeded():
            return _reconnect_requested(state)
        case AttemptFailed(error=error, has_expired=has_expired):
            return _attempt_failed(state, error, has_expired=has_expired)
        case Opened():
            return _opened(state, event)
        case Lost(failure=failure, by_probe=by_probe):
            return _lost(state, failure, by_probe=by_probe)
        case Blocked(block=block):
            return _while_connected(state, blocked=verdicts.blocked(block))
        case Unblocked():
            # Without a probe the next block may go unseen.
            return _while_connected(state, blocked=state.unprobed or verdicts.NOT_BLOCKED)
        case ProbeConfirmed():
            return _while_connected(_with_probe(state), blocked=verdicts.NOT_BLOCKED)
        case ProbeUnanswered(seconds=seconds):
            return _not_shown(state, f"the broker has not answered a probe within {seconds:g} s")
        case ProbeFailed(message=message):
            return _not_shown(state, message)
        case ProbeRefused(message=message):
            return _probe_refused(state, message)
        case ProbeRestarted():
            return Transition(state=_with_probe(state))
        case Renewed(synced=synced):
            return _while_connected(state, credentials=_accepted(state, event), synced=synced)
        case Unchanged(synced=synced):
            return _unchanged(state, synced)
        case RenewalRefused(error=error, lasts=lasts):
            return _renewal_refused(state, error, lasts=lasts)
        case CloseRequested():
            return _finish(state)
        case CloseWhenLostRequested():
            if state.phase is Phase.CONNECTED:
                return Transition(state=replace(state, finish_when_lost=True))
            return _finish(state)
        case _:
            assert_never(event)


def _declared(state: SessionState, event: Declared) -> Transition:
    state = replace(state, stay_closed=event.stay_closed)
    if event.problem is not None:
        stopped = replace(
            state,
            phase=Phase.REJECTED,
            failure=event.problem,
            standing=True,
            attempts=0,
            blocked=verdicts.NOT_CONNECTED,
            synced=verdicts.NOTHING_LIVE,
        )
        return Transition(state=stopped, command=Command.STAND_DOWN)
    if event.suspend:
        stopped = replace(
            state,
            phase=Phase.SUSPENDED,
            failure=Failure(reason=Reason.SUSPENDED, message="spec.suspend is true"),
            standing=True,
            attempts=0,
            blocked=verdicts.NOT_CONNECTED,
            synced=verdicts.NOTHING_LIVE,
        )
        return Transition(state=stopped, command=Command.STAND_DOWN)
    if state.phase is Phase.CONNECTED:
        if event.probing is not None:
            state = _with_probe(state) if event.probing else _unprobed(state, verdicts.PROBE_OFF)
        if not event.changed:
            return Transition(state=state)
        # The open session stays until what is declared now has been brought to it.
        return Transition(state=replace(state, synced=verdicts.APPLYING), command=Command.RENEW)
    return Transition(state=_fresh(state), command=Command.CONNECT_NOW)


def _with_probe(state: SessionState) -> SessionState:
    """Return the state from the beginning of a probe on; what is known of blocks stays known."""
    if state.phase is not Phase.CONNECTED:
        return state  # late news of a connection that is gone
    is_unknown = state.blocked == state.unprobed
    blocked = verdicts.NOT_PROBED if is_unknown else state.blocked
    return replace(state, blocked=blocked, unprobed=None)


def _unprobed(state: SessionState, why: Verdict) -> SessionState:
    """Return the state from the end of the probe on; a block stays known."""
    is_blocked = state.blocked.status is ConditionStatus.TRUE
    return replace(state, blocked=state.blocked if is_blocked else why, unprobed=why)


def _fresh(state: SessionState) -> SessionState:
    """Return the state at the start of a new cycle; what is known of the credential stays."""
    return replace(
        state,
        phase=Phase.CONNECTING,
        failure=None,
        standing=False,
        attempts=0,
        blocked=verdicts.NOT_CONNECTED,
        synced=verdicts.NOTHING_LIVE,
    )


def _credential_changed(state: SessionState) -> Transition:
    match state.phase:
        case Phase.CONNECTED:
            return Transition(state=state, command=Command.RENEW)
        case Phase.CONNECTING | Phase.WAITING:
            untried = replace(_fresh(state), credentials=verdicts.NOT_CHECKED)
            return Transition(state=untried, command=Command.CONNECT_NOW)
        case Phase.REJECTED if not state.standing:
            untried = replace(_fresh(state), credentials=verdicts.NOT_CHECKED)
            return Transition(state=untried, command=Command.CONNECT_NOW)
        case _:
            return Transition(state=state)


def _reconnect_requested(state: SessionState) -> Transition:
    match state.phase:
        case Phase.CONNECTED:
            return Transition(state=_fresh(state), command=Command.RECONNECT)
        case Phase.CONNECTING | Phase.WAITING | Phase.CLOSED:
            return Transition(state=_fresh(state), command=Command.CONNECT_NOW)
        case Phase.REJECTED if not state.standing:
            return Transition(state=_fresh(state), command=Command.CONNECT_NOW)
        case _:
            return Transition(state=state)


def _attempt_failed(
    state: SessionState,
    error: errors.ConnectError | errors.CredentialError,
    *,
    has_expired: bool,
) -> Transition:
    failed = replace(
        state,
        attempts=state.attempts + 1,
        blocked=verdicts.NOT_CONNECTED,
        synced=verdicts.NOTHING_LIVE,
    )
    if isinstance(error, errors.CredentialError):
        passes = isinstance(error, errors.CredentialUnavailableError)
        # Nothing was tried at the broker, so it counts as an attempt only to space what follows.
        waiting = replace(
            failed,
            phase=Phase.WAITING,
            attempts=failed.attempts if passes else state.attempts,
            failure=Failure(reason=Reason.NO_CREDENTIALS, message=error.message),
            credentials=verdicts.refused(error),
        )
        command = Command.CONNECT_SPACED if passes else Command.CONNECT_SLOWLY
        return Transition(state=waiting, command=command)
    failed = replace(
        failed,
        failure=Failure(reason=error.reason, message=error.message),
        credentials=verdicts.judged(state.credentials, error, has_expired=has_expired),
    )
    match error:
        case errors.TerminalError():
            stopped = replace(failed, phase=Phase.REJECTED, standing=True)
            return Transition(state=stopped, command=Command.STAND_DOWN)
        case errors.RejectedError():
            rejected = replace(failed, phase=Phase.REJECTED)
            # There may be another one to be had in the place of one that has expired.
            at_once = has_expired and state.attempts == 0
            command = Command.CONNECT_NOW if at_once else Command.CONNECT_SLOWLY
            return Transition(state=rejected, command=command)
        case _:
            waiting = replace(failed, phase=Phase.WAITING)
            return Transition(state=waiting, command=Command.CONNECT_SPACED)


def _opened(state: SessionState, news: Opened) -> Transition:
    state = replace(state, proved=news.proved, anonymous=news.anonymous)
    opened = replace(
        state,
        phase=Phase.CONNECTED,
        attempts=0,
        failure=None,
        standing=False,
        credentials=_in_use(state),
        blocked=verdicts.NOT_PROBED if news.probing else verdicts.PROBE_OFF,
        unprobed=None if news.probing else verdicts.PROBE_OFF,
        synced=verdicts.IN_SYNC,
    )
    return Transition(state=opened)


def _lost(state: SessionState, failure: Failure, *, by_probe: bool) -> Transition:
    if state.phase is not Phase.CONNECTED:
        return Transition(state=state)
    if by_probe:
        # What is lost by our own doing is no result, and the next one is not probed.
        return Transition(state=_fresh(state), command=Command.CONNECT_NOW)
    if state.stay_closed:
        closed = replace(
            state,
            phase=Phase.CLOSED,
            failure=Failure(
                reason=Reason.STAY_CLOSED,
                message=f"closed and not to be reopened ({failure.message})",
            ),
            standing=True,
            blocked=verdicts.NOT_CONNECTED,
            synced=verdicts.NOTHING_LIVE,
        )
        return Transition(state=closed, command=Command.STAND_DOWN)
    waiting = replace(
        state,
        phase=Phase.WAITING,
        failure=failure,
        blocked=verdicts.NOT_CONNECTED,
        synced=verdicts.NOTHING_LIVE,
    )
    # Who sends without a pause would do so again at once.
    is_hostile = failure.reason is Reason.FLOODED
    command = Command.CONNECT_SLOWLY if is_hostile else Command.CONNECT_SPACED
    return Transition(state=waiting, command=command)


def _not_shown(state: SessionState, message: str) -> Transition:
    """Return the state after a probe that showed nothing; a block stays known."""
    state = _with_probe(state)
    if state.blocked.status is ConditionStatus.TRUE:
        return Transition(state=state)
    return _while_connected(
        state,
        blocked=Verdict(status=ConditionStatus.UNKNOWN, reason=Reason.NOT_CHECKED, message=message),
    )


def _probe_refused(state: SessionState, message: str) -> Transition:
    if state.phase is not Phase.CONNECTED:
        return Transition(state=state)
    why = Verdict(status=ConditionStatus.UNKNOWN, reason=Reason.PROBE_DISABLED, message=message)
    return Transition(state=_unprobed(state, why))


def _credential_expiring(state: SessionState, message: str) -> Transition:
    if state.credentials.status is not ConditionStatus.TRUE:
        return Transition(state=state)  # what is known already is worse
    return _while_connected(state, credentials=verdicts.expiring(message))


def _in_use(state: SessionState) -> Verdict:
    """Tell what it says of a credential that a session was opened with it."""
    if state.anonymous:
        return verdicts.ANONYMOUS
    return verdicts.ACCEPTED if state.proved else verdicts.UNPROVED


def _accepted(state: SessionState, renewed: Renewed) -> Verdict:
    if not state.proved:
        return _in_use(state)
    if renewed.verified:
        return verdicts.VERIFIED
    return verdicts.UNTRIED if renewed.limited else verdicts.UNVERIFIED


def _unchanged(state: SessionState, synced: Verdict) -> Transition:
    is_known = state.credentials.reason in (Reason.ACCEPTED, Reason.VERIFIED)
    return _while_connected(
        state,
        credentials=None if is_known else _in_use(state),
        synced=synced,
    )


def _renewal_refused(
    state: SessionState,
    error: errors.ConnectError | errors.CredentialError,
    *,
    lasts: bool,
) -> Transition:
    # That no token is given says nothing of the one in use; its lifetime has a word of its own.
    is_about_credential = isinstance(
        error, errors.CredentialError | errors.CredentialRejectedError
    ) and (error.reason is not Reason.TOKEN_REQUEST_FAILED)
    return _while_connected(
        state,
        credentials=verdicts.refused(error) if is_about_credential else None,
        synced=verdicts.out_of_sync(error) if lasts else None,
    )


def _while_connected(
    state: SessionState,
    *,
    blocked: Verdict | None = None,
    credentials: Verdict | None = None,
    synced: Verdict | None = None,
) -> Transition:
    """Late news of a connection that is gone changes nothing."""
    if state.phase is not Phase.CONNECTED:
        return Transition(state=state)
    return Transition(
        state=replace(
            state,
            blocked=blocked or state.blocked,
            credentials=credentials or state.credentials,
            synced=synced or state.synced,
        )
    )


def _finish(state: SessionState) -> Transition:
    finished = replace(
        state,
        phase=Phase.CLOSED,
        failure=Failure(
            reason=Reason.CLIENT_CLOSED,
            message="Springline closed the session and no longer keeps it",
        ),
        standing=True,
        blocked=verdicts.NOT_CONNECTED,
        synced=verdicts.NOTHING_LIVE,
        ended=True,
    )
    return Transition(state=finished, command=Command.FINISH)
