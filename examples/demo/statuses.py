"""The files of `springline run --status-dir`, read as a person or a script would read them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

__all__ = ["Row", "read"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One BrokerConnection in short."""

    name: str
    ready: str
    blocked: str
    state: str
    # Of the condition Blocked while that is True, else of Ready.
    reason: str
    message: str


def read(directory: Path) -> list[Row]:
    """Return the connections that have a status, by name.

    Springline replaces a file as a whole, so none is ever half written.
    """
    files = sorted(directory.glob("BrokerConnection.*.yaml"))
    return [_row(yaml.safe_load(file.read_text(encoding="utf-8"))) for file in files]


def _row(document: dict[str, Any]) -> Row:
    status = document["status"]
    conditions = {condition["type"]: condition for condition in status["conditions"]}
    # While a connection is suspended, it has no condition Ready.
    ready, blocked = conditions.get("Ready", conditions["Connected"]), conditions["Blocked"]
    telling = blocked if blocked["status"] == "True" else ready
    return Row(
        name=document["metadata"]["name"],
        ready=ready["status"],
        blocked=blocked["status"],
        state=status["state"],
        reason=telling["reason"],
        message=telling["message"],
    )
