"""What a session's state says: why it is not open, CredentialsValid, Blocked."""

import dataclasses

import pytest

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core import verdicts
from springline.core.state import (
    AttemptFailed,
    Blocked,
    CloseRequested,
    Command,
    CredentialChanged,
    Declared,
    Lost,
    Opened,
    Phase,
    ProbeConfirmed,
    ProbeRefused,
    ProbeUnanswered,
    ReconnectRequested,
    RenewalRefused,
    Renewed,
    SessionState,
    StateEvent,
    Unblocked,
    step,
)
from springline.core.values import Block
from springline.reasons import Reason
from support.builders import a_block, credential_refused, no_secret, refused, unreachable
from support.states import (
    BLOCKED,
    CONNECTED,
    CONNECTING,
    ENDED,
    GONE,
    INVALID,
    LOST,
    REJECTED,
    STAYED_CLOSED,
    SUSPENDED,
    TERMINAL,
    UNUSABLE,
    WAITING,
    WITHOUT_SECRET,
    after,
)

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
        pytest.param(LOST, unreachable(), "True", Reason.ACCEPTED, id="the last answer was yes"),
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


@pytest.mark.parametrize(
    "before",
    [
        pytest.param(LOST, id="the former was accepted"),
        pytest.param(REJECTED, id="the former was refused"),
    ],
)
def test_a_changed_credential_is_not_judged_before_it_was_tried(before: SessionState) -> None:
    changed = after(CredentialChanged(), AttemptFailed(error=unreachable()), of=before)
    assert changed.credentials == verdicts.NOT_CHECKED


def test_an_open_session_shows_that_its_credential_was_accepted() -> None:
    assert CONNECTED.credentials == verdicts.ACCEPTED


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
    assert transition.command is Command.NOTHING


# --- Blocked


@pytest.mark.parametrize(
    ("text", "reason", "message"),
    [
        ("low on memory", Reason.LOW_ON_MEMORY, "low on memory"),
        ("no room left", Reason.LOW_ON_DISK, "no room left"),
        ("low on memory", Reason.BLOCKED_BY_BROKER, "low on memory"),
        ("quota exceeded", Reason.BLOCKED_BY_BROKER, "quota exceeded"),
        ("", Reason.BLOCKED_BY_BROKER, "the broker gave no reason"),
    ],
)
def test_a_block_has_the_reason_that_the_driver_tells_and_the_brokers_words(
    text: str, reason: Reason, message: str
) -> None:
    """Whatever the words are: what they mean is the protocol's to say."""
    verdict = after(Blocked(block=Block(reason=reason, text=text)), of=CONNECTED).blocked
    assert verdict.status is ConditionStatus.TRUE
    assert verdict.reason is reason
    assert verdict.message == message


@pytest.mark.parametrize(
    ("before", "event", "verdict"),
    [
        pytest.param(CONNECTING, Opened(), verdicts.NOT_PROBED, id="nobody knows before a probe"),
        pytest.param(
            CONNECTING, Opened(probing=False), verdicts.PROBE_OFF, id="nobody knows without one"
        ),
        pytest.param(
            CONNECTED, ProbeConfirmed(), verdicts.NOT_BLOCKED, id="a publish was confirmed"
        ),
        pytest.param(BLOCKED, Unblocked(), verdicts.NOT_BLOCKED, id="the block was taken back"),
        pytest.param(
            after(Opened(probing=False), Blocked(block=a_block())),
            Unblocked(),
            verdicts.PROBE_OFF,
            id="without a probe the next block would go unseen",
        ),
        pytest.param(
            after(
                Opened(),
                ProbeRefused(message="no permission"),
                ProbeConfirmed(),
                Blocked(block=a_block()),
            ),
            Unblocked(),
            verdicts.NOT_BLOCKED,
            id="the probe that was refused is let",
        ),
        pytest.param(
            BLOCKED,
            ProbeRefused(message="no permission"),
            BLOCKED.blocked,
            id="a known block outlives a refusal",
        ),
        pytest.param(
            BLOCKED, Lost(failure=GONE), verdicts.NOT_CONNECTED, id="it went with its block"
        ),
        pytest.param(
            BLOCKED, Declared(changed=True), BLOCKED.blocked, id="the open one stays blocked"
        ),
        pytest.param(
            BLOCKED,
            Declared(suspend=True),
            verdicts.NOT_CONNECTED,
            id="a suspended one is not blocked",
        ),
        pytest.param(
            BLOCKED,
            Declared(problem=INVALID),
            verdicts.NOT_CONNECTED,
            id="an unusable one is not blocked",
        ),
        pytest.param(
            BLOCKED, CloseRequested(), verdicts.NOT_CONNECTED, id="nor one that has ended"
        ),
        pytest.param(BLOCKED, Opened(), verdicts.NOT_PROBED, id="a replacement starts unknown"),
        pytest.param(
            BLOCKED, ProbeUnanswered(seconds=5), BLOCKED.blocked, id="a blocked one stays blocked"
        ),
        pytest.param(
            BLOCKED,
            Declared(changed=False, probing=False),
            BLOCKED.blocked,
            id="a known block outlives its probe",
        ),
        pytest.param(
            CONNECTED,
            Declared(changed=False, probing=False),
            verdicts.PROBE_OFF,
            id="the probe was switched off",
        ),
        pytest.param(
            after(Opened(probing=False)),
            Declared(changed=False, probing=True),
            verdicts.NOT_PROBED,
            id="the probe was switched on",
        ),
        pytest.param(
            after(Opened(), Unblocked()),
            Declared(changed=False, probing=True),
            verdicts.NOT_BLOCKED,
            id="what is known stays known",
        ),
    ],
)
def test_what_is_known_of_blocks(
    before: SessionState, event: StateEvent, verdict: verdicts.Verdict
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
