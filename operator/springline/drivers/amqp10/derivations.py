"""Deriving keys from passwords beside the event loop, so that no broker keeps others from theirs.

A broker says how much work that is (RFC 5802 §5.1, the iteration count), and each keeps a processor
busy meanwhile. So there are few at once, and of one broker fewer still.
"""

import asyncio
from collections.abc import Callable
from typing import Final, TypeVar

from springline.core.fair_turns import FairTurns
from springline.threads import OffLoop, Threads

__all__ = ["Derivations", "shared"]

T = TypeVar("T")

_AT_ONCE: Final = 2
"""In one process. Each takes half a second with as many iterations as are accepted."""


class Derivations:
    """Computes for the logins of one event loop; half of what there can be at once for a broker."""

    __slots__ = ("_off_loop", "_turns")

    def __init__(self, off_loop: OffLoop, *, at_once: int = _AT_ONCE) -> None:
        self._off_loop = off_loop
        self._turns = FairTurns(at_once)

    async def run(self, broker: str, call: Callable[[], T]) -> T:
        """Return what the call returns when it is the turn of this broker. Safe to cancel."""
        async with self._turns.turn(broker):
            return await self._off_loop.run(call)


_of_loops: dict[asyncio.AbstractEventLoop, Derivations] = {}
"""Turns are bound to the event loop that waits for them."""


def shared() -> Derivations:
    """Return what all logins of the running event loop share."""
    for each in [loop for loop in _of_loops if loop.is_closed()]:
        del _of_loops[each]
    loop = asyncio.get_running_loop()
    if loop not in _of_loops:
        _of_loops[loop] = Derivations(Threads(at_once=_AT_ONCE, name="scram"))
    return _of_loops[loop]
