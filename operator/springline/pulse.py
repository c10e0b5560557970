"""The event loop's pulse: how late it gets round to what is due.

A loop that something holds up answers neither brokers nor the API server in time. What it was
late is shown as a metric; a loop that has not come round for long is past helping itself.
"""

from collections import deque

from springline.core import ports

__all__ = ["Pulse"]

_BEAT_SECONDS = 1.0
_REMEMBERED = 60
_LONGEST_PAUSE_SECONDS = 30.0


class Pulse:
    """Feels the pulse while `run` is running."""

    def __init__(self, clock: ports.Clock) -> None:
        self._clock = clock
        self._lags: deque[float] = deque(maxlen=_REMEMBERED)
        self._due: float | None = None

    async def run(self) -> None:
        """Measure until cancelled."""
        while True:
            self._due = self._clock.monotonic() + _BEAT_SECONDS
            await self._clock.sleep(_BEAT_SECONDS)
            self._lags.append(max(self._clock.monotonic() - self._due, 0.0))

    def lag(self) -> float:
        """Return the longest that the loop was late within the last minute, in seconds."""
        return max((*self._lags, self._overdue()))

    def problem(self) -> str | None:
        """Say what is wrong, as a check of liveness; None if the loop comes round."""
        overdue = self._overdue()
        if overdue <= _LONGEST_PAUSE_SECONDS:
            return None
        return f"the event loop has not come round for {overdue:.0f} s"

    def _overdue(self) -> float:
        if self._due is None:
            return 0.0
        return max(self._clock.monotonic() - self._due, 0.0)
