"""One status written to the API server, or read from it.

When, and what follows from the answer, is decided in `status`.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from springline.api.meta import Identity
from springline.api.v1alpha1 import API_VERSION
from springline.kube import paths
from springline.kube.stored import FIELD_MANAGER, StoredStatus, leftovers

__all__ = ["Applier", "StatusAPI"]


class Applier(Protocol):
    """The requests that it takes; `kube.client.Client` has them. All raise `RequestError`."""

    async def apply(
        self, path: str, document: Mapping[str, Any], *, manager: str
    ) -> Mapping[str, Any]:
        """Server-side apply `document` at `path`, and return the object."""

    async def merge(
        self, path: str, change: Mapping[str, Any], *, manager: str
    ) -> Mapping[str, Any]:
        """Merge `change` into the object at `path`, and return it."""

    async def get(self, path: str) -> Mapping[str, Any]:
        """Return the object at `path`."""


class StatusAPI:
    """Statuses in the API server. Methods raise `RequestError`."""

    def __init__(self, client: Applier) -> None:
        self._client = client

    async def read(self, identity: Identity) -> StoredStatus:
        """Return the status of an object as it is now."""
        return StoredStatus.of(await self._client.get(paths.of_object(identity)))

    async def write(
        self, identity: Identity, status: Mapping[str, Any], *, version: str
    ) -> StoredStatus:
        """Have an object hold this status and nothing else, and return what it holds then.

        With a version, only if the object still is that version.
        """
        path, document = paths.status_of(identity), _document(identity, status, version)
        answer = StoredStatus.of(await self._client.apply(path, document, manager=FIELD_MANAGER))
        # Without a version it may be another object of that name.
        patch = leftovers(answer.status, status) if version and answer.status != status else {}
        if patch:
            change = {"metadata": {"resourceVersion": answer.version}, "status": patch}
            answer = StoredStatus.of(await self._client.merge(path, change, manager=FIELD_MANAGER))
        return answer


def _document(identity: Identity, status: Mapping[str, Any], version: str) -> dict[str, Any]:
    metadata = {"name": identity.name}
    if identity.namespace:
        metadata["namespace"] = identity.namespace
    if version:
        metadata["resourceVersion"] = version
    return {
        "apiVersion": API_VERSION,
        "kind": identity.kind,
        "metadata": metadata,
        "status": status,
    }
