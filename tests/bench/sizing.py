"""How many connections a replica of some memory and processor time holds, from what was measured.

Pure. It goes by one process: its memory before the first connection and the most that it took with
all of them, its processor time while nothing happens, and that of having all of them reconnect.
What the broker and the API server need is theirs.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bench.rows import Row

__all__ = ["RECONNECT_SECONDS", "SIZES", "Cost", "Size", "cost", "size"]

SIZES: Final = ((128, 100), (256, 250), (512, 500), (1024, 1000), (2048, 1000))
"""MB of memory and millicores of processor; Python uses no more than one core."""

RECONNECT_SECONDS: Final = 60.0
"""In which all connections shall be back after their broker is."""

_SHARE_OF_MEMORY: Final = 0.8
"""The rest is for what nobody has measured."""
_SHARE_WHILE_IDLE: Final = 0.5
"""More than that would leave too little for what happens."""
_MOST_MILLICORES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one process takes."""

    count: int
    """Connections that were measured."""
    before: float
    """MB before the first connection."""
    each: float
    """MB for each connection, at the worst moment that was measured."""
    idle: float
    """Cores for each connection while nothing happens."""
    reconnecting: float
    """Processor seconds for each connection when all reconnect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How many connections a replica holds, and what it is that allows no more."""

    megabytes: int
    millicores: int
    by_memory: int
    by_idling: int
    by_reconnecting: int

    @property
    def connections(self) -> int:
        """The least of the three."""
        return min(self.by_memory, self.by_idling, self.by_reconnecting)

    @property
    def bound_by(self) -> str:
        """What allows no more."""
        bounds = {
            "memory": self.by_memory,
            "idling": self.by_idling,
            "reconnecting": self.by_reconnecting,
        }
        return min(bounds, key=lambda each: bounds[each])


def cost(rows: Sequence[Row], *, title: str = "") -> Cost | None:
    """Return what the largest measured number takes; None where something was not measured.

    `title` is what the names of the rows begin with.
    """
    for count in sorted({row.count for row in rows}, reverse=True):
        found = {
            row.what.removeprefix(title): row.ours
            for row in rows
            if row.count == count and row.what.startswith(title)
        }
        before = found.get("memory before the first")
        peak = found.get("peak memory, reconnected", found.get("peak memory"))
        idle = next((found[what] for what in found if what.startswith("idle, ")), None)
        reconnecting = found.get("  processor time to reconnect")
        if before is None or peak is None or idle is None or reconnecting is None:
            continue
        return Cost(
            count=count,
            before=before,
            each=(peak - before) / count,
            idle=idle / 100 / count,
            reconnecting=reconnecting / count,
        )
    return None


def size(of: Cost, megabytes: int, millicores: int) -> Size:
    """Return how many connections a replica with so much holds."""
    cores = min(millicores, _MOST_MILLICORES) / 1000
    return Size(
        megabytes=megabytes,
        millicores=millicores,
        by_memory=_whole(megabytes * _SHARE_OF_MEMORY - of.before, of.each),
        by_idling=_whole(cores * _SHARE_WHILE_IDLE, of.idle),
        by_reconnecting=_whole(cores * RECONNECT_SECONDS, of.reconnecting),
    )


def _whole(there_is: float, each: float) -> int:
    """Return how many fit, of which two digits say something; what takes nothing fits always."""
    if there_is <= 0:
        return 0
    if each <= 0:
        return 1_000_000
    fitting = min(int(there_is / each), 1_000_000)
    step = 10 ** max(0, math.floor(math.log10(fitting)) - 1) if fitting else 1
    return fitting // step * step
