"""Durations are read as Go reads them and have one way of being written."""

import contextlib
from datetime import timedelta
from typing import Annotated

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, TypeAdapter, ValidationError

from springline.api import durations
from springline.api.durations import Span


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        pytest.param("30s", 30, id="seconds"),
        pytest.param("2m", 120, id="minutes"),
        pytest.param("1h30m", 5400, id="hours and minutes"),
        pytest.param("500ms", 0.5, id="milliseconds"),
        pytest.param("1.5s", 1.5, id="a fraction"),
        pytest.param(".5s", 0.5, id="a fraction without a leading zero"),
        pytest.param("1.s", 1, id="a point without a fraction"),
        pytest.param("250us", 0.00025, id="microseconds"),
        pytest.param("250µs", 0.00025, id="microseconds with the micro sign"),
        pytest.param("250μs", 0.00025, id="microseconds with the Greek letter"),
        pytest.param("30s1m", 90, id="units in any order"),
        pytest.param("0s", 0, id="zero"),
    ],
)
def test_a_duration_is_read_as_go_reads_it(text: str, seconds: float) -> None:
    assert durations.parse(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        pytest.param("30", 'is not a duration; write "30s"', id="a number gets its unit"),
        pytest.param("", "is not a duration", id="nothing"),
        pytest.param("s", "is not a duration", id="a unit alone"),
        pytest.param("1 m", "is not a duration", id="a space inside"),
        pytest.param("30s ", "is not a duration", id="a space behind"),
        pytest.param("30s\n", "is not a duration", id="a line break behind"),
        pytest.param("-5s", "is not a duration", id="a sign"),
        pytest.param("1d", "is not a duration", id="days, which Go does not have"),
        pytest.param("30S", "is not a duration", id="an upper-case unit"),
        pytest.param("٣s", "is not a duration", id="digits of another script"),
        pytest.param("1" * 200 + "s", "is not a duration", id="an endless number"),
        pytest.param("0.0000001s", "is finer than a microsecond", id="too fine"),
        pytest.param("99999999999999999h", "is too long", id="too long"),
    ],
)
def test_what_is_no_duration_is_refused_with_advice(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match="is ") as caught:
        durations.parse(text)
    assert str(caught.value).startswith(complaint)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        pytest.param(timedelta(0), "0s", id="zero"),
        pytest.param(timedelta(seconds=60), "60s", id="a minute in seconds"),
        pytest.param(timedelta(seconds=90), "90s", id="below two minutes in seconds"),
        pytest.param(timedelta(seconds=119.5), "119.5s", id="with a fraction"),
        pytest.param(timedelta(minutes=2), "2m", id="from two minutes on without zero seconds"),
        pytest.param(timedelta(minutes=2, seconds=30), "2m30s", id="minutes and seconds"),
        pytest.param(timedelta(hours=1), "1h", id="an hour"),
        pytest.param(timedelta(hours=1, seconds=5), "1h5s", id="no zero minutes"),
        pytest.param(timedelta(hours=1, microseconds=1), "1h0.000001s", id="only a fraction"),
        pytest.param(timedelta(days=1), "24h", id="a day"),
        pytest.param(timedelta(milliseconds=500), "500ms", id="milliseconds"),
        pytest.param(timedelta(microseconds=1500), "1500us", id="microseconds"),
    ],
)
def test_a_duration_has_one_way_of_being_written(value: timedelta, text: str) -> None:
    assert durations.format(value) == text


@given(st.timedeltas(min_value=timedelta(0)))
def test_every_duration_survives_writing_and_reading(value: timedelta) -> None:
    assert durations.parse(durations.format(value)) == value


@given(st.text())
def test_any_text_is_a_duration_or_a_value_error(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert durations.parse(text) >= timedelta(0)


def test_a_negative_duration_is_not_written() -> None:
    with pytest.raises(ValueError, match="negative"):
        durations.format(timedelta(seconds=-1))


HEARTBEAT = Span(minimum="1s", maximum="65534s", zero=True, whole_seconds=True)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        pytest.param("30s", None, id="inside"),
        pytest.param("0s", None, id="zero where it means off"),
        pytest.param("65534s", None, id="the last one inside"),
        pytest.param(timedelta(seconds=30), None, id="a timedelta from Python code"),
        pytest.param(
            "65535s", "is out of range; it must be 0s, or between 1s and 65534s", id="above"
        ),
        pytest.param(
            "999ms", "is out of range; it must be 0s, or between 1s and 65534s", id="below"
        ),
        pytest.param(
            "1500ms", "has a fraction of a second; write whole seconds", id="half a second"
        ),
        pytest.param(30, 'is not a duration; write "30s"', id="a number from YAML"),
        pytest.param(True, 'is not a duration; write one such as "30s", "2m" or "1h30m"', id="yes"),
        pytest.param(
            10**400, 'is not a duration; write one such as "30s", "2m" or "1h30m"', id="huge"
        ),
    ],
)
def test_a_field_says_which_durations_it_accepts(value: object, sentence: str | None) -> None:
    adapter = TypeAdapter(Annotated[timedelta, HEARTBEAT])
    if sentence is None:
        assert isinstance(adapter.validate_python(value), timedelta)
        return
    with pytest.raises(ValidationError) as caught:
        adapter.validate_python(value)
    [error] = caught.value.errors()
    assert error["ctx"]["complaint"] == sentence


def test_a_duration_is_text_in_the_schema_and_in_json() -> None:
    class Model(BaseModel):
        heartbeat: Annotated[timedelta, HEARTBEAT]

    assert Model.model_json_schema()["properties"]["heartbeat"]["type"] == "string"
    assert Model(heartbeat=timedelta(seconds=30)).model_dump(mode="json") == {"heartbeat": "30s"}
