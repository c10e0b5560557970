"""What a replica is called, and the Lease that says that it lives.

`status.holder` names a replica as NAMESPACE/NAME, and that leads to its Lease: one `get` says
whether the holder of a status lives, without a list of anything. Values only, nothing is asked
here: `lease` keeps the Lease of this replica, `holders` follows those of others.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Self
from urllib.parse import quote

__all__ = ["LABELS", "SELECTOR", "LeaseState", "Replica", "collection", "micro_time"]

LABELS: Final = {
    "app.kubernetes.io/name": "springline",
    "app.kubernetes.io/component": "replica",
    "app.kubernetes.io/managed-by": "springline",
}
"""By these the Leases of replicas are told from others in their namespace."""

SELECTOR: Final = ",".join(f"{key}={value}" for key, value in LABELS.items())

_GROUP_VERSION: Final = "/apis/coordination.k8s.io/v1"

_LONGEST_NAMESPACE = 63
_LONGEST_NAME = 253
_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_NAMESPACE: Final = re.compile(_LABEL)
_SUBDOMAIN: Final = re.compile(rf"{_LABEL}(\.{_LABEL})*")

_KEPT_CHARACTERS = 200
"""Of a name that cannot be the Lease's as it is."""

_LONGEST_SECONDS = 300
"""However long a Lease says that it lasts: those who follow it wait for that long."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One process that keeps sessions, as `status.holder` names it."""

    namespace: str
    """Where its Lease is."""
    name: str
    """What it calls itself: in a cluster, the name of its pod."""

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"

    @classmethod
    def parse(cls, holder: str, *, namespace: str) -> Self | None:
        """Return the replica that a status names; None if no replica can be called so.

        A name alone, as written by versions without Leases, is one of `namespace`.
        """
        where, slash, name = holder.partition("/")
        if not slash:
            where, name = namespace, holder
        is_possible = (
            len(where) <= _LONGEST_NAMESPACE
            and _NAMESPACE.fullmatch(where) is not None
            and 0 < len(name) <= _LONGEST_NAME
            and name.isprintable()
        )
        return cls(where, name) if is_possible else None

    @property
    def lease_name(self) -> str:
        """The name of its Lease: its own, or one made of it where that is none for an object."""
        if len(self.name) <= _LONGEST_NAME and _SUBDOMAIN.fullmatch(self.name):
            return self.name
        kept = re.sub(r"[^a-z0-9]+", "-", self.name.lower())[:_KEPT_CHARACTERS].strip("-")
        digest = hashlib.blake2b(self.name.encode(errors="surrogatepass"), digest_size=4)
        return f"{kept or 'replica'}-{digest.hexdigest()}"

    @property
    def lease_path(self) -> str:
        return f"{collection(self.namespace)}/{quote(self.lease_name, safe='')}"


@dataclass(frozen=True, slots=True)
class LeaseState:
    """What a Lease says, as far as it is read."""

    name: str
    uid: str
    version: str
    is_ours: bool
    """Whether it is the Lease of a replica of Springline, of whichever."""
    holder: str
    seconds: float
    """For how long after a renewal its holder is believed to live."""
    renewed_at: datetime | None
    """By the clock of the holder."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read a Lease; what is not as it should be counts as not said."""
        metadata, spec = (_mapping(document.get(part)) for part in ("metadata", "spec"))
        labels = _mapping(metadata.get("labels"))
        seconds = spec.get("leaseDurationSeconds")
        return cls(
            name=str(metadata.get("name", "")),
            uid=str(metadata.get("uid", "")),
            version=str(metadata.get("resourceVersion", "")),
            is_ours=all(labels.get(key) == value for key, value in LABELS.items()),
            holder=str(spec.get("holderIdentity", "")),
            seconds=float(min(seconds, _LONGEST_SECONDS)) if isinstance(seconds, int) else 0.0,
            renewed_at=_moment(spec.get("renewTime")),
        )


def collection(namespace: str) -> str:
    """Return the path of the Leases of a namespace."""
    return f"{_GROUP_VERSION}/namespaces/{quote(namespace, safe='')}/leases"


def micro_time(at: datetime) -> str:
    """Return a time as Leases have it."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
