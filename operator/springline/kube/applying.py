"""One status written to the API server, or read from it.

When, and what follows from the answer, is decided in `status`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from springline.api.meta import Identity
from springline.api.v1alpha1 import API_VERSION
from springline.kube import client, document_texts, paths
from springline.kube.status_texts import Digest, StatusText
from springline.kube.stored import FIELD_MANAGER, StoredStatus, leftovers

__all__ = ["Applier", "StatusAPI", "WriteResult"]


class Applier(Protocol):
    """The requests that it takes; `kube.client.Client` has them. All raise `RequestError`."""

    async def apply(self, path: str, body: bytes, *, manager: str) -> bytes:
        """Server-side apply the document that `body` is at `path`, and return the object."""

    async def merge(
        self, path: str, change: Mapping[str, Any], *, manager: str
    ) -> Mapping[str, Any]:
        """Merge `change` into the object at `path`, and return it."""

    async def get(self, path: str) -> Mapping[str, Any]:
        """Return the object at `path`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteResult:
    """The object as the API server has it after a write."""

    uid: str
    version: str
    """The version that the write has made."""
    digest: Digest
    """The digest of the status that the object has now."""


class StatusAPI:
    """Statuses in the API server. Methods raise `RequestError`."""

    def __init__(self, applier: Applier) -> None:
        self._applier = applier

    async def read(self, identity: Identity) -> StoredStatus:
        """Return the status of an object as it is now."""
        return StoredStatus.of(await self._applier.get(paths.of_object(identity)))

    async def write(self, identity: Identity, status: StatusText, *, version: str) -> WriteResult:
        """Have an object hold this status and nothing else, and return what it holds then.

        With a version, only if the object still is that version.
        """
        path, body = paths.status_of(identity), _body(identity, status, version)
        text = await self._applier.apply(path, body, manager=FIELD_MANAGER)
        found = document_texts.version_in(text)
        if found is not None and status.is_status_of(text):
            return WriteResult(uid=found.uid, version=found.version, digest=status.digest)
        return await self._compared(path, status, text, has_version=bool(version))

    async def _compared(
        self, path: str, status: StatusText, text: bytes, *, has_version: bool
    ) -> WriteResult:
        """Parse an answer in which the status is another one, or written in another form."""
        answer, value = StoredStatus.of(client.document_of(text)), status.value
        # Without a version it may be another object of that name.
        patch = leftovers(answer.status, value) if has_version and answer.status != value else {}
        if patch:
            change = {"metadata": {"resourceVersion": answer.version}, "status": patch}
            answer = StoredStatus.of(await self._applier.merge(path, change, manager=FIELD_MANAGER))
        has_all = answer.status == value
        return WriteResult(
            uid=answer.uid,
            version=answer.version,
            digest=status.digest if has_all else Digest.of(answer.status),
        )


def _body(identity: Identity, status: StatusText, version: str) -> bytes:
    metadata = {"name": identity.name}
    if identity.namespace:
        metadata["namespace"] = identity.namespace
    if version:
        metadata["resourceVersion"] = version
    head = json.dumps({"apiVersion": API_VERSION, "kind": identity.kind, "metadata": metadata})
    return b'%b, "status": %b}' % (head[:-1].encode(), status.text)
