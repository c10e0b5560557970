"""When a renewal that cannot wait may begin: at once, unless the one before it was a moment ago.

A broker whose clock is wrong calls every token expired, the newest too. Nobody is to be asked for
one after the other as fast as the network allows.
"""

from springline.core import ports
from springline.core.backoff import Retry

__all__ = ["Urgency"]


class Urgency:
    """Spaces the urgent renewals of one session, as attempts are spaced: start to start."""

    __slots__ = ("_clock", "_last", "_repeated")

    def __init__(self, clock: ports.Clock) -> None:
        self._clock = clock
        self._last: float | None = None
        self._repeated = 0

    def next_start(self, retry: Retry) -> float:
        """Return when, by the monotonic clock, the renewal that is wanted now may begin."""
        now = self._clock.monotonic()
        if self._last is None or now > self._last + 2 * retry.max_delay:
            self._last, self._repeated = now, 0
            return now
        delay = min(retry.delay * 2.0 ** min(self._repeated, 32), retry.max_delay)
        self._repeated += 1
        self._last = max(now, self._last + delay)
        return self._last
