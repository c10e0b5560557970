"""Which Secrets and ConfigMaps the declared connections read, and which of them read each."""

from collections.abc import Collection

from springline.api.meta import Identity
from springline.core.values import SessionKey

__all__ = ["ReadObjects"]


class ReadObjects:
    """What is read by whom. The manager keeps it; whoever reads or watches objects asks."""

    def __init__(self) -> None:
        self._reads: dict[SessionKey, frozenset[Identity]] = {}
        self._readers: dict[Identity, set[SessionKey]] = {}
        """The same, the other way round."""

    def is_read(self, identity: Identity) -> bool:
        """Whether a declared connection reads this object now."""
        return identity in self._readers

    def readers(self, identity: Identity) -> Collection[SessionKey]:
        """Return who reads it."""
        return self._readers.get(identity, ())

    def note(self, key: SessionKey, reads: frozenset[Identity]) -> None:
        """Note what a connection reads from now on."""
        before = self._reads.get(key, frozenset())
        for identity in before - reads:
            self._readers[identity].discard(key)
            if not self._readers[identity]:
                del self._readers[identity]
        for identity in reads - before:
            self._readers.setdefault(identity, set()).add(key)
        if reads:
            self._reads[key] = reads
        else:
            self._reads.pop(key, None)
