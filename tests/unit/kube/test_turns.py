"""Whose turn it is, and how fast turns may follow each other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.api.meta import Identity
from springline.kube.turns import Pace, Turns
from support.fake_clock import FakeClock

A, B = Identity("BrokerConnection", "apps", "a"), Identity("BrokerConnection", "apps", "b")


def test_turns_come_in_the_order_of_their_times() -> None:
    turns = Turns()
    turns.put(A, at=2.0)
    turns.put(B, at=1.0)
    assert turns.next_at == 1.0
    assert [turns.take(now=3.0), turns.take(now=3.0), turns.take(now=3.0)] == [B, A, None]
    assert turns.next_at is None


def test_those_of_the_same_time_come_in_the_order_in_which_they_were_given() -> None:
    turns = Turns()
    turns.put(B, at=1.0)
    turns.put(A, at=1.0)
    assert [turns.take(now=1.0), turns.take(now=1.0)] == [B, A]


def test_no_turn_comes_before_its_time() -> None:
    turns = Turns()
    turns.put(A, at=2.0)
    assert turns.take(now=1.9) is None
    assert turns.take(now=2.0) == A


def test_a_sooner_turn_takes_the_place_of_a_later_one() -> None:
    turns = Turns()
    turns.put(A, at=5.0)
    turns.put(A, at=1.0)
    turns.put(A, at=3.0)
    assert turns.take(now=10.0) == A
    assert turns.take(now=10.0) is None


def test_whether_a_turn_is_the_next_of_all_is_told() -> None:
    turns = Turns()
    assert turns.put(A, at=5.0)
    assert not turns.put(B, at=6.0)
    assert turns.put(B, at=4.0)
    assert not turns.put(B, at=4.0)


def test_a_dropped_turn_does_not_come() -> None:
    turns = Turns()
    turns.put(A, at=1.0)
    turns.put(B, at=2.0)
    turns.drop(A)
    turns.drop(A)
    assert turns.next_at == 2.0
    turns.put(A, at=3.0)
    assert [turns.take(now=9.0), turns.take(now=9.0), turns.take(now=9.0)] == [B, A, None]


def test_many_turns_of_one_object_take_the_room_of_one() -> None:
    """An object that changes all the time, and otherwise has a turn in the far future."""
    turns = Turns()
    for number in range(100_000):
        turns.put(A, at=1_000_000.0)
        turns.put(A, at=float(number))
        assert turns.take(now=float(number)) == A
    assert len(turns._heap) < 2_000


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.sampled_from([A, B]), st.integers(0, 9)),
            st.tuples(st.just("drop"), st.sampled_from([A, B]), st.just(0)),
            st.tuples(st.just("take"), st.just(A), st.integers(0, 9)),
        )
    )
)
def test_it_behaves_as_a_plain_dictionary_would(acts: list[tuple[str, Identity, int]]) -> None:
    turns = Turns()
    plain: dict[Identity, float] = {}
    for name, identity, number in acts:
        match name:
            case "put":
                turns.put(identity, at=number)
                plain[identity] = min(plain.get(identity, number), number)
            case "drop":
                turns.drop(identity)
                plain.pop(identity, None)
            case _:
                taken = turns.take(now=number)
                due = {each: at for each, at in plain.items() if at <= number}
                if taken is None:
                    assert not due
                else:
                    assert due[taken] == min(due.values())
                    del plain[taken]
        assert len(turns) == len(plain)
        assert turns.next_at == min(plain.values(), default=None)


# --- pace


@pytest.fixture
def pace(clock: FakeClock) -> Pace:
    return Pace(clock)


async def test_some_writes_may_be_in_flight_together(pace: Pace) -> None:
    assert pace.has_room(in_flight=15)
    assert not pace.has_room(in_flight=16)


async def test_while_nobody_answers_one_is_tried_with_a_growing_pause(
    pace: Pace, clock: FakeClock
) -> None:
    pauses = []
    for _ in range(6):
        pauses.append(pace.failed())
        assert not pace.has_room(in_flight=1)
        await clock.advance(pauses[-1])
    assert pauses == [0.5, 1.0, 2.0, 5.0, 5.0, 5.0]


async def test_those_that_were_in_flight_together_count_once(pace: Pace) -> None:
    assert [pace.failed(), pace.failed(), pace.failed()] == [0.5, 0.5, 0.5]


async def test_the_api_server_may_ask_for_more_but_not_for_ever(pace: Pace) -> None:
    assert pace.failed(retry_after=7.0) == 7.0
    assert pace.failed(retry_after=9.0) == 9.0
    assert pace.failed(retry_after=0.0) == 9.0
    assert pace.failed(retry_after=86_400.0) == 120.0


async def test_an_answer_ends_the_pause(pace: Pace, clock: FakeClock) -> None:
    def failing_since() -> float | None:
        return pace.failing_since

    pace.failed()
    assert failing_since() == clock.monotonic()
    pace.answered()
    assert failing_since() is None
    assert pace.has_room(in_flight=15)
    assert pace.resume_at <= clock.monotonic()
    assert pace.failed() == 0.5
