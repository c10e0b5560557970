"""How attempts are spaced (R5.4, R5.5, R5.15)."""

import dataclasses
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.core import backoff
from springline.core.backoff import Retry
from support.fake_clock import FixedRandom

LOWEST, MIDDLE, HIGHEST = FixedRandom(0.0), FixedRandom(0.5), FixedRandom(1.0)

RETRIES = st.builds(
    Retry,
    delay=st.floats(0.1, 3600),
    max_delay=st.floats(0.1, 86400),
    jitter=st.floats(0, 1),
)


# R5.4
@pytest.mark.parametrize(
    ("rng", "seconds"),
    [
        pytest.param(LOWEST, 7.0, id="30 % less at the least"),
        pytest.param(MIDDLE, 10.0, id="10 s on average"),
        pytest.param(HIGHEST, 13.0, id="30 % more at the most"),
    ],
)
def test_the_default_delay_is_ten_seconds_give_or_take_thirty_per_cent(
    rng: Random, seconds: float
) -> None:
    assert backoff.spaced_delay(Retry(), failures=1, rng=rng) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [
        pytest.param(0, 10.0, id="none: the connection was open and has ended"),
        pytest.param(1, 10.0, id="the first"),
        pytest.param(2, 20.0, id="the second doubles"),
        pytest.param(3, 40.0, id="the third doubles again"),
        pytest.param(4, 60.0, id="the fourth is held by the maximum"),
        pytest.param(10**9, 60.0, id="any number after that, too"),
    ],
)
def test_the_delay_doubles_with_every_failure_up_to_its_maximum(
    failures: int, seconds: float
) -> None:
    delay = backoff.spaced_delay(Retry(), failures=failures, rng=MIDDLE)
    assert delay == pytest.approx(seconds)


def test_a_refused_attempt_waits_for_the_longest_delay() -> None:
    assert backoff.slow_delay(Retry(), rng=MIDDLE) == pytest.approx(60.0)
    assert backoff.slow_delay(Retry(), rng=HIGHEST) == pytest.approx(78.0)


# R5.15
@given(retry=RETRIES, failures=st.integers(0, 2000), share=st.floats(0, 1))
def test_without_jitter_chance_has_no_say(retry: Retry, failures: int, share: float) -> None:
    """To the letter: not even the last digit of a delay is another one."""
    retry = dataclasses.replace(retry, jitter=0.0)
    declared = min(retry.delay * 2 ** min(max(failures - 1, 0), 32), retry.max_delay)
    assert backoff.spaced_delay(retry, failures=failures, rng=FixedRandom(share)) == declared
    assert backoff.slow_delay(retry, rng=FixedRandom(share)) == retry.max_delay


# R5.15
@given(retry=RETRIES, failures=st.integers(0, 2000))
def test_without_a_generator_jitter_has_no_say(retry: Retry, failures: int) -> None:
    exact = dataclasses.replace(retry, jitter=0.0)
    declared = backoff.spaced_delay(exact, failures=failures, rng=HIGHEST)
    assert backoff.spaced_delay(retry, failures=failures, rng=None) == declared
    assert backoff.slow_delay(retry, rng=None) == retry.max_delay


# R5.5
def test_the_same_chance_gives_the_same_delays() -> None:
    def delays(seed: int) -> list[float]:
        rng = Random(seed)  # noqa: S311  # spacing, not secrecy
        return [backoff.spaced_delay(Retry(), failures=n, rng=rng) for n in range(5)]

    assert delays(1) == delays(1)
    assert delays(1) != delays(2)


@given(retry=RETRIES, failures=st.integers(0, 2000), share=st.floats(0, 1))
def test_a_delay_is_never_negative_nor_longer_than_the_maximum_and_its_jitter(
    retry: Retry, failures: int, share: float
) -> None:
    delay = backoff.spaced_delay(retry, failures=failures, rng=FixedRandom(share))
    assert 0 <= delay <= retry.max_delay * (1 + retry.jitter) * 1.000001


@given(retry=RETRIES, failures=st.integers(0, 100))
def test_one_more_failure_never_shortens_the_delay(retry: Retry, failures: int) -> None:
    before = backoff.spaced_delay(retry, failures=failures, rng=MIDDLE)
    assert backoff.spaced_delay(retry, failures=failures + 1, rng=MIDDLE) >= before
