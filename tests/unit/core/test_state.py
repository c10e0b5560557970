"""What follows from every event in every state: phase and command."""

import pytest

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
from springline.reasons import Reason
from support.builders import (
    a_block,
    credential_refused,
    no_secret,
    refused,
    secret_unreadable,
    terminal,
    unreachable,
)
from support.states import (
    CONNECTED,
    CONNECTING,
    ENDED,
    ENDING_WITH_CONNECTION,
    GONE,
    INVALID,
    REJECTED,
    STAYED_CLOSED,
    SUSPENDED,
    TERMINAL,
    UNUSABLE,
    WAITING,
    WITHOUT_SECRET,
    after,
)

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
            Declared(changed=True),
            "Connected",
            Command.RENEW,
            id="what is declared otherwise is brought to the open session",
        ),
        pytest.param(
            CONNECTED, Declared(changed=False), "Connected", NOTHING, id="what still fits is left"
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
            AttemptFailed(error=secret_unreadable()),
            "Waiting",
            SPACED,
            id="a Secret that cannot be read now may be readable soon",
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
            CONNECTED,
            Lost(failure=Failure(reason=Reason.FLOODED, message="too much")),
            "Waiting",
            SLOWLY,
            id="left because it sent without a pause",
        ),
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
    pytest.param(Blocked(block=a_block()), id="blocked"),
    pytest.param(Unblocked(), id="unblocked"),
    pytest.param(ProbeConfirmed(), id="probe confirmed"),
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
    transition = step(ENDING_WITH_CONNECTION, Declared(changed=False))
    assert transition.state.phase is Phase.CONNECTED
    assert transition.command is NOTHING
