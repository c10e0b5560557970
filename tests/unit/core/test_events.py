"""Which events are news (R5.3)."""

import pytest

from springline.core.events import Deduplicator, Event, EventType, Severity
from springline.reasons import Reason
from support.builders import KEY
from support.fake_clock import EIGHT

DEDUPLICATED = (EventType.CONNECT_FAILED, EventType.OBTAINED_ADDRESS)


def event(kind: EventType, message: str = "", reason: Reason | None = None) -> Event:
    return Event(type=kind, key=KEY, at=EIGHT, message=message, reason=reason)


def admitted(*events: Event) -> list[bool]:
    deduplicator = Deduplicator()
    return [deduplicator.admits(each) for each in events]


# R5.3
@pytest.mark.parametrize("kind", DEDUPLICATED)
def test_what_says_the_same_as_the_last_of_its_kind_is_left_out(kind: EventType) -> None:
    assert admitted(event(kind, "a"), event(kind, "a"), event(kind, "a")) == [True, False, False]


# R5.3
@pytest.mark.parametrize("kind", DEDUPLICATED)
def test_what_differs_from_the_last_of_its_kind_is_news(kind: EventType) -> None:
    """Only the last one counts, not all that came before."""
    assert admitted(event(kind, "a"), event(kind, "b"), event(kind, "a")) == [True, True, True]


# R5.3
def test_another_reason_with_the_same_words_is_news() -> None:
    first = event(EventType.CONNECT_FAILED, "no", Reason.CONNECTION_REFUSED)
    second = event(EventType.CONNECT_FAILED, "no", Reason.TLS_FAILED)
    assert admitted(first, second) == [True, True]


# R5.3
@pytest.mark.parametrize("kind", DEDUPLICATED)
def test_a_new_cycle_of_attempts_starts_afresh(kind: EventType) -> None:
    attempting = event(EventType.ATTEMPTING)
    assert admitted(event(kind, "a"), attempting, event(kind, "a"), event(kind, "a")) == [
        True,
        True,
        True,
        False,
    ]


# R5.3
def test_the_two_kinds_do_not_hide_each_other() -> None:
    """Between two equal failures an address is obtained; the failures are still equal."""
    failed, found = event(EventType.CONNECT_FAILED, "x"), event(EventType.OBTAINED_ADDRESS, "x")
    assert admitted(found, failed, found, failed) == [True, True, False, False]


@pytest.mark.parametrize("kind", [kind for kind in EventType if kind not in DEDUPLICATED])
def test_every_other_kind_is_always_news(kind: EventType) -> None:
    assert admitted(event(kind, "a"), event(kind, "a")) == [True, True]


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (EventType.ATTEMPTING, Severity.NORMAL),
        (EventType.OBTAINED_ADDRESS, Severity.NORMAL),
        (EventType.CONNECT_FAILED, Severity.WARNING),
        (EventType.CONNECTED, Severity.NORMAL),
        (EventType.DISCONNECTED, Severity.WARNING),
        (EventType.CLOSED, Severity.NORMAL),
        (EventType.BLOCKED, Severity.WARNING),
        (EventType.UNBLOCKED, Severity.NORMAL),
        (EventType.PROBE_REFUSED, Severity.WARNING),
        (EventType.SECRET_UPDATED, Severity.NORMAL),
        (EventType.SECRET_REJECTED, Severity.WARNING),
        (EventType.SESSION_REPLACED, Severity.NORMAL),
        (EventType.INVALID_SPEC, Severity.WARNING),
    ],
)
def test_what_somebody_may_have_to_act_on_is_a_warning(kind: EventType, severity: Severity) -> None:
    assert kind.severity is severity
