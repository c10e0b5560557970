"""The declared objects with what is known of their status.

Its writer keeps it, and puts everything in here; others only look.
"""

from collections.abc import Collection

from springline.api.meta import Identity
from springline.kube.projection import Entry
from springline.kube.rivals import Lives, is_held_by_another

__all__ = ["Elsewhere", "Entries"]


class Entries(dict[Identity, Entry]):
    """The entry of each declared object."""

    def other_holders(self) -> Collection[str]:
        """Return the other replicas that statuses name as their holders."""
        return {entry.other for entry in self.values() if entry.other}


class Elsewhere:
    """Knows which objects another live replica looks after."""

    def __init__(self, entries: Entries, lives: Lives) -> None:
        self._entries = entries
        self._lives = lives

    def holds(self, identity: Identity) -> bool:
        """Whether another live replica holds the object."""
        entry = self._entries.get(identity)
        return entry is not None and is_held_by_another(entry, self._lives)
