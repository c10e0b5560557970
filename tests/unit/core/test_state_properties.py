"""What holds in the state machine whatever happens, in any order."""

import dataclasses
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core import state, verdicts
from springline.core.state import Command, Failure, Phase, SessionState, StateEvent, step
from springline.reasons import Reason
from support.builders import a_block, credential_refused, no_secret, refused, terminal, unreachable

ERRORS = st.sampled_from([unreachable(), credential_refused(), refused(), terminal(), no_secret()])
FAILURES = st.builds(Failure, reason=st.sampled_from(Reason), message=st.text(max_size=5))
DECLARATIONS = st.builds(
    state.Declared,
    problem=st.none() | FAILURES,
    suspend=st.booleans(),
    stay_closed=st.booleans(),
    changed=st.booleans(),
    probing=st.booleans(),
)
BLOCKS = st.builds(
    a_block,
    st.sampled_from(["low on memory", "low on disk", "", "something else"]),
    st.sampled_from([Reason.LOW_ON_MEMORY, Reason.LOW_ON_DISK, Reason.BLOCKED_BY_BROKER]),
)
# What is told of a connection's credential while it is open.
CREDENTIAL_NEWS: st.SearchStrategy[StateEvent] = st.one_of(
    st.builds(state.Renewed, verified=st.booleans()),
    st.builds(state.RenewalRefused, error=ERRORS, lasts=st.booleans()),
    st.just(state.Unchanged()),
    st.builds(state.CredentialExpiring, message=st.text(min_size=1, max_size=5)),
    st.builds(state.CredentialExpired, message=st.text(min_size=1, max_size=5)),
)
EVENTS: st.SearchStrategy[StateEvent] = st.one_of(
    CREDENTIAL_NEWS,
    DECLARATIONS,
    st.just(state.CredentialChanged()),
    st.just(state.RenewRequested()),
    st.just(state.RenewalDue()),
    st.just(state.ReconnectRequested()),
    st.builds(state.AttemptFailed, error=ERRORS, has_expired=st.booleans()),
    st.builds(state.Opened, probing=st.booleans()),
    st.builds(state.Lost, failure=FAILURES),
    st.builds(state.Blocked, block=BLOCKS),
    st.just(state.Unblocked()),
    st.just(state.ProbeConfirmed()),
    st.builds(state.ProbeUnanswered, seconds=st.floats(0.1, 600)),
    st.builds(state.ProbeRefused, message=st.text(max_size=5)),
    st.just(state.ProbeRestarted()),
    st.just(state.CloseRequested()),
    st.just(state.CloseWhenLostRequested()),
)

CONNECTS = frozenset(
    {Command.CONNECT_NOW, Command.CONNECT_SPACED, Command.CONNECT_SLOWLY, Command.RECONNECT}
)


@given(events=st.lists(EVENTS, max_size=30))
def test_no_event_is_an_error_anywhere(events: list[StateEvent]) -> None:
    """`step` is total, even for orders of events that a session never sees."""
    current = SessionState()
    for event in events:
        current = step(current, event).state
        check_always(current)


@given(before=st.lists(EVENTS, max_size=10), after=st.lists(EVENTS, max_size=10))
def test_nothing_connects_after_the_end(before: list[StateEvent], after: list[StateEvent]) -> None:
    current = SessionState()
    for event in [*before, state.CloseRequested()]:
        current = step(current, event).state
    for event in after:
        transition = step(current, event)
        assert transition.command not in CONNECTS
        assert transition.command is not Command.RENEW
        current = transition.state
    assert current.phase is Phase.CLOSED


@given(events=st.lists(EVENTS, max_size=15))
def test_the_same_events_lead_to_the_same_state(events: list[StateEvent]) -> None:
    def run() -> SessionState:
        current = SessionState()
        for event in events:
            current = step(current, event).state
        return current

    assert run() == run()


def after(events: list[StateEvent]) -> SessionState:
    current = SessionState()
    for event in events:
        current = step(current, event).state
    return current


@given(events=st.lists(EVENTS, max_size=15), news=CREDENTIAL_NEWS)
def test_news_of_a_credential_never_opens_or_closes_anything(
    events: list[StateEvent], news: StateEvent
) -> None:
    before = after(events)
    transition = step(before, news)
    assert transition.command is Command.NOTHING
    assert transition.state.phase is before.phase
    assert transition.state.blocked == before.blocked


@given(
    events=st.lists(EVENTS, max_size=15),
    news=st.one_of(CREDENTIAL_NEWS, st.sampled_from([state.RenewalDue(), state.ProbeRestarted()])),
)
def test_late_news_of_a_connection_that_is_gone_changes_nothing(
    events: list[StateEvent], news: StateEvent
) -> None:
    before = after(events)
    if before.phase is Phase.CONNECTED:
        return
    transition = step(before, news)
    assert (transition.state, transition.command) == (before, Command.NOTHING)


@given(events=st.lists(EVENTS, max_size=15))
def test_a_warning_hides_nothing_that_is_worse(events: list[StateEvent]) -> None:
    before = after(events)
    warned = step(before, state.CredentialExpiring(message="soon")).state
    if before.credentials.status is not ConditionStatus.TRUE:
        assert warned.credentials == before.credentials
    elif before.phase is Phase.CONNECTED:
        assert warned.credentials == verdicts.expiring("soon")


@given(events=st.lists(EVENTS, max_size=15))
def test_an_end_is_shown_whatever_was_shown_before(events: list[StateEvent]) -> None:
    before = after(events)
    expired = step(before, state.CredentialExpired(message="over")).state
    if before.phase is Phase.CONNECTED and not before.ended:
        assert expired.credentials == verdicts.expired("over")


@given(events=st.lists(EVENTS, max_size=15), verified=st.booleans())
def test_what_is_in_use_and_as_it_should_be_is_valid(
    events: list[StateEvent], verified: bool
) -> None:
    """Whatever was refused or warned of before, without a trace."""
    before = after(events)
    if before.phase is not Phase.CONNECTED:
        return
    good = (Reason.ACCEPTED, Reason.VERIFIED)
    for news in (state.Unchanged(), state.Renewed(verified=verified)):
        current = step(before, news).state
        assert current.credentials.status is ConditionStatus.TRUE
        assert current.credentials.reason in good
        assert current.synced == verdicts.IN_SYNC
    if before.credentials.reason in good:
        as_before = dataclasses.replace(before, synced=verdicts.IN_SYNC)
        assert step(before, state.Unchanged()).state == as_before


@given(events=st.lists(EVENTS, max_size=15))
def test_being_asked_for_a_renewal_is_like_a_changed_credential(
    events: list[StateEvent],
) -> None:
    before = after(events)
    assert step(before, state.RenewRequested()) == step(before, state.CredentialChanged())


@given(events=st.lists(EVENTS, max_size=15))
def test_a_renewal_that_is_due_concerns_an_open_connection_only(
    events: list[StateEvent],
) -> None:
    before = after(events)
    transition = step(before, state.RenewalDue())
    assert transition.state == before
    is_open = before.phase is Phase.CONNECTED
    assert transition.command is (Command.RENEW if is_open else Command.NOTHING)


def check_always(current: SessionState) -> None:
    """Hold in every state that any sequence of events leads to."""
    assert (current.failure is None) == (current.phase in (Phase.CONNECTING, Phase.CONNECTED))
    assert current.attempts >= 0
    if current.phase is Phase.CONNECTED:
        assert current.attempts == 0
        assert not current.standing
    else:
        assert current.blocked == verdicts.NOT_CONNECTED
    credentials = current.credentials
    if credentials.status is not ConditionStatus.TRUE or credentials.reason is Reason.EXPIRING:
        assert credentials.message, "what is wrong is said"
    if credentials.reason is Reason.EXPIRING:
        assert credentials.status is ConditionStatus.TRUE
    if credentials.reason is Reason.EXPIRED:
        assert credentials.status is ConditionStatus.FALSE


class SessionModel(RuleBasedStateMachine):
    """A session that obeys every command, with a world that answers at random.

    It knows what a session has: an attempt that runs or is put off, a connection, a renewal.
    """

    def __init__(self) -> None:
        super().__init__()
        self.state = SessionState()
        self.attempting = False
        self.connected = False

    def happen(self, event: StateEvent) -> Command:
        before = self.state
        transition = step(before, event)
        self.state, command = transition.state, transition.command
        assert self.state.ended == (before.ended or command is Command.FINISH)
        self.check_command(before, event, command)
        match command:
            case Command.CONNECT_NOW | Command.CONNECT_SPACED | Command.CONNECT_SLOWLY:
                assert not self.connected, "an open connection would be forgotten"
                self.attempting = True
            case Command.RECONNECT:
                assert self.connected
                self.connected, self.attempting = False, True
            case Command.RENEW:
                assert self.connected
            case Command.STAND_DOWN | Command.FINISH:
                self.connected = self.attempting = False
            case Command.NOTHING:
                pass
        return command

    def check_command(self, before: SessionState, event: StateEvent, command: Command) -> None:
        if isinstance(event, state.CredentialChanged | state.RenewRequested) and before.standing:
            assert command is Command.NOTHING, "no credential helps against a standing failure"
        if isinstance(event, state.AttemptFailed):
            check_retry(event, command, is_first=before.attempts == 0)

    @rule(declared=DECLARATIONS)
    def declare(self, declared: state.Declared) -> None:
        self.happen(declared)
        if declared.problem is not None and not self.state.ended:
            assert self.state.phase is Phase.REJECTED

    @rule(
        event=st.sampled_from(
            [
                state.CredentialChanged(),
                state.RenewRequested(),
                state.ReconnectRequested(),
                state.CloseRequested(),
                state.CloseWhenLostRequested(),
            ]
        )
    )
    def ask(self, event: StateEvent) -> None:
        self.happen(event)

    @precondition(lambda self: self.attempting)
    @rule(error=ERRORS, has_expired=st.booleans())
    def fail(self, error: errors.ConnectError | errors.CredentialError, has_expired: bool) -> None:
        self.attempting = False
        attempts = self.state.attempts
        self.happen(state.AttemptFailed(error=error, has_expired=has_expired))
        if isinstance(error, errors.CredentialRejectedError):
            reason = Reason.EXPIRED if has_expired else Reason.REJECTED
            assert self.state.credentials.reason is reason
        at_broker = isinstance(error, errors.ConnectError)
        assert self.state.attempts == attempts + at_broker

    @precondition(lambda self: self.attempting)
    @rule(probing=st.booleans())
    def succeed(self, probing: bool) -> None:
        self.attempting, self.connected = False, True
        self.happen(state.Opened(probing=probing))
        assert self.state.phase is Phase.CONNECTED
        assert self.state.attempts == 0

    @precondition(lambda self: self.connected)
    @rule(failure=FAILURES)
    def lose(self, failure: Failure) -> None:
        self.connected = False
        self.happen(state.Lost(failure=failure))

    @precondition(lambda self: self.connected)
    @rule(data=st.data())
    def hear_of_the_connection(self, data: Any) -> None:
        event: StateEvent = data.draw(
            st.one_of(
                st.builds(state.Blocked, block=BLOCKS),
                st.just(state.Unblocked()),
                st.just(state.ProbeConfirmed()),
                st.builds(state.ProbeUnanswered, seconds=st.just(5.0)),
                st.builds(state.ProbeRefused, message=st.just("no permission")),
                st.just(state.ProbeRestarted()),
                CREDENTIAL_NEWS,
            )
        )
        assert self.happen(event) is Command.NOTHING
        assert self.state.phase is Phase.CONNECTED, "such news never ends a session"

    @precondition(lambda self: self.connected)
    @rule()
    def come_due(self) -> None:
        assert self.happen(state.RenewalDue()) is Command.RENEW

    @invariant()
    def always(self) -> None:
        check_always(self.state)
        assert (self.state.phase is Phase.CONNECTED) == self.connected
        if self.state.standing:
            assert not self.attempting, "what only a declaration can cure is not retried"
            assert self.state.phase in (Phase.SUSPENDED, Phase.REJECTED, Phase.CLOSED)
        elif not self.connected:
            # Before the first declaration there is nothing to attempt.
            assert self.attempting or self.state == SessionState()


def check_retry(event: state.AttemptFailed, command: Command, *, is_first: bool) -> None:
    match event.error:
        case errors.TerminalError():
            assert command is Command.STAND_DOWN, "terminal is never retried"
        case errors.RejectedError() if event.has_expired and is_first:
            assert command is Command.CONNECT_NOW, "there may be another one"
        case errors.RejectedError() | errors.CredentialError():
            assert command is Command.CONNECT_SLOWLY, "rejected is retried slowly"
        case _:
            assert command is Command.CONNECT_SPACED, "transient is retried, spaced"


TestSessionModel = SessionModel.TestCase
