"""A status as the API server has it: its version, who wrote it, and what in it is not ours.

Read from objects as a watch, a list or a `get` shows them. Values and pure functions only; what
follows from a status that Springline has not written is `status`' matter.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

__all__ = ["FIELD_MANAGER", "StoredStatus", "is_newer", "leftovers"]

FIELD_MANAGER: Final = "springline"

_LONGEST_SHOWN = 128
"""Characters of a field manager's name; the API server takes no more."""

_MOST_DIGITS = 40
"""Of a version; etcd's have 19, and Python makes no number of thousands."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStatus:
    """What the API server shows of an object's status."""

    uid: str = ""
    version: str = ""
    """Of the whole object; empty where that is not known."""
    status: Mapping[str, Any] = field(default_factory=dict)
    managers: Sequence[Any] = ()
    """The object's managed fields as they are, for `written_by`."""

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Self:
        """Read it from an object."""
        metadata, status = document.get("metadata"), document.get("status")
        metadata = metadata if isinstance(metadata, Mapping) else {}
        managers = metadata.get("managedFields")
        return cls(
            uid=str(metadata.get("uid", "")),
            version=str(metadata.get("resourceVersion", "")),
            status=status if isinstance(status, Mapping) else {},
            managers=managers if isinstance(managers, Sequence) else (),
        )

    @property
    def written_by(self) -> str:
        """The field manager, other than Springline's, that wrote the status last.

        Empty if there is none: one that has only removed fields leaves no name.
        """
        others = [
            (str(each.get("time", "")), str(each.get("manager", "")))
            for each in self.managers
            if isinstance(each, Mapping) and each.get("subresource") == "status"
            if each.get("manager") != FIELD_MANAGER
        ]
        _, manager = max(others, default=("", ""))
        return "".join(each for each in manager if each.isprintable())[:_LONGEST_SHOWN]


def is_newer(version: str, known: str) -> bool:
    """Whether a version of an object came after another one of the same object.

    Versions are numbers that grow. Where they are not, any other one counts as newer.
    """
    if _is_number(version) and _is_number(known):
        return int(version) > int(known)
    return bool(version) and version != known


def _is_number(version: str) -> bool:
    return version.isdecimal() and len(version) <= _MOST_DIGITS


def leftovers(stored: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return the merge patch that removes from a status what Springline has not put into it.

    A server-side apply leaves what another field manager has added. Empty if there is nothing.
    """
    patch: dict[str, Any] = {}
    for key, value in stored.items():
        if key not in ours:
            patch[key] = None
        elif isinstance(value, Mapping) and isinstance(ours[key], Mapping):
            if inner := leftovers(value, ours[key]):
                patch[key] = inner
        elif key == "conditions" and (kept := _without_others(value, ours[key])) is not None:
            patch[key] = kept
    return patch


def _without_others(stored: object, ours: Sequence[Mapping[str, Any]]) -> list[Any] | None:
    """Return conditions without those of types that are not ours; None if there are none."""
    if not isinstance(stored, Sequence):
        return None
    types = [each["type"] for each in ours]  # what another one has for a type may be no text
    kept = [each for each in stored if isinstance(each, Mapping) and each.get("type") in types]
    return kept if len(kept) < len(stored) else None
