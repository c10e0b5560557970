"""Which versions of objects Springline's own writes have made, until a watch shows them.

The writer of status notes them and the watch of our kinds asks. An event that shows such a version
tells nothing: whatever else has changed of the object before the write has an event of its own.
"""

from collections import OrderedDict
from typing import Final

from springline.kube import document_texts

__all__ = ["OwnWrites"]

_MOST: Final = 10_000
"""Versions that are remembered. Those that no watch shows, because it was away, are the oldest."""


class OwnWrites:
    """The last version of each object that a write of ours has made, and no watch has shown."""

    def __init__(self) -> None:
        self._versions: OrderedDict[str, str] = OrderedDict()

    def __len__(self) -> int:
        return len(self._versions)

    def made(self, uid: str, version: str) -> None:
        """Note that a write has made this version of an object."""
        self._versions[uid] = version
        self._versions.move_to_end(uid)
        if len(self._versions) > _MOST:
            self._versions.popitem(last=False)

    def forget(self, uid: str) -> None:
        """Note that the object is gone. Idempotent."""
        self._versions.pop(uid, None)

    def clear(self) -> None:
        """Note that everything was listed, so that what came before is not shown any more."""
        self._versions.clear()

    def shown_by(self, line: bytes) -> str | None:
        """Return the version that a line of a watch shows, if one of our writes has made it.

        To be asked once of each line. None says nothing of the line.
        """
        if not self._versions or not line.startswith(_MODIFIED):
            return None
        made = document_texts.made(line)
        if made is None or self._versions.get(made.uid) != made.version:
            return None
        del self._versions[made.uid]
        return made.version


_MODIFIED: Final = b'{"type":"MODIFIED",'
