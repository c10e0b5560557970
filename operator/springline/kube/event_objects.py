"""What a Kubernetes Event says, and the document that says it. Values and pure functions only.

The documents are of core/v1, which every version of `kubectl` and every exporter of Events reads.
"""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from springline.api.meta import Identity
from springline.api.texts import shortened
from springline.api.times import rfc3339
from springline.api.v1alpha1 import API_VERSION

__all__ = ["COMPONENT", "MESSAGE_BYTES", "Content", "change", "document", "path"]

COMPONENT: Final = "springline"
"""Who reports: the column From of `kubectl describe`."""

_CLUSTER_NAMESPACE: Final = "default"
"""Where Events are on objects that have no namespace."""

MESSAGE_BYTES: Final = 1024
_NAME_BYTES = 128
"""Of a reason, an action and an instance. The API server refuses more of either."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What an Event says. The same said again is one Event with a higher count."""

    identity: Identity  # of the object that it is about
    uid: str
    type: str  # Normal or Warning
    reason: str
    action: str  # what happened or was tried
    message: str
    related: Identity | None = None  # what else it has to do with

    @property
    def namespace(self) -> str:
        """The namespace that the Event is in."""
        return self.identity.namespace or _CLUSTER_NAMESPACE

    @property
    def digest(self) -> bytes:
        """Digest of all that the Event says."""
        said = (self.uid, self.type, self.reason, self.action, self.message)
        text = repr((*self.identity, *said, self.related))
        return hashlib.blake2b(text.encode(), digest_size=16).digest()


def path(content: Content, name: str = "") -> str:
    """Return where the Event of that name is, or where it is created."""
    collection = f"/api/v1/namespaces/{content.namespace}/events"
    return f"{collection}/{name}" if name else collection


def document(
    content: Content, *, name: str, instance: str, first: datetime, last: datetime, count: int
) -> dict[str, Any]:
    """Return the Event as it is created; `instance` is the replica that reports."""
    about = {
        **_reference(content.identity),
        "uid": content.uid,
        # The API server wants the Event's own here, also for what has none.
        "namespace": content.namespace,
    }
    related = {"related": _reference(content.related)} if content.related is not None else {}
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": content.namespace},
        "involvedObject": about,
        "type": content.type,
        "reason": shortened(content.reason, _NAME_BYTES),
        "action": shortened(content.action, _NAME_BYTES),
        "message": shortened(content.message, MESSAGE_BYTES),
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "reportingInstance": shortened(instance, _NAME_BYTES),
        "eventTime": first.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "firstTimestamp": rfc3339(first),
        **related,
        **change(last=last, count=count),
    }


def _reference(identity: Identity) -> dict[str, str]:
    reference = {"apiVersion": API_VERSION, "kind": identity.kind, "name": identity.name}
    return reference | ({"namespace": identity.namespace} if identity.namespace else {})


def change(*, last: datetime, count: int) -> dict[str, Any]:
    """Return what changes of an Event when the same has happened again."""
    return {"lastTimestamp": rfc3339(last), "count": count}
