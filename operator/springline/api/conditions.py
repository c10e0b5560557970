"""Conditions as Kubernetes shows them: a type, a status, a reason, a message and since when.

Nothing here reads a clock: whoever makes a condition says what time it is.
"""

import dataclasses
import enum
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from springline.api import texts
from springline.api.times import rfc3339
from springline.reasons import Reason

__all__ = [
    "Condition",
    "ConditionStatus",
    "ConditionType",
    "set_condition",
    "stored",
    "updated",
]

LONGEST_MESSAGE: Final = 32768  # bytes; the limit of metav1.Condition


class ConditionType(enum.StrEnum):
    """What a condition is about. The order is the one in which they are shown."""

    # Of a connection: open as declared, with a valid credential; it has none while it is
    # suspended. Of a broker: it can be used as it is declared. What `kubectl wait` waits for.
    READY = "Ready"
    REACHABLE = "Reachable"  # of a broker: a session to it is open
    CONNECTED = "Connected"  # the session is open
    CREDENTIALS_VALID = "CredentialsValid"  # the broker accepts the credential as it is now
    SYNCED = "Synced"  # the open session uses what is declared now
    BLOCKED = "Blocked"  # the broker takes no messages from this connection
    BINDING_PUBLISHED = "BindingPublished"  # the Secret for applications has what was verified
    STALLED = "Stalled"  # nothing goes on until somebody changes something; else left out


class ConditionStatus(enum.StrEnum):
    """Whether it is so."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"  # nobody can tell


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One condition of an object, like `metav1.Condition`."""

    type: ConditionType
    status: ConditionStatus
    reason: Reason
    message: str  # printable, and cut where it is long
    last_transition_time: datetime  # when `status` became what it is; aware of its time zone
    observed_generation: int  # the generation of the object that was looked at

    def __post_init__(self) -> None:
        if self.last_transition_time.utcoffset() is None:
            raise ValueError("last_transition_time needs a time zone")
        if self.message.isprintable() and not texts.is_too_long(
            self.message, texts.LONGEST_MESSAGE
        ):
            return  # almost all are
        # Lines are kept: each is one problem of a declaration.
        lines = self.message[: texts.LONGEST_MESSAGE + 1].split("\n")
        message = "\n".join(map(texts.printable, lines))
        object.__setattr__(self, "message", texts.shortened(message, texts.LONGEST_MESSAGE))

    def says_the_same(self, other: "Condition") -> bool:
        """Whether the other differs in nothing but its time."""
        return (
            self.type is other.type
            and self.status is other.status
            and self.reason is other.reason
            and self.observed_generation == other.observed_generation
            and self.message == other.message
        )

    def since(self, time: datetime) -> "Condition":
        """Return the same with another `last_transition_time`."""
        # Not by dataclasses.replace, which takes several times as long: every status is made of
        # these, whenever anything about its session changes.
        return Condition(
            type=self.type,
            status=self.status,
            reason=self.reason,
            message=self.message,
            last_transition_time=time,
            observed_generation=self.observed_generation,
        )

    def as_dict(self) -> dict[str, str | int]:
        """Return it as it stands in `status.conditions`."""
        return {
            "type": str(self.type),
            "status": str(self.status),
            "reason": str(self.reason),
            "message": self.message,
            "lastTransitionTime": rfc3339(self.last_transition_time),
            "observedGeneration": self.observed_generation,
        }


def set_condition(previous: Sequence[Condition], new: Condition) -> tuple[Condition, ...]:
    """Return the conditions with `new` in the place of the one of its type.

    It keeps the time of the one it replaces unless the status differs. Idempotent.
    """
    return updated(previous, [new])


def updated(previous: Sequence[Condition], new: Iterable[Condition]) -> tuple[Condition, ...]:
    """Do what `set_condition` does for several; the result is in the order of `ConditionType`."""
    known = {condition.type: condition for condition in previous}
    for condition in new:
        before = known.get(condition.type)
        if before is None or before.status is not condition.status:
            known[condition.type] = condition
        elif not before.says_the_same(condition):
            known[condition.type] = condition.since(before.last_transition_time)
    return tuple(known[type_] for type_ in ConditionType if type_ in known)


def stored(documents: object) -> tuple[Condition, ...]:
    """Return the conditions of a `status` as somebody wrote it, without what cannot be read.

    They are good for being passed to `updated`: a reason that is unknown here, because another
    version wrote it, becomes NotChecked.
    """
    if not isinstance(documents, Sequence):
        return ()
    return tuple(filter(None, map(_from_document, documents)))


def _from_document(document: object) -> Condition | None:
    if not isinstance(document, Mapping):
        return None
    try:
        return Condition(
            type=ConditionType(document["type"]),
            status=ConditionStatus(document["status"]),
            reason=_known_reason(document.get("reason")),
            message=str(document.get("message", "")),
            last_transition_time=datetime.fromisoformat(document["lastTransitionTime"]),
            observed_generation=int(document.get("observedGeneration", 0)),
        )
    except (KeyError, TypeError, ValueError):
        return None


def _known_reason(value: object) -> Reason:
    try:
        return Reason(str(value))
    except ValueError:
        return Reason.NOT_CHECKED
