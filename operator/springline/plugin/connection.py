"""A BrokerConnection as the API server gave it.

It may be of an older or newer version, or have no status yet: what is missing reads as empty, and
what brokers and people wrote is made fit to be printed.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from springline.api.texts import printable

__all__ = ["ConditionView", "Connection", "moment"]


def moment(text: object) -> datetime | None:
    """Return the time that an RFC 3339 text says, None if it says none."""
    if not isinstance(text, str):
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionView:
    """One condition; all is empty if it is not there."""

    status: str = ""
    reason: str = ""
    message: str = ""
    since: datetime | None = None
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Connection:
    """Reads the document of a BrokerConnection."""

    document: Mapping[str, Any]

    @property
    def name(self) -> str:
        return self.text("metadata", "name")

    @property
    def namespace(self) -> str:
        return self.text("metadata", "namespace")

    @property
    def uid(self) -> str:
        return self.text("metadata", "uid")

    @property
    def generation(self) -> int:
        """The number of the declaration as it is now."""
        return self.number("metadata", "generation")

    @property
    def state(self) -> str:
        return self.text("status", "state")

    @property
    def is_ready(self) -> bool:
        return self.condition("Ready").status == "True"

    @property
    def readiness(self) -> ConditionView:
        """Why it is Ready, or is not: while it is suspended there is only Connected to say so."""
        return self.condition("Ready" if self.state != "Suspended" else "Connected")

    @property
    def is_blocked(self) -> bool:
        return self.condition("Blocked").status == "True"

    @property
    def is_suspended(self) -> bool:
        """Whether it is declared so."""
        return self.get("spec", "suspend") is True

    @property
    def broker(self) -> str:
        """The name of its broker."""
        if self.get("spec", "broker") is not None:
            return "(inline)"
        return self.text("spec", "brokerRef", "name")

    def get(self, *path: str) -> Any:
        """Return what is at a path of the document, None if nothing is."""
        found: Any = self.document
        for key in path:
            if not isinstance(found, Mapping):
                return None
            found = found.get(key)
        return found

    def text(self, *path: str) -> str:
        """Return what is at a path in printable characters; empty if nothing is."""
        found = self.get(*path)
        if isinstance(found, bool):
            return "true" if found else "false"  # as it is declared
        return "" if found is None else printable(str(found))

    def number(self, *path: str) -> int:
        """Return the number at a path, 0 if there is none."""
        found = self.get(*path)
        return found if isinstance(found, int) else 0

    def moment(self, *path: str) -> datetime | None:
        """Return the time at a path, None if there is none."""
        return moment(self.get(*path))

    def condition(self, kind: str) -> ConditionView:
        """Return a condition."""
        found = self.get("status", "conditions")
        for each in found if isinstance(found, list) else ():
            if isinstance(each, Mapping) and each.get("type") == kind:
                view = Connection(each)
                return ConditionView(
                    status=view.text("status"),
                    reason=view.text("reason"),
                    message=view.text("message"),
                    since=view.moment("lastTransitionTime"),
                    generation=view.number("observedGeneration"),
                )
        return ConditionView()
