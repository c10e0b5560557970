"""One binding Secret in the API server: looked at, written, deleted, and never anybody else's.

It belongs to the BrokerConnection that owns it as its controller, by uid. Of a Secret that belongs
to nobody or to somebody else only the metadata is read.
"""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote

from springline.api.v1alpha1 import API_VERSION, GROUP
from springline.core.binding import Content
from springline.core.values import SessionKey
from springline.errors import SpringlineError
from springline.kube.client import METADATA, RefusedError
from springline.kube.watching import Metadata

__all__ = [
    "MANAGED",
    "BoundSecrets",
    "Ensured",
    "Holder",
    "NotOursError",
    "SecretAPI",
    "holder_of",
    "path_of",
]

FIELD_MANAGER: Final = "springline"
KIND: Final = "BrokerConnection"

MANAGED: Final = ("app.kubernetes.io/managed-by", "springline")
"""The label of every Secret that is written here."""

_CONNECTION: Final = "springline.dev/connection"
_LONGEST_LABEL: Final = 63

_METADATA: Final = METADATA.format(list="")


class SecretAPI(Protocol):
    """Whoever keeps objects, as `kube.client.Client` does. Every call raises `RequestError`."""

    async def get(self, path: str, *, accept: str = ..., **params: str) -> dict[str, Any]:
        """Return the object at `path`, or what `accept` asks for of it."""

    async def create(self, path: str, document: Mapping[str, Any], **params: str) -> dict[str, Any]:
        """Create an object in the collection at `path`, and return it."""

    async def update(self, path: str, document: Mapping[str, Any], **params: str) -> dict[str, Any]:
        """Replace the object at `path`, and return it."""

    async def delete(self, path: str, *, uid: str, version: str) -> None:
        """Delete the object at `path`, if it is this one in this version."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The BrokerConnection that a Secret is written for."""

    key: SessionKey
    uid: str

    def owns(self, metadata: Metadata) -> bool:
        """Whether the object belongs to it."""
        return holder_of(metadata) == self


@dataclass(frozen=True, slots=True)
class Ensured:
    """The Secret as it is now."""

    version: str
    was_written: bool


class NotOursError(SpringlineError):
    """There is a Secret of that name, and it is not the connection's."""

    def __init__(self, message: str, *, will_pass: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.will_pass = will_pass
        """Whether the cluster deletes it without anybody's doing."""

    def __str__(self) -> str:
        return self.message


class BoundSecrets:
    """Writes binding Secrets. Keeps nothing between calls."""

    def __init__(self, client: SecretAPI) -> None:
        self._client = client

    async def ensure(
        self, holder: Holder, name: str, content: Content | None, *, is_known: bool
    ) -> Ensured | None:
        """Have the Secret hold `content`; None if there is neither of them.

        Without content, what is there stays. `is_known` says that the Secret is known to be the
        holder's, which saves a look. Raises `NotOursError` and `RequestError`. Idempotent.
        """
        path = path_of(holder.key.namespace, name)
        accept = "application/json" if is_known else _METADATA
        found = await self._found(path, accept=accept)
        if found is None:
            return await self._create(holder, name, content) if content is not None else None
        _require_own(found, holder, name)
        if content is None:
            return Ensured(Metadata.of(found).version, was_written=False)
        if not is_known:
            found = await self._client.get(path)
            _require_own(found, holder, name)
        if _is_as_wanted(found, holder, content):
            return Ensured(Metadata.of(found).version, was_written=False)
        if found.get("type") != content.secret_type or found.get("immutable") is True:
            # Neither can be changed, so there is a moment without the Secret.
            await self.delete(Metadata.of(found))
            return await self._create(holder, name, content)
        written = await self._client.update(
            path, _updated(found, holder, content), fieldManager=FIELD_MANAGER
        )
        return Ensured(Metadata.of(written).version, was_written=True)

    async def delete(self, secret: Metadata) -> None:
        """Delete the Secret, if it has not changed. Raises `RequestError`."""
        await self._client.delete(
            path_of(secret.namespace, secret.name), uid=secret.uid, version=secret.version
        )

    async def _found(self, path: str, *, accept: str) -> dict[str, Any] | None:
        try:
            return await self._client.get(path, accept=accept)
        except RefusedError as error:
            if error.is_absence:
                return None
            raise

    async def _create(self, holder: Holder, name: str, content: Content) -> Ensured:
        document = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {
                "name": name,
                "namespace": holder.key.namespace,
                "labels": _labels(holder),
                "ownerReferences": [_reference(holder)],
            },
            "type": content.secret_type,
            "data": _data(content),
        }
        written = await self._client.create(
            path_of(holder.key.namespace), document, fieldManager=FIELD_MANAGER
        )
        return Ensured(Metadata.of(written).version, was_written=True)


def path_of(namespace: str, name: str = "") -> str:
    """Return the path of a Secret, or of all Secrets of a namespace or, if it is empty, of all."""
    where = f"/namespaces/{quote(namespace, safe='')}" if namespace else ""
    return f"/api/v1{where}/secrets" + (f"/{quote(name, safe='')}" if name else "")


def holder_of(metadata: Metadata) -> Holder | None:
    """Return the connection that an object belongs to, None if it belongs to none."""
    owner = metadata.controller
    if owner is None or (owner.group, owner.kind) != (GROUP, KIND):
        return None
    return Holder(SessionKey(metadata.namespace, owner.name), owner.uid)


def _require_own(document: Mapping[str, Any], holder: Holder, name: str) -> None:
    other = holder_of(Metadata.of(document))
    if other == holder:
        return
    if other is None:
        raise NotOursError(
            f'Secret "{name}" is there already and was not written for this connection; delete it,'
            " or give spec.binding another secretName"
        )
    if other.key == holder.key:
        raise NotOursError(
            f'Secret "{name}" belongs to a BrokerConnection of this name that was deleted, and goes'
            " with it",
            will_pass=True,
        )
    raise NotOursError(
        f'Secret "{name}" is the binding of BrokerConnection "{other.key.name}"; give spec.binding'
        " another secretName"
    )


def _updated(found: Mapping[str, Any], holder: Holder, content: Content) -> dict[str, Any]:
    """Return the Secret as it is to be; what others have put beside its values stays."""
    metadata = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    metadata["labels"] = {**(metadata.get("labels") or {}), **_labels(holder)}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata,
        "type": content.secret_type,
        "data": _data(content),
    }


def _is_as_wanted(found: Mapping[str, Any], holder: Holder, content: Content) -> bool:
    labels = Metadata.of(found).labels
    return (
        found.get("type") == content.secret_type
        and (found.get("data") or {}) == _data(content)
        and all(labels.get(key) == value for key, value in _labels(holder).items())
    )


def _data(content: Content) -> dict[str, str]:
    return {
        key: base64.b64encode(value.encode()).decode() for key, value in content.entries.items()
    }


def _labels(holder: Holder) -> dict[str, str]:
    key, value = MANAGED
    labels = {key: value}
    # For people to select by. A name may be longer than a label's value; the owner says it anyway.
    if len(holder.key.name) <= _LONGEST_LABEL:
        labels[_CONNECTION] = holder.key.name
    return labels


def _reference(holder: Holder) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": holder.key.name,
        "uid": holder.uid,
        "controller": True,
        # True would take a right on finalizers that Springline does not have.
        "blockOwnerDeletion": False,
    }
