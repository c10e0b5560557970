"""How much a peer may send on one connection of a session, which consumes nothing.

What is meant for a session is short and seldom: heartbeats, answers, a word about a block. A peer
that sends without a pause costs the event loop the time of all other sessions. So there is a
budget, far above what any broker sends of itself, and the loop gets a turn in between, however much
has come.
"""

import asyncio
from typing import Final

from springline.core.budgets import Allowance, Budget

__all__ = ["InboundBudget"]

_FRAMES: Final = Allowance(burst=2000, refill_seconds=0.02)
_KIBIBYTES: Final = Allowance(burst=1024, refill_seconds=1 / 64)
_PIECES: Final = Allowance(burst=4000, refill_seconds=0.01)
"""A frame may come in pieces of one octet, and each of them wakes the event loop."""
_TURN: Final = 32
"""Frames after which others get their turn."""
_TURN_OCTETS: Final = 16 * 1024
"""Octets of frames after which they get it, too: a long frame takes longer to read."""


class InboundBudget:
    """What is left for the peer of one connection."""

    __slots__ = ("_frames", "_kibibytes", "_loop", "_octets", "_pieces", "_taken", "_taken_octets")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        self._loop = loop
        self._frames = Budget(_FRAMES, now=now)
        self._kibibytes = Budget(_KIBIBYTES, now=now)
        self._pieces = Budget(_PIECES, now=now)
        self._octets = 0  # that do not fill a kibibyte yet
        self._taken = 0  # since others had their turn
        self._taken_octets = 0

    def take(self, octets: int) -> str:
        """Take one frame of so many octets; return what is too much, empty if nothing is."""
        now = self._loop.time()
        self._taken += 1
        self._taken_octets += octets
        if not self._frames.take(now):
            return f"more than {_FRAMES.burst} frames at once"
        self._octets += octets
        while self._octets >= 1024:
            self._octets -= 1024
            if not self._kibibytes.take(now):
                return f"more than {_KIBIBYTES.burst} KiB at once"
        return ""

    def take_piece(self) -> str:
        """Take what came at one time, however short; return what is too much, as `take`."""
        if self._pieces.take(self._loop.time()):
            return ""
        return f"more than {_PIECES.burst} pieces at once"

    async def give_way(self) -> None:
        """Let other tasks run now and then: reading what has come already waits for nothing."""
        if self.is_turn_over():
            await asyncio.sleep(0)

    def is_turn_over(self) -> bool:
        """Whether others get their turn now; whoever asks lets them, and the next turn begins."""
        if self._taken < _TURN and self._taken_octets < _TURN_OCTETS:
            return False
        self._taken = self._taken_octets = 0
        return True
