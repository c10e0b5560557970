"""How much of anything there may be on one AMQP 1.0 connection. None is met by what behaves.

What a peer sends counts against the budget that all drivers share (`drivers.shared.inbound`).
"""

from typing import Final

__all__ = [
    "LEAST_IDLE_SECONDS",
    "LONGEST_FRAME",
    "MAX_UNREAD",
    "READ_OCTETS",
]

READ_OCTETS: Final = 8 * 1024
"""Octets read at one time."""
LONGEST_FRAME: Final = 64 * 1024
"""Octets of a frame that is taken, where no limit or a higher one is declared: nothing that a
session is told of is longer, and proton keeps a frame until it is complete."""
MAX_UNREAD: Final = 4 * 1024 * 1024
"""Octets queued for a peer that does not read; more ends the connection."""
LEAST_IDLE_SECONDS: Final = 1.0
"""The shortest idle time-out that a peer may demand: a sign of life costs time, too."""
