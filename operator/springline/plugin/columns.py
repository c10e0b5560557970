"""Many connections as a table: the columns of `kubectl get`, and REASON always."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

from springline.api import places
from springline.plugin.account import Tone
from springline.plugin.connection import Connection
from springline.standalone.lines import age

__all__ = ["LEFT_OUT_FIRST", "explanations", "header", "row", "tones"]

_Cell = Callable[[Connection, datetime], str]


def _expires(connection: Connection, now: datetime) -> str:
    at = connection.moment("status", "credentials", "expiresAt")
    if at is None:
        return ""
    return age(at - now) if at > now else "expired"


def _age(connection: Connection, now: datetime) -> str:
    at = connection.moment("metadata", "creationTimestamp")
    return age(now - at) if at is not None else ""


def _at(*path: str) -> _Cell:
    return lambda connection, _: connection.text(*path)


_PLACE: Final = places.COLUMN.upper()

_ALWAYS: Final[Mapping[str, _Cell]] = {
    "NAME": _at("metadata", "name"),
    "READY": lambda connection, _: connection.condition("Ready").status,
    "BLOCKED": lambda connection, _: connection.condition("Blocked").status,
    "STATE": _at("status", "state"),
    "REASON": lambda connection, _: connection.readiness.reason,
    "BROKER": lambda connection, _: connection.broker,
    _PLACE: _at(*places.FIELD),
    "USER": _at("status", "credentials", "username"),
    "EXPIRES": _expires,
    "AGE": _age,
}
_WIDE: Final[Mapping[str, _Cell]] = {
    "SERVER": _at("status", "server", "version"),
    "HEARTBEAT": _at("status", "negotiated", "heartbeat"),
    "ENDPOINT": _at("status", "endpoint"),
    "HOLDER": _at("status", "holder"),
}
_NAMESPACE: Final[Mapping[str, _Cell]] = {"NAMESPACE": _at("metadata", "namespace")}

LEFT_OUT_FIRST: Final = (
    *("HOLDER", "ENDPOINT", "HEARTBEAT", "SERVER", "USER", _PLACE),
    *("AGE", "EXPIRES", "BROKER", "BLOCKED", "REASON"),
)
"""On a terminal that is too narrow for all columns; the other ones always stay."""


def _columns(*, namespaces: bool, wide: bool) -> dict[str, _Cell]:
    return {
        **(_NAMESPACE if namespaces else {}),
        **_ALWAYS,
        **(_WIDE if wide else {}),
    }


def header(*, namespaces: bool, wide: bool) -> tuple[str, ...]:
    """Return the columns' names."""
    return tuple(_columns(namespaces=namespaces, wide=wide))


def row(connection: Connection, *, now: datetime, namespaces: bool, wide: bool) -> tuple[str, ...]:
    """Return the cells of a connection; what is not known is a dash."""
    cells = _columns(namespaces=namespaces, wide=wide).values()
    return tuple(cell(connection, now) or "-" for cell in cells)


def tones(connection: Connection) -> dict[str, Tone]:
    """Return how cells are to be coloured, by their columns."""
    ready = connection.condition("Ready").status
    tone: Tone = {"True": "good", "False": "bad"}.get(ready, "notice")  # type: ignore[assignment]
    if connection.state in ("Connecting", "Suspended"):
        tone = "notice"
    blocked: dict[str, Tone] = {"BLOCKED": "bad"} if connection.is_blocked else {}
    return {"READY": tone, "STATE": tone, **blocked}


def explanations(connections: Iterable[Connection]) -> Sequence[str]:
    """Return one sentence for each connection that is not Ready, or is blocked."""
    lines = []
    for each in connections:
        ready, where = each.readiness, f"{each.namespace}/{each.name}"
        if ready.status not in ("True", "") and ready.message:
            lines.append(f"{where}: {ready.message}")
        if each.is_blocked:
            lines.append(f"{where}: blocked by the broker: {each.condition('Blocked').message}")
    return lines
