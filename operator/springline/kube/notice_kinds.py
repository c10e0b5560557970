"""What warnings about who writes a status are called, and how long each of them counts."""

import enum
from typing import Final

__all__ = ["REPEAT_SECONDS", "Notice"]

REPEAT_SECONDS: Final = 1800.0
"""While it goes on, there is an Event that the API server has not forgotten yet."""


class Notice(enum.StrEnum):
    """What an Event says. The value is its `reason`."""

    HELD_ELSEWHERE = "HeldElsewhere"  # another live replica holds the object
    STATUS_TOO_LARGE = "StatusTooLarge"  # the object is too large to take its status
    STATUS_OVERWRITTEN = "StatusOverwritten"  # another writer writes over the status
