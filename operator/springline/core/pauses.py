"""Pauses in a stream of messages, in which whoever reads it need not keep a task waiting."""

from dataclasses import dataclass

__all__ = ["Pause"]


@dataclass(frozen=True, slots=True)
class Pause:
    """Nothing more comes for so many seconds."""

    seconds: float
    early: bool = False
    """Whether it may end a moment before that, but not after; else it is the other way round."""
