"""Our own writes of status, as a watch of our kinds shows them again.

They are most of what such a watch brings, and tell us nothing.
"""

from collections.abc import Mapping
from typing import Any

__all__ = ["Echoes"]


class Echoes:
    """Tells, of one watch, which events show an object as it was, but for its status."""

    def __init__(self) -> None:
        self._shown: dict[str, int] = {}

    def has(self, event: Mapping[str, Any]) -> bool:
        """Whether the event is such an echo. To be asked of each event once, in their order."""
        if event["type"] not in ("ADDED", "MODIFIED", "DELETED"):
            return False
        metadata = event["object"]["metadata"]
        uid = metadata["uid"]
        if event["type"] == "DELETED":
            self._shown.pop(uid, None)
            return False
        # What is declared counts the generation up; what is asked for by annotations does not.
        annotations = metadata.get("annotations") or {}
        is_now = hash(
            (
                metadata.get("generation"),
                metadata.get("deletionTimestamp"),
                tuple(sorted(annotations.items())),
            )
        )
        before = self._shown.get(uid)
        self._shown[uid] = is_now
        return before == is_now and "generation" in metadata
