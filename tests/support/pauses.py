"""Streams that pause, read by whoever has a task to wait in."""

from collections.abc import AsyncIterator, Iterator
from typing import TypeVar

from springline.core import ports
from springline.core.pauses import Pause
from springline.core.probing import Answer, Prober
from springline.wheel import TICK

__all__ = ["answers", "at_their_times"]

T = TypeVar("T")


async def at_their_times(stream: Iterator[T | Pause], clock: ports.Clock) -> AsyncIterator[T]:
    """Yield what comes of a stream, when it comes."""
    for each in stream:
        if isinstance(each, Pause):
            await _wait(each, clock)
        else:
            yield each


async def answers(prober: Prober, clock: ports.Clock) -> AsyncIterator[Answer]:
    """Probe from now on, and yield what that shows."""
    pause: Pause | None = Pause(0.0)
    while pause is not None:
        await _wait(pause, clock)
        answer = await prober.probe()
        if answer is not None:
            yield answer
        pause = prober.pause()


async def _wait(pause: Pause, clock: ports.Clock) -> None:
    now = clock.monotonic()
    ends = now + pause.seconds
    if pause.early:
        ends = max(ends - ends % TICK, now)
    if ends > now:
        await clock.sleep(ends - now)
