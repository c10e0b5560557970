"""Times by two clocks: the wall clock, which may be set, and the monotonic one, which may not.

When a token ends is written as a time of the wall clock, and read with ours. Somebody may set that
clock back or forward while the token lives. So both clocks are read when a token is received, and
from then on a time counts by both:

- it is *near* for whichever clock comes to it first. What is due is done then, at worst too early,
  which costs a request.
- it is *over* by the monotonic clock alone: that much time has passed, whatever the wall clock has
  been set to. If the wall clock was wrong when the token was received, the broker tells.

Nothing here reads a clock of its own.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from springline.core import ports
from springline.core.values import Instant

__all__ = ["Deadline", "instant"]


def instant(clock: ports.Clock) -> Instant:
    """Return what both clocks say now."""
    return Instant(wall=clock.now(), monotonic=clock.monotonic())


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """A time to come, by both clocks."""

    at: datetime
    """What people are shown."""
    monotonic: float | None
    """The same by the monotonic clock; None where nobody read it, so that `at` alone counts."""

    @classmethod
    def of(cls, at: datetime, *, counted_from: Instant | None) -> "Deadline":
        """Return the deadline of a wall time that was read at an instant."""
        if counted_from is None:
            return cls(at=at, monotonic=None)
        left = (at - counted_from.wall).total_seconds()
        return cls(at=at, monotonic=counted_from.monotonic + left)

    def until_near(self, clock: ports.Clock) -> float:
        """Return the seconds until the first of the clocks comes to it; none or less since then."""
        by_wall = (self.at - clock.now()).total_seconds()
        return min(by_wall, self.until_over(clock))

    def until_over(self, clock: ports.Clock) -> float:
        """Return the seconds until so much time has passed; none or less since then."""
        if self.monotonic is None:
            return (self.at - clock.now()).total_seconds()
        return self.monotonic - clock.monotonic()

    def is_near(self, clock: ports.Clock, *, margin: timedelta = timedelta()) -> bool:
        """Whether a clock has come to it, or to less than `margin` before it."""
        return self.until_near(clock) <= margin.total_seconds()

    def is_over(self, clock: ports.Clock) -> bool:
        """Whether so much time has passed."""
        return self.until_over(clock) <= 0
