"""Renewals that cannot wait: the first at once, those that follow it closely as attempts."""

from springline.core.backoff import Retry
from springline.core.urgency import Urgency
from support.fake_clock import FakeClock

RETRY = Retry(delay=10.0, max_delay=40.0, jitter=0.0)


async def test_the_first_begins_at_once(clock: FakeClock) -> None:
    assert Urgency(clock).next_start(RETRY) == clock.monotonic()


async def test_those_that_follow_closely_are_spaced_from_start_to_start(clock: FakeClock) -> None:
    urgency, began = Urgency(clock), clock.monotonic()
    starts = [urgency.next_start(RETRY) - began for _ in range(5)]
    assert starts == [0.0, 10.0, 30.0, 70.0, 110.0]


async def test_the_time_that_a_renewal_took_counts(clock: FakeClock) -> None:
    urgency = Urgency(clock)
    urgency.next_start(RETRY)
    await clock.advance(15.0)
    assert urgency.next_start(RETRY) == clock.monotonic()


async def test_after_a_while_it_is_the_first_again(clock: FakeClock) -> None:
    urgency = Urgency(clock)
    for _ in range(3):
        urgency.next_start(RETRY)
    await clock.advance(200.0)
    assert urgency.next_start(RETRY) == clock.monotonic()
    assert urgency.next_start(RETRY) == clock.monotonic() + 10.0
