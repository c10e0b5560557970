"""Whether the status of an object is this replica's to write, and what is done about other writers.

Another live replica that a status names as holder keeps it. Any other status that Springline has
not written is written again, three times with growing pauses; then an Event names the writer, and
the status is left as it is for a while. `status` asks when it is an object's turn, and tells what
the API server shows.
"""

import enum
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from springline.api.meta import Identity
from springline.core import ports
from springline.kube import stored
from springline.kube.holders import Life
from springline.kube.projection import Entry
from springline.kube.status_texts import Digest
from springline.kube.stored import FIELD_MANAGER, StoredStatus

__all__ = ["Claim", "Lives", "Rivals", "StatusNotices", "is_held_by_another"]

logger = logging.getLogger(__name__)

_PAUSES: Final = (0.0, 5.0, 30.0, 600.0)
"""Seconds before a status is written again that was written over: three tries, and then one now and
again, or it would be wrong for ever after."""

_CALM_SECONDS = 3600.0
"""After which a status that is written over is a new case."""

_LONGEST_HOLDER = 320
"""Longer than a namespace and a name can be."""

_REMEMBERED = 4
"""Writes without an answer; each may be the one that the API server shows."""


class Lives(Protocol):
    """Knows which replicas live; `kube.holders.Holders` does."""

    def life(self, holder: str) -> Life | None:
        """Whether a holder lives; None if that is not known yet, and then it is told later."""


class StatusNotices(Protocol):
    """Tells people who writes a status; `kube.notices.Notices` does."""

    def held_elsewhere(self, identity: Identity, *, holder: str, replica: str) -> None:
        """Another live replica holds the object. Idempotent."""

    def ended(self, identity: Identity) -> None:
        """That is no longer so, or the object is gone. Idempotent."""

    def too_large(self, identity: Identity) -> None:
        """The object has no room for its status. Idempotent."""

    def overwritten(self, identity: Identity, *, manager: str, holder: str) -> None:
        """A status is written over again and again: by whom, and for which replica if for one."""


class Claim(enum.Enum):
    """Whose a status is."""

    OURS = "ours"  # nothing speaks against writing it
    UNKNOWN = "unknown"  # whether its holder lives has to be found out
    THEIRS = "theirs"  # its holder is another live replica


def is_held_by_another(entry: Entry, lives: Lives) -> bool:
    """Whether another live replica holds the object."""
    return bool(entry.other) and lives.life(entry.other) is Life.ALIVE


class Rivals:
    """Keeps in the entries of objects what is known of other writers of their status."""

    def __init__(
        self, lives: Lives, notices: StatusNotices, clock: ports.Clock, *, holder: str
    ) -> None:
        """`holder` is this replica, as status names it."""
        self._lives = lives
        self._notices = notices
        self._clock = clock
        self._holder = holder

    def other_holder(self, status: Mapping[str, Any]) -> str:
        """Return the holder that a status names, empty if it is this replica or there is none.

        It is fit to be shown: a status can be written by hand, and hold anything.
        """
        holder = str(status.get("holder") or "")
        if holder == self._holder:
            return ""
        return "".join(each if each.isprintable() else "?" for each in holder[:_LONGEST_HOLDER])

    def claim(self, entry: Entry) -> Claim:
        """Say whose the status of an object is, to people, too, if it is another replica's."""
        if not entry.other:
            return Claim.OURS
        match self._lives.life(entry.other):
            case None:
                return Claim.UNKNOWN
            case Life.ALIVE:
                self._notices.held_elsewhere(
                    entry.identity, holder=entry.other, replica=self._holder
                )
                entry.overwrites, entry.left_until = 0, float("-inf")  # it may write
                return Claim.THEIRS
            case _:
                return Claim.OURS

    def is_theirs(self, entry: Entry) -> bool:
        """Whether another live replica holds the object, for those who only look."""
        return is_held_by_another(entry, self._lives)

    def is_unknown(self, entry: Entry) -> bool:
        """Whether it is not known yet if the replica lives that a status names."""
        return bool(entry.other) and self._lives.life(entry.other) is None

    def definitions_changed(self, entry: Entry) -> None:
        """Note that the API server may show the same status in another way from now on."""
        entry.shown = None

    def gone(self, entry: Entry) -> None:
        """Note that the object is gone."""
        self._notices.ended(entry.identity)

    # --- what the API server has

    def writing(self, entry: Entry, sent: Digest) -> None:
        """Note that a status is about to be sent; its answer may get lost."""
        entry.sent = (*entry.sent, sent.whole)[-_REMEMBERED:]

    def written(self, entry: Entry, sent: Digest, *, shown: Digest, version: str) -> None:
        """Note that a status was written, and what the API server has made of it."""
        entry.written = sent
        entry.sent = (sent.whole,)
        entry.version = version
        entry.shown = shown.whole
        if entry.other:
            entry.other = ""
            self._notices.ended(entry.identity)

    def seen(self, entry: Entry, found: StoredStatus) -> bool:
        """Take in what the API server shows of an object.

        Return whether the status is not what was written, so that it is the object's turn. What is
        older than what is known says nothing.
        """
        if not stored.is_newer(found.version, entry.version):
            return False
        entry.version = found.version
        digest = Digest.of(found.status)
        if digest.whole == entry.shown:
            return False  # something else of the object has changed
        if digest.whole in entry.sent:  # a write of this replica whose answer got lost
            entry.written, entry.other, entry.shown = digest, "", digest.whole
            return False
        is_known, entry.shown = entry.shown is not None, digest.whole
        entry.written = None
        entry.other = self.other_holder(found.status)
        if is_known and not self.is_theirs(entry):
            self._overwritten(entry, found)
        return True

    def _overwritten(self, entry: Entry, found: StoredStatus) -> None:
        now = self._clock.monotonic()
        if now - entry.overwritten_at > _CALM_SECONDS:
            entry.overwrites = 0
        entry.overwritten_at = now
        entry.left_until = now + _PAUSES[min(entry.overwrites, len(_PAUSES) - 1)]
        entry.overwrites += 1
        manager = found.written_by or (FIELD_MANAGER if entry.other else "")
        shown = {
            "object": str(entry.identity),
            "manager": manager or "unknown",
            "holder": entry.other or "none",
        }
        if entry.overwrites < len(_PAUSES):
            logger.info("status was written by another writer; writing it again", extra=shown)
            return
        if entry.overwrites == len(_PAUSES):
            logger.warning("status is written over again and again; leaving it", extra=shown)
        self._notices.overwritten(entry.identity, manager=manager, holder=entry.other)
