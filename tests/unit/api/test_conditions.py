"""A condition changes its time only when its status flips."""

import dataclasses
from datetime import UTC, datetime, timedelta, timezone

import pytest

from springline.api import conditions
from springline.api.conditions import Condition, ConditionStatus, ConditionType
from springline.reasons import Reason

EIGHT = datetime(2026, 11, 21, 8, 0, 0, tzinfo=UTC)
NINE = EIGHT + timedelta(hours=1)


def connected(
    status: ConditionStatus = ConditionStatus.TRUE,
    *,
    at: datetime = EIGHT,
    reason: Reason = Reason.OPEN,
    message: str = "Open",
    generation: int = 1,
    type_: ConditionType = ConditionType.CONNECTED,
) -> Condition:
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=at,
        observed_generation=generation,
    )


def test_a_condition_is_shown_as_kubernetes_shows_it() -> None:
    assert connected(generation=7).as_dict() == {
        "type": "Connected",
        "status": "True",
        "reason": "Open",
        "message": "Open",
        "lastTransitionTime": "2026-11-21T08:00:00Z",
        "observedGeneration": 7,
    }


def test_the_time_is_shown_in_utc_and_whole_seconds() -> None:
    local = EIGHT.astimezone(timezone(timedelta(hours=2))) + timedelta(milliseconds=900)
    assert connected(at=local).as_dict()["lastTransitionTime"] == "2026-11-21T08:00:00Z"


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        connected(at=EIGHT.replace(tzinfo=None))


def test_the_first_condition_keeps_its_own_time() -> None:
    assert conditions.set_condition([], connected()) == (connected(),)


def test_another_reason_does_not_move_the_time() -> None:
    lost = connected(ConditionStatus.FALSE, reason=Reason.PEER_CLOSED, at=EIGHT)
    refused = connected(
        ConditionStatus.FALSE, reason=Reason.CONNECTION_REFUSED, at=NINE, message="x", generation=2
    )
    [condition] = conditions.set_condition([lost], refused)
    assert condition.last_transition_time == EIGHT
    assert condition.reason is Reason.CONNECTION_REFUSED
    assert condition.message == "x"
    assert condition.observed_generation == 2


@pytest.mark.parametrize(
    "new",
    [
        pytest.param(connected(reason=Reason.CONNECTED, at=NINE), id="another reason"),
        pytest.param(connected(message="Opened", at=NINE), id="another sentence"),
        pytest.param(connected(generation=2, at=NINE), id="another generation"),
    ],
)
def test_what_else_is_new_is_taken_with_the_time_of_before(new: Condition) -> None:
    [condition] = conditions.set_condition([connected()], new)
    assert condition == dataclasses.replace(new, last_transition_time=EIGHT)


@pytest.mark.parametrize("status", [ConditionStatus.FALSE, ConditionStatus.UNKNOWN])
def test_another_status_moves_the_time(status: ConditionStatus) -> None:
    [condition] = conditions.set_condition([connected()], connected(status, at=NINE))
    assert condition.last_transition_time == NINE


def test_the_other_conditions_stay_and_the_order_is_fixed() -> None:
    blocked = connected(type_=ConditionType.BLOCKED)
    ready = connected(type_=ConditionType.READY, at=NINE)
    result = conditions.updated([blocked], [connected(), ready])
    assert result == (ready, connected(), blocked)


def test_setting_the_same_again_changes_nothing() -> None:
    once = conditions.set_condition([], connected())
    assert conditions.set_condition(once, connected(at=NINE)) == once


def test_the_previous_conditions_are_left_alone() -> None:
    previous = [connected()]
    conditions.set_condition(previous, connected(ConditionStatus.FALSE, at=NINE))
    assert previous == [connected()]


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        pytest.param("x" * 1024, "x" * 1024, id="the longest one is kept"),
        pytest.param("x" * 1025, "x" * 1021 + "…", id="a longer one is cut"),
        pytest.param("é" * 20000, "é" * 510 + "…", id="no character is cut in two"),
        pytest.param("a\ud800b", "a\\ud800b", id="what is not text does no harm"),
        pytest.param("\0" * 700_000, "\\x00" * 255 + "\\…", id="escapes count as well"),
        pytest.param("a: x\nb: y", "a: x\nb: y", id="each problem has its line"),
    ],
)
def test_a_message_is_printable_and_bounded(message: str, kept: str) -> None:
    """By far less than the API server takes: there are many conditions in many objects."""
    condition = connected(message=message)
    assert condition.message == kept
    assert len(condition.message.encode()) <= 1024


def test_stored_conditions_are_read_as_they_were_written() -> None:
    known = (connected(type_=ConditionType.READY, generation=3), connected(message="a\nb"))
    assert conditions.stored([condition.as_dict() for condition in known]) == known


@pytest.mark.parametrize(
    "documents",
    [
        None,
        "Ready",
        {"type": "Ready"},
        7,
        ["Ready", None, 7],
        [{}],
        [{**connected().as_dict(), "type": "Sparkling"}],
        [{**connected().as_dict(), "status": "Maybe"}],
        [{**connected().as_dict(), "lastTransitionTime": "yesterday"}],
        [{**connected().as_dict(), "lastTransitionTime": "2026-11-21T08:00:00"}],
        [{**connected().as_dict(), "lastTransitionTime": None}],
        [{**connected().as_dict(), "observedGeneration": "many"}],
    ],
)
def test_what_cannot_be_read_is_left_out(documents: object) -> None:
    """Nobody may rely on what somebody else wrote."""
    assert conditions.stored(documents) == ()


def test_what_can_be_read_beside_it_is_kept() -> None:
    good = connected(generation=0)
    assert conditions.stored([{}, good.as_dict(), None]) == (good,)


def test_a_reason_of_another_version_keeps_the_time() -> None:
    document = {**connected().as_dict(), "reason": "Sparkling"}
    [condition] = conditions.stored([document])
    assert condition.reason is Reason.NOT_CHECKED
    [shown] = conditions.set_condition([condition], connected(at=NINE))
    assert (shown.reason, shown.last_transition_time) == (Reason.OPEN, EIGHT)


def test_optional_fields_may_be_missing() -> None:
    document = connected().as_dict()
    del document["observedGeneration"], document["message"], document["reason"]
    [condition] = conditions.stored([document])
    assert (condition.observed_generation, condition.message) == (0, "")
