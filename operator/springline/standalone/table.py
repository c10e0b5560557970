"""Connections as a table for people, with the columns `kubectl get -o wide` has for them."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from springline.api.conditions import ConditionStatus, ConditionType
from springline.core.state import Phase
from springline.core.view import SessionView
from springline.standalone.report import Shown

__all__ = ["explanations", "for_terminal", "plain"]

_COLUMNS = ("NAMESPACE", "NAME", "READY", "BLOCKED", "STATE", "BROKER", "VHOST", "USER")
_WIDE = ("EXPIRES", "AGE", "CONFIRM", "SERVER", "HEARTBEAT", "ENDPOINT", "REASON")


def for_terminal(
    shown: Iterable[Shown],
    *,
    now: datetime,
    problems: Sequence[str] = (),
    recent: Sequence[str] = (),
) -> RenderableType:
    """Return the live display: the table, what is wrong, and what happened last."""
    rows = list(shown)
    table = Table(box=None, pad_edge=False, header_style="bold", show_edge=False)
    for column in (*_COLUMNS, *_WIDE):
        table.add_column(column, no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*_styled(row, now=now))
    parts: list[RenderableType] = [table]
    if not rows:
        parts.append(Text("no BrokerConnection is declared", style="dim"))
    parts.extend(Text(line, style="yellow") for line in explanations(rows, now=now))
    parts.extend(Text(problem, style="red") for problem in problems)
    parts.extend(Text(line, style="dim") for line in recent)
    return Group(*parts)


def plain(shown: Iterable[Shown], *, now: datetime) -> str:
    """Return the table as text with aligned columns and without colours."""
    rows = [(*_COLUMNS, *_WIDE), *(_cells(row, now=now) for row in shown)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def explanations(shown: Iterable[Shown], *, now: datetime | None = None) -> list[str]:
    """Return one sentence for each connection that is not Ready, or is blocked.

    With `now` it also says when the next attempt starts.
    """
    lines = []
    for row in shown:
        ready = row.condition(ConditionType.READY)
        blocked = row.condition(ConditionType.BLOCKED)
        if ready.status is not ConditionStatus.TRUE:
            lines.append(f"{row.view.key}: {ready.message}{_retry(row.view, now=now)}")
        if blocked.status is ConditionStatus.TRUE:
            lines.append(f"{row.view.key}: blocked by the broker: {blocked.message}")
    return lines


def _retry(view: SessionView, *, now: datetime | None) -> str:
    if now is None or view.retry_at is None or view.state.phase is Phase.CONNECTED:
        return ""
    seconds = max((view.retry_at - now).total_seconds(), 0.0)
    return f" (next attempt in {_age(timedelta(seconds=seconds))})"


def _cells(row: Shown, *, now: datetime) -> tuple[str, ...]:
    view, info, spec = row.view, row.view.info, row.view.spec
    ready = row.condition(ConditionType.READY)
    credential = view.credential.credential if view.credential is not None else None
    expires = credential.expires_at if credential is not None else None
    return (
        view.key.namespace,
        view.key.name,
        ready.status.value,
        row.condition(ConditionType.BLOCKED).status.value,
        view.state.phase.value,
        _broker(view),
        spec.target.parameters.virtual_host if spec is not None else "-",
        (credential.username if credential is not None else "") or "-",
        _age(expires - now) if expires is not None else "-",
        _age(now - view.connected_since) if view.connected_since is not None else "-",
        f"{view.confirm_seconds * 1000:.1f} ms" if view.confirm_seconds is not None else "-",
        f"{info.server.product} {info.server.version}" if info is not None else "-",
        f"{info.negotiated.heartbeat_seconds}s" if info is not None else "-",
        f"{info.endpoint} ({info.address})" if info is not None else "-",
        ready.reason.value,
    )


def _broker(view: SessionView) -> str:
    if view.spec is None:
        return "-"
    return "(inline)" if view.spec.broker.kind == "BrokerConnection" else view.spec.broker.name


def _styled(row: Shown, *, now: datetime) -> list[Text]:
    cells = [Text(cell) for cell in _cells(row, now=now)]
    colour = "green" if row.is_ready else "red"
    if row.view.state.phase in (Phase.CONNECTING, Phase.SUSPENDED):
        colour = "yellow"
    for column in (2, 4):
        cells[column].stylize(colour)
    if cells[3].plain == ConditionStatus.TRUE.value:
        cells[3].stylize("bold red")
    return cells


def _age(span: timedelta) -> str:
    """Return a span as kubectl shows ages: its one or two largest units."""
    seconds = int(span.total_seconds())
    if seconds < 0:
        return "expired"
    if seconds < 120:
        return f"{seconds}s"
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if minutes < 120:
        return f"{minutes}m"
    if hours < 48:
        return f"{hours}h"
    return f"{days}d"
