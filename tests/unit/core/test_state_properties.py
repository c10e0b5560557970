"""What holds in the state machine whatever happens, in any order."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core import state
from springline.core.state import Command, Failure, Phase, SessionState, StateEvent, step
from springline.reasons import Reason
from support.builders import credential_refused, no_secret, refused, terminal, unreachable

ERRORS = st.sampled_from([unreachable(), credential_refused(), refused(), terminal(), no_secret()])
FAILURES = st.builds(Failure, reason=st.sampled_from(Reason), message=st.text(max_size=5))
DECLARATIONS = st.builds(
    state.Declared,
    problem=st.none() | FAILURES,
    suspend=st.booleans(),
    stay_closed=st.booleans(),
    moved=st.booleans(),
    probing=st.booleans(),
)
TEXTS = st.sampled_from(["low on memory", "low on disk", "", "something else"])
EVENTS: st.SearchStrategy[StateEvent] = st.one_of(
    DECLARATIONS,
    st.just(state.CredentialChanged()),
    st.just(state.ReconnectRequested()),
    st.builds(state.AttemptFailed, error=ERRORS),
    st.builds(state.Opened, probing=st.booleans()),
    st.builds(state.Lost, failure=FAILURES),
    st.builds(state.Blocked, text=TEXTS),
    st.just(state.Unblocked()),
    st.builds(state.ProbeUnanswered, seconds=st.floats(0.1, 600)),
    st.builds(state.ProbeRefused, message=st.text(max_size=5)),
    st.builds(state.Renewed, verified=st.booleans()),
    st.builds(state.RenewalRefused, error=ERRORS),
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


def check_always(current: SessionState) -> None:
    """Hold in every state that any sequence of events leads to."""
    assert (current.failure is None) == (current.phase in (Phase.CONNECTING, Phase.CONNECTED))
    assert current.attempts >= 0
    if current.phase is Phase.CONNECTED:
        assert current.attempts == 0
        assert not current.standing
    else:
        assert current.blocked == state.NOT_CONNECTED
    if current.credentials.status is not ConditionStatus.TRUE:
        assert current.credentials.message, "what is wrong is said"


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
        if isinstance(event, state.CredentialChanged) and before.standing:
            assert command is Command.NOTHING, "no credential helps against a standing failure"
        if isinstance(event, state.AttemptFailed):
            check_retry(event.error, command)

    @rule(declared=DECLARATIONS)
    def declare(self, declared: state.Declared) -> None:
        self.happen(declared)
        if declared.problem is not None and not self.state.ended:
            assert self.state.phase is Phase.REJECTED

    @rule(
        event=st.sampled_from(
            [
                state.CredentialChanged(),
                state.ReconnectRequested(),
                state.CloseRequested(),
                state.CloseWhenLostRequested(),
            ]
        )
    )
    def ask(self, event: StateEvent) -> None:
        self.happen(event)

    @precondition(lambda self: self.attempting)
    @rule(error=ERRORS)
    def fail(self, error: errors.ConnectError | errors.CredentialError) -> None:
        self.attempting = False
        attempts = self.state.attempts
        self.happen(state.AttemptFailed(error=error))
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
                st.builds(state.Blocked, text=TEXTS),
                st.just(state.Unblocked()),
                st.builds(state.ProbeUnanswered, seconds=st.just(5.0)),
                st.builds(state.ProbeRefused, message=st.just("no permission")),
                st.builds(state.Renewed, verified=st.booleans()),
                st.builds(state.RenewalRefused, error=ERRORS),
            )
        )
        assert self.happen(event) is Command.NOTHING
        assert self.state.phase is Phase.CONNECTED, "such news never ends a session"

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


def check_retry(error: errors.ConnectError | errors.CredentialError, command: Command) -> None:
    match error:
        case errors.TerminalError():
            assert command is Command.STAND_DOWN, "terminal is never retried"
        case errors.RejectedError() | errors.CredentialError():
            assert command is Command.CONNECT_SLOWLY, "rejected is retried slowly"
        case _:
            assert command is Command.CONNECT_SPACED, "transient is retried, spaced"


TestSessionModel = SessionModel.TestCase
