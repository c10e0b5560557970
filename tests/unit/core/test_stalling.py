"""When a session is stalled: what kstatus, and so Flux, takes for a failure."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from springline.api.conditions import Condition, ConditionStatus, ConditionType
from springline.core import stalling, state, status
from springline.core.stalling import GRACE_SECONDS
from springline.core.state import Failure, SessionState
from springline.core.view import SessionView
from springline.errors import CredentialUnavailableError, TransientError
from springline.reasons import Reason
from support.builders import (
    KEY,
    a_spec,
    credential_refused,
    no_secret,
    terminal,
    unreachable,
)
from support.fake_clock import EIGHT
from support.stage import Stage
from support.states import (
    BLOCKED,
    CONNECTED,
    CONNECTING,
    ENDED,
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

LONG = 10 * GRACE_SECONDS
NO_BROKER = Failure(reason=Reason.BROKER_NOT_FOUND, message="there is none")
NO_CERTIFICATE = dataclasses.replace(INVALID, elsewhere=True)
UNAVAILABLE = CredentialUnavailableError(Reason.TOKEN_REQUEST_FAILED, "nobody listens")
NO_TOKEN = state.CredentialExpired(message="it expired", passes=True)


def a_view(current: SessionState, **changes: Any) -> SessionView:
    view = SessionView(key=KEY, generation=3, spec=a_spec(), state=current)
    return dataclasses.replace(view, **changes)


@pytest.mark.parametrize(
    "current",
    [
        pytest.param(CONNECTING, id="the first attempt"),
        pytest.param(CONNECTED, id="open"),
        pytest.param(BLOCKED, id="blocked"),
        pytest.param(SUSPENDED, id="suspended, which is as declared"),
        pytest.param(WAITING, id="no route"),
        pytest.param(LOST, id="lost"),
        pytest.param(ENDED, id="ended, and another operator takes it over"),
        pytest.param(after(state.AttemptFailed(error=UNAVAILABLE)), id="no answer about a token"),
        pytest.param(
            after(state.Opened(), state.RenewalRefused(error=UNAVAILABLE)),
            id="open, and no answer about a Secret",
        ),
        pytest.param(after(state.Opened(), NO_TOKEN), id="expired, and no answer about a token"),
        pytest.param(
            after(
                state.AttemptFailed(error=credential_refused()),
                state.AttemptFailed(error=TransientError(Reason.CONNECT_TIMEOUT, "too long")),
            ),
            id="refused, and then not reached",
        ),
    ],
)
def test_what_may_pass_is_never_stalled(current: SessionState) -> None:
    view = a_view(current, refused_seconds=LONG)
    assert stalling.stalled(view) is None
    assert stalling.stalls_in(view) is None


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        pytest.param(UNUSABLE, Reason.INVALID_SPEC, id="it contradicts itself"),
        pytest.param(STAYED_CLOSED, Reason.STAY_CLOSED, id="it is to stay closed"),
    ],
)
def test_what_only_the_declaration_can_mend_is_stalled_at_once(
    current: SessionState, reason: Reason
) -> None:
    view = a_view(current)
    found = stalling.stalled(view)
    assert found is not None
    assert (found.status, found.reason) == (ConditionStatus.TRUE, reason)
    assert current.failure is not None
    assert found.message == current.failure.message
    assert stalling.stalls_in(view) is None


@pytest.mark.parametrize(
    ("current", "reason"),
    [
        pytest.param(REJECTED, Reason.ACCESS_REFUSED, id="login refused"),
        pytest.param(WITHOUT_SECRET, Reason.SECRET_NOT_FOUND, id="no Secret"),
        pytest.param(TERMINAL, terminal().reason, id="it cannot work with this broker"),
        pytest.param(
            after(state.Declared(problem=NO_BROKER)), Reason.BROKER_NOT_FOUND, id="no Broker"
        ),
        pytest.param(
            after(state.Declared(problem=NO_CERTIFICATE)),
            Reason.INVALID_SPEC,
            id="the broker's declaration can mend it as well",
        ),
        pytest.param(
            after(state.Opened(), state.RenewalRefused(error=credential_refused())),
            Reason.REJECTED,
            id="open, and the new password is wrong",
        ),
        pytest.param(
            after(state.Opened(), state.RenewalRefused(error=no_secret())),
            Reason.SECRET_NOT_FOUND,
            id="open, and the Secret is gone",
        ),
        pytest.param(
            after(state.Opened(), state.CredentialExpired(message="it expired")),
            Reason.EXPIRED,
            id="open, and nobody has put another token there",
        ),
    ],
)
def test_what_somebody_has_to_change_is_stalled_after_five_minutes(
    current: SessionState, reason: Reason
) -> None:
    """Users, Secrets and brokers often come seconds later."""
    early = a_view(current, refused_seconds=GRACE_SECONDS - 1)
    assert stalling.stalled(early) is None
    assert stalling.stalls_in(early) == 1
    late = a_view(current, refused_seconds=GRACE_SECONDS)
    found = stalling.stalled(late)
    assert found is not None
    assert found.reason == reason
    assert stalling.stalls_in(late) is None


def known(view: SessionView) -> tuple[Condition, ...]:
    return status.conditions(view, now=EIGHT)


def stalled(*conditions: Condition) -> Condition | None:
    return next((each for each in conditions if each.type is ConditionType.STALLED), None)


def test_a_new_operator_does_not_count_anew() -> None:
    """What was stalled before and is refused again, is stalled as long as it is declared so."""
    before = known(a_view(REJECTED, refused_seconds=LONG))
    later = EIGHT + timedelta(hours=1)
    again = stalled(*status.conditions(a_view(REJECTED), previous=before, now=later))
    assert again == stalled(*before)
    ended = status.conditions(a_view(ENDED), previous=before, now=later)
    assert stalled(*ended) == stalled(*before)
    changed = a_view(REJECTED, generation=4)
    assert stalled(*status.conditions(changed, previous=before, now=later)) is None


@pytest.mark.parametrize("current", [CONNECTED, CONNECTING, WAITING, SUSPENDED])
def test_it_is_gone_when_nothing_is_refused_any_more(current: SessionState) -> None:
    before = known(a_view(REJECTED, refused_seconds=LONG))
    assert stalled(*before) is not None
    assert stalled(*status.conditions(a_view(current), previous=before, now=EIGHT)) is None


async def test_the_time_runs_through_all_slow_attempts(stage: Stage) -> None:
    """From the first refusal to whatever is none."""
    stage.driver.otherwise = credential_refused()
    await stage.declare()
    await stage.clock.advance(200)
    assert stage.session.view.refused_seconds == 200
    assert len(stage.driver.requests) > 2
    stage.driver.otherwise = unreachable()
    await stage.clock.advance(100)
    assert stage.session.view.refused_seconds == 0


async def test_a_new_secret_has_five_minutes_of_its_own(stage: Stage) -> None:
    stage.driver.otherwise = credential_refused()
    await stage.declare()
    await stage.clock.advance(299)
    await stage.change_credential("wrong as well")
    await stage.clock.advance(2)
    assert stage.session.view.refused_seconds == 2
