"""Heartbeats of one open connection: ours are sent in time, and the peer's silence is noticed.

A heartbeat is sent only where nothing else was: "Any sent octet is a valid substitute for a
heartbeat" (AMQP 0-9-1 §4.2.7). What follows from a silence is the wire's to decide.
"""

import asyncio
from collections.abc import Callable
from typing import Final

from pamqp.heartbeat import Heartbeat

from springline import wheel
from springline.drivers.amqp091 import frames
from springline.drivers.amqp091.frame_reader import FrameReader
from springline.drivers.shared.line import Line

__all__ = ["Heart"]

# AMQP 0-9-1 §4.2.7: "If a peer detects no incoming traffic (i.e. received octets) for two heartbeat
# intervals or longer, it should close the connection".
_GRACE_HEARTBEATS: Final = 2

_HEARTBEAT: Final = frames.marshalled(Heartbeat())


def _nobody() -> None:
    """Do nothing: there is nobody to be told."""


class Heart:
    """Beats from when it is made until `stop`."""

    __slots__ = ("_line", "_loop", "_on_silence", "_sent_at", "_timer", "seconds")

    def __init__(
        self,
        line: Line[FrameReader],
        *,
        seconds: int,
        on_silence: Callable[[], None],
    ) -> None:
        """Begin with the heartbeat of `seconds` that was negotiated; with 0 there is none."""
        self._line = line
        self._loop = asyncio.get_running_loop()
        self.seconds = seconds
        self._on_silence = on_silence
        self._sent_at = self._loop.time()
        self._timer: wheel.Timer | None = None
        if seconds > 0:
            self._wind()

    @property
    def silence_limit(self) -> int:
        """How many seconds the peer may be silent; 0 without heartbeats, for any time."""
        return _GRACE_HEARTBEATS * self.seconds

    def sent(self) -> None:
        """Note that something is sent: for a while no heartbeat is needed."""
        self._sent_at = self._loop.time()

    def stop(self) -> None:
        """Beat no more, and let go of who would be told. Idempotent."""
        self._on_silence = _nobody
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    @property
    def _due(self) -> float:
        """When one is due: half a heartbeat after what was sent, so that one may be late."""
        return self._sent_at + max(self.seconds / 2, 1)

    def _wind(self) -> None:
        self._timer = wheel.call_at(self._due, self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        if now - self._line.reader.heard_at > self.silence_limit:
            self._timer = None
            self._on_silence()
            return
        if now >= self._due:
            self._line.write(_HEARTBEAT)
            self._sent_at = now
        self._wind()
