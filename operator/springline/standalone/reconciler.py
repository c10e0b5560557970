"""From one set of manifests to the next: what changed goes to the manager, nothing else.

It also stands in for the API server: it counts generations and versions, and reads Secrets and
ConfigMaps out of the manifests.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from springline.api import core_v1, v1alpha1
from springline.api.documents import Document
from springline.api.meta import Identity
from springline.core import ports
from springline.core.manager import Manager
from springline.core.values import SessionKey
from springline.errors import ObjectNotAllowedError
from springline.standalone.loader import Manifests

__all__ = ["ManifestReader", "Reconciler"]


@dataclass(frozen=True, slots=True)
class _Versioned:
    """A Secret or ConfigMap of the manifests, as `core.ports.DataObject`."""

    version: str
    document: core_v1.Secret | core_v1.ConfigMap

    def get(self, key: str) -> bytes | None:
        return self.document.get(key)


class ManifestReader:
    """Secrets and ConfigMaps as the manifests have them, as `core.ports.ObjectReader`."""

    def __init__(self) -> None:
        self._objects: dict[Identity, _Versioned] = {}

    async def read(self, identity: Identity) -> ports.DataObject | None:
        """Return the object. Raises `ObjectNotAllowedError` for what is never for a broker."""
        found = self._objects.get(identity)
        if found is not None and isinstance(found.document, core_v1.Secret):
            why = core_v1.why_not_used(identity.kind, found.document.type)
            if why:
                raise ObjectNotAllowedError(identity, why)
        return found

    def put(
        self, identity: Identity, document: core_v1.Secret | core_v1.ConfigMap, *, version: int
    ) -> None:
        self._objects[identity] = _Versioned(str(version), document)

    def drop(self, identity: Identity) -> None:
        self._objects.pop(identity, None)


class Reconciler:
    """Applies one set of manifests after the other."""

    def __init__(self, manager: Manager, reader: ManifestReader) -> None:
        self._manager = manager
        self._reader = reader
        self._applied: Mapping[Identity, Document] = {}
        self._unusable: Mapping[Identity, tuple[str, ...]] = {}
        self._generations: dict[Identity, int] = {}

    def generation(self, identity: Identity) -> int:
        """How often the object has been declared anew; the first time counts."""
        return self._generations.get(identity, 0)

    def apply(self, manifests: Manifests) -> None:
        """Hand what differs from the last call to the manager. Returns at once."""
        before, after = self._applied, manifests.objects
        unusable = manifests.unusable
        changed = [identity for identity in after if before.get(identity) != after[identity]]
        gone = before.keys() - after.keys()
        # A connection that cannot be used is still declared: its status says why.
        undeclared = (before.keys() | self._unusable.keys()) - after.keys() - unusable.keys()
        dropped = {each for each in gone if each.kind != "BrokerConnection"} | {
            each for each in undeclared if each.kind == "BrokerConnection"
        }
        # What is referred to comes before what refers to it and goes after it, so that no session
        # sees a state that was never declared.
        for identity in sorted(changed, key=_referred_to_first):
            self._put(identity, after[identity])
        for identity, problems in unusable.items():
            if problems != self._unusable.get(identity):
                self._put_unusable(identity, problems)
        for identity in sorted(dropped, key=_referred_to_first, reverse=True):
            self._drop(identity)
        self._applied, self._unusable = after, unusable

    def _put(self, identity: Identity, document: Document) -> None:
        generation = self._generations[identity] = self.generation(identity) + 1
        match document:
            case core_v1.Secret() | core_v1.ConfigMap():
                self._reader.put(identity, document, version=generation)
                self._manager.object_changed(identity)
            case core_v1.Namespace():
                self._manager.put_namespace(identity.name, document.metadata.labels)
            case v1alpha1.BrokerConnection():
                self._manager.put_connection(document, generation=generation)
            case _:
                self._manager.put_broker(identity, document.spec)

    def _put_unusable(self, identity: Identity, problems: tuple[str, ...]) -> None:
        if identity.kind != "BrokerConnection":
            return
        generation = self._generations[identity] = self.generation(identity) + 1
        self._manager.put_unusable(_key(identity), "; ".join(problems), generation=generation)

    def _drop(self, identity: Identity) -> None:
        match identity.kind:
            case "Secret" | "ConfigMap":
                self._reader.drop(identity)
                self._manager.object_changed(identity)
            case "Namespace":
                self._manager.drop_namespace(identity.name)
            case "BrokerConnection":
                self._manager.drop_connection(_key(identity))
            case _:
                self._manager.drop_broker(identity)


def _key(identity: Identity) -> SessionKey:
    return SessionKey(identity.namespace, identity.name)


def _referred_to_first(identity: Identity) -> int:
    return _ORDER.get(identity.kind, len(_ORDER))


_ORDER = {"Secret": 0, "ConfigMap": 0, "Namespace": 0, "Broker": 1, "ClusterBroker": 1}
