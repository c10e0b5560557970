"""What follows from every event in every state: phase and command, then the conditions."""

import dataclasses

import pytest

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core import state
from springline.core.state import (
    AttemptFailed,
    Blocked,
    CloseRequested,
    CloseWhenLostRequested,
    Command,
    CredentialChanged,
    Declared,
    Failure,
    Lost,
    Opened,
    Phase,
    ProbeRefused,
    ProbeUnanswered,
    ReconnectRequested,
    RenewalRefused,
    Renewed,
    SessionState,
    StateEvent,
    Unblocked,
    Verdict,
    step,
)
from springline.reasons import Reason
from support.builders import credential_refused, no_secret, refused, terminal, unreachable

INVALID = Failure(reason=Reason.INVALID_SPEC, message="the declaration contradicts itself")
GONE = Failure(reason=Reason.PEER_CLOSED, message="the peer ended the connection")


def after(*events: StateEvent, of: SessionState | None = None) -> SessionState:
    current = of if of is not None else SessionState()
    for event in events:
        current = step(current, event).state
    return current


CONNECTING = SessionState()
CONNECTED = after(Opened())
BLOCKED = after(Opened(), Blocked(text="low on memory"))
LOST = after(Opened(), Lost(failure=GONE))
WAITING = after(AttemptFailed(error=unreachable()))
WITHOUT_SECRET = after(AttemptFailed(error=no_secret()))
REJECTED = after(AttemptFailed(error=credential_refused()))
TERMINAL = after(AttemptFailed(error=terminal()))
UNUSABLE = after(Declared(problem=INVALID))
SUSPENDED = after(Declared(suspend=True))
STAYED_CLOSED = after(Declared(stay_closed=True), Opened(), Lost(failure=GONE))
ENDING_WITH_CONNECTION = after(Opened(), CloseWhenLostRequested())
ENDED = after(CloseRequested())

NOW, SPACED, SLOWLY = Command.CONNECT_NOW, Command.CONNECT_SPACED, Command.CONNECT_SLOWLY
NOTHING, STAND_DOWN, FINISH = Command.NOTHING, Command.STAND_DOWN, Command.FINISH


@pytest.mark.parametrize(
    ("before", "event", "phase", "command"),
    [
        # declared
        pytest.param(CONNECTING, Declared(), "Connecting", NOW, id="a first declaration connects"),
        pytest.param(WAITING, Declared(), "Connecting", NOW, id="a new one ends the wait"),
        pytest.param(REJECTED, Declared(), "Connecting", NOW, id="a new one is tried once more"),
        pytest.param(TERMINAL, Declared(), "Connecting", NOW, id="a new one may work at last"),
        pytest.param(UNUSABLE, Declared(), "Connecting", NOW, id="a usable one takes over"),
        pytest.param(SUSPENDED, Declared(), "Connecting", NOW, id="resuming connects"),
        pytest.param(STAYED_CLOSED, Declared(), "Connecting", NOW, id="a new one reopens"),
        pytest.param(
            CONNECTED,
            Declared(moved=True),
            "Connecting",
            Command.RECONNECT,
            id="what no longer fits is opened anew",
        ),
        pytest.param(
            CONNECTED, Declared(moved=False), "Connected", NOTHING, id="what still fits is left"
        ),
        pytest.param(
            CONNECTED, Declared(suspend=True), "Suspended", STAND_DOWN, id="suspending closes"
        ),
        pytest.param(
            WAITING, Declared(suspend=True), "Suspended", STAND_DOWN, id="suspending stops retries"
        ),
        pytest.param(
            CONNECTED,
            Declared(problem=INVALID),
            "Rejected",
            STAND_DOWN,
            id="an unusable declaration closes",
        ),
        pytest.param(
            CONNECTING,
            Declared(problem=INVALID, suspend=True),
            "Rejected",
            STAND_DOWN,
            id="an unusable declaration is not merely suspended",
        ),
        # credential changed
        pytest.param(
            CONNECTED, CredentialChanged(), "Connected", Command.RENEW, id="renewed while open"
        ),
        pytest.param(
            CONNECTING, CredentialChanged(), "Connecting", NOW, id="a running attempt is outdated"
        ),
        pytest.param(WAITING, CredentialChanged(), "Connecting", NOW, id="it ends the wait"),
        pytest.param(
            WITHOUT_SECRET, CredentialChanged(), "Connecting", NOW, id="the Secret has appeared"
        ),
        pytest.param(
            REJECTED, CredentialChanged(), "Connecting", NOW, id="a refused login is tried again"
        ),
        pytest.param(
            TERMINAL, CredentialChanged(), "Rejected", NOTHING, id="no credential can help"
        ),
        pytest.param(
            UNUSABLE, CredentialChanged(), "Rejected", NOTHING, id="nor where nothing is declared"
        ),
        pytest.param(
            SUSPENDED, CredentialChanged(), "Suspended", NOTHING, id="suspended stays suspended"
        ),
        pytest.param(
            STAYED_CLOSED, CredentialChanged(), "Closed", NOTHING, id="closed stays closed"
        ),
        # reconnect requested
        pytest.param(
            CONNECTED,
            ReconnectRequested(),
            "Connecting",
            Command.RECONNECT,
            id="an open one is opened anew",
        ),
        pytest.param(WAITING, ReconnectRequested(), "Connecting", NOW, id="asked not to wait"),
        pytest.param(REJECTED, ReconnectRequested(), "Connecting", NOW, id="asked to try again"),
        pytest.param(
            STAYED_CLOSED, ReconnectRequested(), "Connecting", NOW, id="asked to reopen after all"
        ),
        pytest.param(
            SUSPENDED, ReconnectRequested(), "Suspended", NOTHING, id="suspended is not reopened"
        ),
        pytest.param(
            TERMINAL, ReconnectRequested(), "Rejected", NOTHING, id="asking changes no declaration"
        ),
        # attempts
        pytest.param(
            CONNECTING,
            AttemptFailed(error=unreachable()),
            "Waiting",
            SPACED,
            id="what may pass is tried again",
        ),
        pytest.param(
            CONNECTING,
            AttemptFailed(error=credential_refused()),
            "Rejected",
            SLOWLY,
            id="a refused login is tried slowly",
        ),
        pytest.param(
            CONNECTING,
            AttemptFailed(error=refused()),
            "Rejected",
            SLOWLY,
            id="a refused name is tried slowly",
        ),
        pytest.param(
            CONNECTING,
            AttemptFailed(error=terminal()),
            "Rejected",
            STAND_DOWN,
            id="what cannot work is not tried again",
        ),
        pytest.param(
            CONNECTING,
            AttemptFailed(error=no_secret()),
            "Waiting",
            SLOWLY,
            id="a missing Secret is looked for slowly",
        ),
        pytest.param(CONNECTING, Opened(), "Connected", NOTHING, id="open at the first attempt"),
        pytest.param(WAITING, Opened(), "Connected", NOTHING, id="open at a later attempt"),
        # lost
        pytest.param(CONNECTED, Lost(failure=GONE), "Waiting", SPACED, id="lost and reopened"),
        pytest.param(
            after(Declared(stay_closed=True), Opened()),
            Lost(failure=GONE),
            "Closed",
            STAND_DOWN,
            id="lost and left closed as declared",
        ),
        pytest.param(
            ENDING_WITH_CONNECTION,
            Lost(failure=GONE),
            "Closed",
            FINISH,
            id="lost and ended as asked",
        ),
        # close
        pytest.param(CONNECTED, CloseRequested(), "Closed", FINISH, id="closed while open"),
        pytest.param(WAITING, CloseRequested(), "Closed", FINISH, id="closed while waiting"),
        pytest.param(SUSPENDED, CloseRequested(), "Closed", FINISH, id="closed while suspended"),
        pytest.param(
            CONNECTED,
            CloseWhenLostRequested(),
            "Connected",
            NOTHING,
            id="the live connection is left alone",
        ),
        pytest.param(
            WAITING,
            CloseWhenLostRequested(),
            "Closed",
            FINISH,
            id="without a connection it ends at once",
        ),
    ],
)
def test_phase_and_command(
    before: SessionState, event: StateEvent, phase: str, command: Command
) -> None:
    transition = step(before, event)
    assert transition.state.phase.value == phase
    assert transition.command is command


LATE_NEWS = [
    pytest.param(Lost(failure=GONE), id="lost"),
    pytest.param(Blocked(text="low on memory"), id="blocked"),
    pytest.param(Unblocked(), id="unblocked"),
    pytest.param(ProbeUnanswered(seconds=5), id="probe unanswered"),
    pytest.param(ProbeRefused(message="no permission"), id="probe refused"),
    pytest.param(Renewed(), id="renewed"),
    pytest.param(RenewalRefused(error=credential_refused()), id="renewal refused"),
]


@pytest.mark.parametrize("event", LATE_NEWS)
@pytest.mark.parametrize(
    "before",
    [
        pytest.param(CONNECTING, id="Connecting"),
        pytest.param(WAITING, id="Waiting"),
        pytest.param(REJECTED, id="Rejected"),
        pytest.param(SUSPENDED, id="Suspended"),
        pytest.param(STAYED_CLOSED, id="Closed"),
    ],
)
def test_news_of_a_connection_that_is_gone_changes_nothing(
    before: SessionState, event: StateEvent
) -> None:
    transition = step(before, event)
    assert transition.state == before
    assert transition.command is NOTHING


@pytest.mark.parametrize(
    "event",
    [
        *LATE_NEWS,
        pytest.param(Declared(), id="declared"),
        pytest.param(CredentialChanged(), id="credential changed"),
        pytest.param(ReconnectRequested(), id="reconnect requested"),
        pytest.param(AttemptFailed(error=unreachable()), id="attempt failed"),
        pytest.param(Opened(), id="opened"),
        pytest.param(CloseRequested(), id="closed once more"),
        pytest.param(CloseWhenLostRequested(), id="close when lost"),
    ],
)
def test_a_session_that_has_ended_does_nothing_any_more(event: StateEvent) -> None:
    transition = step(ENDED, event)
    assert transition.state == ENDED
    assert transition.command is NOTHING


# R5.12
@pytest.mark.parametrize(
    "event",
    [
        pytest.param(Declared(moved=True), id="a declaration that moves it"),
        pytest.param(Declared(suspend=True), id="a declaration that suspends it"),
        pytest.param(Declared(problem=INVALID), id="a declaration that cannot be used"),
        pytest.param(ReconnectRequested(), id="a request for a fresh connection"),
    ],
)
def test_whatever_closes_the_connection_ends_a_session_that_was_to_end_with_it(
    event: StateEvent,
) -> None:
    transition = step(ENDING_WITH_CONNECTION, event)
    assert transition.command is FINISH
    assert transition.state.phase is Phase.CLOSED


def test_a_declaration_that_fits_does_not_end_a_session_that_waits_for_its_connection() -> None:
    transition = step(ENDING_WITH_CONNECTION, Declared(moved=False))
    assert transition.state.phase is Phase.CONNECTED
    assert transition.command is NOTHING


# --- why, and how often


def test_failed_attempts_are_counted_until_one_succeeds() -> None:
    failed = after(*[AttemptFailed(error=unreachable())] * 3)
    assert failed.attempts == 3
    assert after(Opened(), of=failed).attempts == 0


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(Declared(), id="a new declaration"),
        pytest.param(CredentialChanged(), id="a new credential"),
        pytest.param(ReconnectRequested(), id="a request"),
    ],
)
def test_what_starts_a_new_cycle_counts_from_nothing(event: StateEvent) -> None:
    fresh = after(event, of=after(*[AttemptFailed(error=credential_refused())] * 2))
    assert fresh.attempts == 0
    assert fresh.failure is None


def test_what_never_reached_the_broker_is_no_attempt() -> None:
    assert WITHOUT_SECRET.attempts == 0
    assert WITHOUT_SECRET.failure is not None
    assert WITHOUT_SECRET.failure.reason is Reason.NO_CREDENTIALS


@pytest.mark.parametrize(
    ("before", "reason", "standing"),
    [
        pytest.param(WAITING, Reason.CONNECTION_REFUSED, False, id="it may pass"),
        pytest.param(REJECTED, Reason.ACCESS_REFUSED, False, id="somebody may change the user"),
        pytest.param(TERMINAL, Reason.NO_AUTHENTICATION_MECHANISM, True, id="it cannot work"),
        pytest.param(UNUSABLE, Reason.INVALID_SPEC, True, id="it cannot be used"),
        pytest.param(SUSPENDED, Reason.SUSPENDED, True, id="it is not wanted"),
        pytest.param(STAYED_CLOSED, Reason.STAY_CLOSED, True, id="it is to stay closed"),
        pytest.param(LOST, Reason.PEER_CLOSED, False, id="it was lost"),
        pytest.param(ENDED, Reason.CLIENT_CLOSED, True, id="it was ended"),
    ],
)
def test_why_there_is_no_session(before: SessionState, reason: Reason, standing: bool) -> None:
    """A failure stands if only a new declaration can help."""
    assert before.failure is not None
    assert before.failure.reason is reason
    assert before.standing is standing


def test_the_sentence_says_why_a_session_stays_closed() -> None:
    assert STAYED_CLOSED.failure is not None
    assert GONE.message in STAYED_CLOSED.failure.message


# --- CredentialsValid


@pytest.mark.parametrize(
    ("before", "error", "status", "reason"),
    [
        pytest.param(
            CONNECTING, unreachable(), "Unknown", Reason.NOT_CHECKED, id="nobody was asked"
        ),
        pytest.param(
            CONNECTING, credential_refused(), "False", Reason.REJECTED, id="the broker refused it"
        ),
        pytest.param(
            CONNECTING,
            refused(),
            "True",
            Reason.ACCEPTED,
            id="the broker let it in and refused the virtual host",
        ),
        pytest.param(
            CONNECTING, no_secret(), "False", Reason.SECRET_NOT_FOUND, id="there is no Secret"
        ),
        pytest.param(
            LOST, unreachable(), "True", Reason.ACCEPTED, id="the last answer was yes"
        ),
        pytest.param(
            REJECTED, unreachable(), "False", Reason.REJECTED, id="the last answer was no"
        ),
        pytest.param(
            WITHOUT_SECRET,
            unreachable(),
            "Unknown",
            Reason.NOT_CHECKED,
            id="the Secret has appeared and nobody was asked yet",
        ),
    ],
)
def test_what_a_failed_attempt_says_about_the_credential(
    before: SessionState,
    error: errors.ConnectError | errors.CredentialError,
    status: str,
    reason: Reason,
) -> None:
    verdict = after(AttemptFailed(error=error), of=before).credentials
    assert (verdict.status.value, verdict.reason) == (status, reason)


def test_an_open_session_shows_that_its_credential_was_accepted() -> None:
    assert CONNECTED.credentials == state.ACCEPTED


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        pytest.param(Renewed(), Reason.VERIFIED, id="verified before it was applied"),
        pytest.param(Renewed(verified=False), Reason.ACCEPTED, id="unchanged"),
        pytest.param(
            RenewalRefused(error=credential_refused()), Reason.REJECTED, id="refused by the broker"
        ),
        pytest.param(
            RenewalRefused(error=no_secret()), Reason.SECRET_NOT_FOUND, id="gone from the Secret"
        ),
        pytest.param(
            RenewalRefused(error=unreachable()), Reason.ACCEPTED, id="the broker was not reached"
        ),
        pytest.param(
            RenewalRefused(error=refused()), Reason.ACCEPTED, id="something else was refused"
        ),
    ],
)
def test_a_renewal_leaves_the_session_open_and_judges_the_credential(
    event: StateEvent, reason: Reason
) -> None:
    transition = step(CONNECTED, event)
    assert transition.state.phase is Phase.CONNECTED
    assert transition.state.credentials.reason is reason
    assert transition.command is NOTHING


# --- Blocked


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("low on memory", Reason.LOW_ON_MEMORY, "low on memory"),
        ("low on disk", Reason.LOW_ON_DISK, "low on disk"),
        ("low on memory & low on disk", Reason.LOW_ON_MEMORY_AND_DISK, None),
        ("low on disk & low on memory", Reason.LOW_ON_MEMORY_AND_DISK, None),
        (" Low on Memory ", Reason.LOW_ON_MEMORY, None),
        ("quota exceeded", Reason.BLOCKED_BY_BROKER, "quota exceeded"),
        ("", Reason.BLOCKED_BY_BROKER, "the broker gave no reason"),
    ],
)
def test_a_block_has_the_brokers_reason_and_its_words(
    text: str, reason: Reason, message: str | None
) -> None:
    verdict = after(Blocked(text=text), of=CONNECTED).blocked
    assert verdict.status is ConditionStatus.TRUE
    assert verdict.reason is reason
    assert verdict.message == (message if message is not None else text)


@pytest.mark.parametrize(
    ("before", "event", "verdict"),
    [
        pytest.param(CONNECTING, Opened(), state.NOT_PROBED, id="nobody knows before a probe"),
        pytest.param(
            CONNECTING, Opened(probing=False), state.PROBE_OFF, id="nobody knows without one"
        ),
        pytest.param(CONNECTED, Unblocked(), state.NOT_BLOCKED, id="a publish was confirmed"),
        pytest.param(BLOCKED, Unblocked(), state.NOT_BLOCKED, id="the block was taken back"),
        pytest.param(BLOCKED, Lost(failure=GONE), state.NOT_CONNECTED, id="it went with its block"),
        pytest.param(
            BLOCKED, Declared(moved=True), state.NOT_CONNECTED, id="a fresh one starts unknown"
        ),
        pytest.param(
            BLOCKED, Declared(suspend=True), state.NOT_CONNECTED, id="a suspended one is not blocked"
        ),
        pytest.param(
            BLOCKED,
            Declared(problem=INVALID),
            state.NOT_CONNECTED,
            id="an unusable one is not blocked",
        ),
        pytest.param(BLOCKED, CloseRequested(), state.NOT_CONNECTED, id="nor one that has ended"),
        pytest.param(BLOCKED, Opened(), state.NOT_PROBED, id="a replacement starts unknown"),
        pytest.param(
            BLOCKED, ProbeUnanswered(seconds=5), BLOCKED.blocked, id="a blocked one stays blocked"
        ),
        pytest.param(
            BLOCKED,
            Declared(moved=False, probing=False),
            BLOCKED.blocked,
            id="a known block outlives its probe",
        ),
        pytest.param(
            CONNECTED,
            Declared(moved=False, probing=False),
            state.PROBE_OFF,
            id="the probe was switched off",
        ),
        pytest.param(
            after(Opened(probing=False)),
            Declared(moved=False, probing=True),
            state.NOT_PROBED,
            id="the probe was switched on",
        ),
        pytest.param(
            after(Opened(), Unblocked()),
            Declared(moved=False, probing=True),
            state.NOT_BLOCKED,
            id="what is known stays known",
        ),
    ],
)
def test_what_is_known_of_blocks(
    before: SessionState, event: StateEvent, verdict: Verdict
) -> None:
    assert after(event, of=before).blocked == verdict


def test_an_unanswered_probe_says_only_that_nobody_knows() -> None:
    verdict = after(ProbeUnanswered(seconds=5), of=after(Opened(), Unblocked())).blocked
    assert verdict.status is ConditionStatus.UNKNOWN
    assert "within 5 s" in verdict.message


def test_a_refused_probe_says_that_a_block_would_go_unseen() -> None:
    verdict = after(ProbeRefused(message="no permission"), of=CONNECTED).blocked
    assert verdict.status is ConditionStatus.UNKNOWN
    assert verdict.reason is Reason.PROBE_DISABLED
    assert verdict.message == "no permission"


def test_states_are_values() -> None:
    assert dataclasses.replace(CONNECTED) == CONNECTED
    with pytest.raises(dataclasses.FrozenInstanceError):
        CONNECTED.phase = Phase.CLOSED  # type: ignore[misc]  # the point of the test
