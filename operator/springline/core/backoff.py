"""How long to wait before the next attempt: pure arithmetic, randomness passed in.

The delay spaces the *starts* of attempts (async_js, persistent connection): a session that lived
longer than the delay is reopened at once, one that flaps is not opened more often than the delay
says. Without randomness, by declaration (`jitter` 0) or because there is no generator (`rng` None),
delays are as declared, to the letter.
"""

from dataclasses import dataclass
from random import Random

__all__ = ["Retry", "jittered", "slow_delay", "spaced_delay"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Retry:
    """How attempts are spaced, in seconds: `delay` doubles with every failure up to `max_delay`."""

    delay: float = 10.0
    max_delay: float = 60.0
    jitter: float = 0.3
    """Share of the delay by which it is randomised, up and down."""


def jittered(seconds: float, *, jitter: float, rng: Random | None) -> float:
    """Return `seconds` randomised by ± `jitter` (0.3 is 30 %), or as they are without `rng`."""
    if rng is None:
        return seconds
    return seconds * rng.uniform(1 - jitter, 1 + jitter)


def spaced_delay(retry: Retry, *, failures: int, rng: Random | None) -> float:
    """Return the seconds from one attempt's start to the next after `failures` failed ones."""
    # Past 32 doublings every delay is far above its maximum; the cap keeps the power finite.
    doubled = retry.delay * 2.0 ** min(max(failures - 1, 0), 32)
    return jittered(min(doubled, retry.max_delay), jitter=retry.jitter, rng=rng)


def slow_delay(retry: Retry, *, rng: Random | None) -> float:
    """Return the seconds between attempts that nobody expects to succeed: the longest delay.

    A refused login repeated quickly fills the broker's log and can lock the account.
    """
    return jittered(retry.max_delay, jitter=retry.jitter, rng=rng)
