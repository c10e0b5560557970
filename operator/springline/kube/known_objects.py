"""Which objects of ours there are, by what a watch has shown of each.

`declarations` notes them; whoever writes something about one asks for its uid.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from springline.api.meta import Identity
from springline.kube.requests import Request

__all__ = ["KnownObjects", "Seen"]


@dataclass(frozen=True, slots=True)
class Seen:
    """What decides whether an object says anything new."""

    uid: str
    generation: int
    requests: Mapping[Request, str]
    former: tuple[str, ...] = ()
    """The uids of those that had the name before. Late events of theirs may still come."""


class KnownObjects(dict[Identity, Seen]):
    """What was seen of each declared object."""

    def uid(self, identity: Identity) -> str | None:
        """Return the uid of an object, None if there is no such object."""
        seen = self.get(identity)
        return seen.uid if seen is not None else None
