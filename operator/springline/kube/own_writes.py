"""The versions of objects that Springline's own writes have made, until a watch shows them.

The status writer records them, and the watch of our kinds takes them. An event with such a version
holds no news: any other change of the object has an event of its own.
"""

from collections import OrderedDict
from typing import Final

from springline.kube import document_texts

__all__ = ["OwnWrites"]

_MOST: Final = 10_000
"""Versions that are kept. The oldest are those that no watch has shown, because it was away."""

_MODIFIED: Final = b'{"type":"MODIFIED",'


class OwnWrites:
    """The last version of each object that a write of ours has made and no watch has shown."""

    def __init__(self) -> None:
        self._versions: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._versions)

    def record(self, uid: str, version: str) -> None:
        """Record the version of an object that a write has made."""
        self._versions[uid] = version
        self._versions.move_to_end(uid)
        if len(self._versions) > _MOST:
            self._versions.popitem(last=False)

    def forget(self, uid: str) -> None:
        """Forget an object that is gone. Idempotent."""
        self._versions.pop(uid, None)

    def clear(self) -> None:
        """Forget all versions: after a list, a watch shows only later ones."""
        self._versions.clear()

    def take(self, line: bytes) -> str | None:
        """Remove and return the version that a line of a watch shows, if it is a recorded one.

        None says nothing about the line.
        """
        if not self._versions or not line.startswith(_MODIFIED):
            return None
        found = document_texts.version_in(line)
        if found is None or self._versions.get(found.uid) != found.version:
            return None
        del self._versions[found.uid]
        return found.version
