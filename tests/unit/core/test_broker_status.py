"""From the sessions of a broker to its `status`."""

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from springline.api.conditions import Condition
from springline.api.status import as_document
from springline.core import state, status
from springline.core.values import ServerInfo
from springline.core.view import SessionView
from springline.reasons import Reason
from support.builders import (
    KEY,
    a_block,
    a_spec,
    an_open_info,
    credential_refused,
    no_secret,
    unreachable,
)
from support.fake_clock import EIGHT
from support.states import after

NINE = EIGHT + timedelta(hours=1)


def a_view(*events: state.StateEvent) -> SessionView:
    current = after(*events)
    is_open = current.phase is state.Phase.CONNECTED
    return SessionView(
        key=KEY,
        generation=1,
        spec=a_spec(),
        state=current,
        info=an_open_info() if is_open else None,
    )


CONNECTING = a_view()
OPEN = a_view(state.Opened())
BLOCKED = a_view(state.Opened(), state.Blocked(block=a_block()))
WITH_BAD_SECRET = a_view(state.Opened(), state.RenewalRefused(error=credential_refused()))
UNREACHABLE = a_view(state.AttemptFailed(error=unreachable("nobody listens")))


def shown(*views: SessionView) -> dict[str, Any]:
    result, _ = status.broker_status(views, generation=4, now=EIGHT)
    return as_document(result)


@pytest.mark.parametrize(
    ("views", "shown_as", "reason", "message"),
    [
        pytest.param(
            [],
            "Unknown",
            Reason.NOT_CHECKED,
            "no session has got an answer from this broker yet",
            id="nobody has asked it anything",
        ),
        pytest.param(
            [CONNECTING],
            "Unknown",
            Reason.NOT_CHECKED,
            "no session has got an answer from this broker yet",
            id="it has not answered yet",
        ),
        pytest.param(
            [UNREACHABLE, OPEN],
            "True",
            Reason.CONNECTED,
            "1 of 2 sessions are open",
            id="one session is enough",
        ),
        pytest.param(
            [CONNECTING, UNREACHABLE],
            "False",
            Reason.CONNECTION_REFUSED,
            "nobody listens",
            id="the first failure says why",
        ),
    ],
)
def test_a_broker_is_reachable_when_a_session_to_it_is_open(
    views: list[SessionView], shown_as: str, reason: Reason, message: str
) -> None:
    [ready, condition] = shown(*views)["conditions"]
    assert (ready["type"], ready["status"], ready["reason"]) == ("Ready", "True", Reason.USABLE)
    assert condition["type"] == "Reachable"
    assert (condition["status"], condition["reason"]) == (shown_as, reason)
    assert condition["message"] == message


def test_a_declaration_that_cannot_be_used_is_stalled_at_once() -> None:
    """Whatever its sessions are, which keep what was declared before."""
    result, known = status.broker_status([OPEN], generation=4, problem="no host", now=EIGHT)
    conditions = {each["type"]: each for each in as_document(result)["conditions"]}
    assert {kind: (each["status"], each["reason"]) for kind, each in conditions.items()} == {
        "Ready": ("False", Reason.INVALID_SPEC),
        "Reachable": ("True", Reason.CONNECTED),
        "Stalled": ("True", Reason.INVALID_SPEC),
    }
    assert conditions["Stalled"]["message"] == conditions["Ready"]["message"] == "no host"
    mended, _ = status.broker_status([OPEN], generation=5, previous=known, now=NINE)
    assert [each["type"] for each in mended.conditions] == ["Ready", "Reachable"]


def test_its_connections_are_counted() -> None:
    document = shown(CONNECTING, OPEN, BLOCKED, WITH_BAD_SECRET, UNREACHABLE)
    assert document["connections"] == {"declared": 5, "ready": 2, "blocked": 1}


def test_what_it_says_of_itself_is_taken_from_an_open_session() -> None:
    assert shown(UNREACHABLE, OPEN)["server"]["clusterName"] == "rabbit@one"
    assert "server" not in shown(UNREACHABLE)


def test_a_broker_that_says_nothing_of_itself_has_no_empty_fields() -> None:
    silent = dataclasses.replace(
        OPEN, info=dataclasses.replace(an_open_info(), server=ServerInfo())
    )
    assert shown(silent)["server"] == {}


def test_the_generation_is_that_of_the_broker() -> None:
    document = shown(UNREACHABLE)
    assert document["observedGeneration"] == 4
    assert {each["observedGeneration"] for each in document["conditions"]} == {4}


def test_its_transition_time_moves_only_when_the_status_flips() -> None:
    def shown_at(
        *views: SessionView, previous: tuple[Condition, ...] = ()
    ) -> tuple[Condition, ...]:
        now = NINE if previous else EIGHT
        _, known = status.broker_status(views, generation=1, previous=previous, now=now)
        return known

    [ready, first] = known = shown_at(OPEN)
    [_, second] = shown_at(OPEN, UNREACHABLE, previous=known)
    [same, third] = shown_at(UNREACHABLE, previous=known)
    assert same.last_transition_time == ready.last_transition_time
    assert first.last_transition_time == second.last_transition_time == EIGHT
    assert third.last_transition_time == NINE


@pytest.mark.parametrize(
    "event",
    [
        pytest.param(state.Declared(suspend=True), id="suspended"),
        pytest.param(state.AttemptFailed(error=no_secret()), id="without a Secret"),
        pytest.param(
            state.Declared(
                problem=state.Failure(reason=Reason.NAMESPACE_NOT_ALLOWED, message="not for you")
            ),
            id="of a namespace that it is not for",
        ),
        pytest.param(
            state.Declared(
                problem=state.Failure(reason=Reason.BROKER_NOT_FOUND, message="there is none")
            ),
            id="that could never be used",
        ),
    ],
)
def test_a_session_that_asked_nothing_says_nothing_of_the_broker(event: state.StateEvent) -> None:
    [_, condition] = shown(a_view(event))["conditions"]
    assert (condition["status"], condition["reason"]) == ("Unknown", Reason.NOT_CHECKED)
