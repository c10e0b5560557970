"""Secrets and ConfigMaps in memory, as `core.ports.ObjectReader`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from springline.api.meta import Identity

__all__ = ["FakeReader", "HeldObject"]


@dataclass(frozen=True, slots=True)
class HeldObject:
    """One object, as `core.ports.DataObject`."""

    version: str
    values: dict[str, bytes] = field(repr=False)

    def get(self, key: str) -> bytes | None:
        return self.values.get(key)


class FakeReader:
    """Holds what a test puts into it; of the namespace `apps` unless told otherwise."""

    def __init__(self) -> None:
        self._objects: dict[Identity, HeldObject] = {}
        self.reads: list[Identity] = []
        self.failure: Exception | None = None
        """Raised instead of handing anything over."""

    def put(
        self,
        name: str,
        values: Mapping[str, bytes],
        *,
        kind: str = "Secret",
        namespace: str = "apps",
    ) -> None:
        """Put an object in place, with the next version."""
        identity = Identity(kind, namespace, name)
        before = self._objects.get(identity)
        version = str(int(before.version) + 1) if before is not None else "1"
        self._objects[identity] = HeldObject(version, dict(values))

    async def read(self, identity: Identity) -> HeldObject | None:
        self.reads.append(identity)
        if self.failure is not None:
            raise self.failure
        return self._objects.get(identity)
