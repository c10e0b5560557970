"""Connections as a table for people, with the columns `kubectl get -o wide` has for them."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from springline.api import places
from springline.api.conditions import ConditionStatus, ConditionType
from springline.api.texts import printable
from springline.core.state import Phase
from springline.core.view import SessionView
from springline.standalone.lines import GAP, age, aligned, expressible, fitted, width
from springline.standalone.report import Shown

__all__ = [
    "FittingTable",
    "age",
    "aligned",
    "explanations",
    "expressible",
    "for_terminal",
    "plain",
    "width",
]

_PLACE = places.COLUMN.upper()
_COLUMNS = (
    *("NAMESPACE", "NAME", "READY", "BLOCKED", "STATE", "BROKER", _PLACE, "USER"),
    *("EXPIRES", "AGE", "CONFIRM", "SERVER", "HEARTBEAT", "ENDPOINT", "REASON"),
)
_FEWEST_LINES = 3

_LEFT_OUT_FIRST = (
    *("ENDPOINT", "HEARTBEAT", "SERVER", "CONFIRM", "USER", "EXPIRES"),
    *(_PLACE, "BROKER", "AGE", "REASON", "BLOCKED"),
)
"""On a terminal that is too narrow for all columns; the other ones always stay."""


def for_terminal(
    shown: Iterable[Shown],
    *,
    now: datetime,
    height: int,
    problems: Sequence[str] = (),
    recent: Sequence[str] = (),
) -> RenderableType:
    """Return the live display: the table, what is wrong, and what happened last.

    Where there are more connections than lines, those that are not Ready come first.
    """
    rows = list(shown)
    below = [Text(line, style="yellow") for line in explanations(rows, now=now)]
    below += [Text(problem, style="red") for problem in problems]
    below = _cut(below, to=max(height // 3, _FEWEST_LINES))
    below += [Text(line, style="dim") for line in recent]
    room = max(height - len(below) - 2, _FEWEST_LINES)
    if len(rows) > room:
        rows.sort(key=lambda row: row.is_ready)
        below.insert(0, Text(_summary(rows[room:]), style="dim"))
    elif not rows:
        below.insert(0, Text("no BrokerConnection is declared", style="dim"))
    styled = [_styled(row, now=now) for row in rows[:room]]
    return Group(FittingTable(_COLUMNS, styled, left_out_first=_LEFT_OUT_FIRST), *below)


def _cut(lines: list[Text], *, to: int) -> list[Text]:
    if len(lines) <= to:
        return lines
    return [*lines[: to - 1], Text(f"… and {len(lines) - to + 1} more", style="dim")]


def _summary(rows: Sequence[Shown]) -> str:
    return f"… and {len(rows)} more, {sum(row.is_ready for row in rows)} of them Ready"


class FittingTable:
    """A table with as many columns as the terminal is wide enough for."""

    def __init__(
        self,
        columns: Sequence[str],
        rows: Sequence[Sequence[Text]],
        *,
        left_out_first: Sequence[str],
    ) -> None:
        self._columns = columns
        self._rows = rows
        self._left_out_first = left_out_first

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        texts = [[cell.plain for cell in row] for row in self._rows]
        places, (header, *lines) = fitted(
            [list(self._columns), *texts],
            left_out_first=self._left_out_first,
            to=options.max_width,
            encoding=console.encoding,
        )
        table = Table(box=None, padding=(0, GAP, 0, 0), pad_edge=False, header_style="bold")
        for column in header:
            table.add_column(column, no_wrap=True, overflow="ellipsis")
        for row, line in zip(self._rows, lines, strict=True):
            cells = [row[place].copy() for place in places]
            for cell, text in zip(cells, line, strict=True):
                cell.plain = text
            table.add_row(*cells)
        yield table


def plain(
    shown: Iterable[Shown], *, now: datetime, to: int | None = None, encoding: str = "utf-8"
) -> str:
    """Return the table as text with aligned columns and without colours.

    With `to` it has the columns that a terminal of so many cells shows, and cells are shortened
    where the least of them do not fit. What the encoding cannot express is escaped.
    """
    rows = [_COLUMNS, *(_cells(row, now=now) for row in shown)]
    if to is None:
        return aligned([[expressible(cell, encoding) for cell in row] for row in rows])
    _, lines = fitted(rows, left_out_first=_LEFT_OUT_FIRST, to=to, encoding=encoding)
    return aligned(lines)


def explanations(shown: Iterable[Shown], *, now: datetime | None = None) -> list[str]:
    """Return one sentence for each connection that is not Ready, or is blocked.

    With `now` it also says when the next attempt starts.
    """
    lines = []
    for row in shown:
        ready = row.readiness
        blocked = row.condition(ConditionType.BLOCKED)
        if ready.status is not ConditionStatus.TRUE:
            lines.append(printable(f"{row.view.key}: {ready.message}{_retry(row.view, now=now)}"))
        if blocked.status is ConditionStatus.TRUE:
            lines.append(printable(f"{row.view.key}: blocked by the broker: {blocked.message}"))
    return lines


def _retry(view: SessionView, *, now: datetime | None) -> str:
    if now is None or view.retry_at is None or view.state.phase is Phase.CONNECTED:
        return ""
    seconds = max((view.retry_at - now).total_seconds(), 0.0)
    return f" (next attempt in {age(timedelta(seconds=seconds))})"


def _cells(row: Shown, *, now: datetime) -> tuple[str, ...]:
    view, info, spec = row.view, row.view.info, row.view.spec
    ready = row.readiness
    use = view.credential
    expires = use.credential.expires_at if use is not None else None
    cells = (
        view.key.namespace,
        view.key.name,
        ready.status.value if ready.type is ConditionType.READY else "-",
        row.condition(ConditionType.BLOCKED).status.value,
        view.state.phase.value,
        _broker(view),
        spec.target.parameters.place.name if spec is not None else "-",
        (use.username if use is not None else "") or "-",
        _until(expires, now=now) if expires is not None else "-",
        age(now - view.connected_since) if view.connected_since is not None else "-",
        f"{view.confirm_seconds * 1000:.1f} ms" if view.confirm_seconds is not None else "-",
        f"{info.server.product} {info.server.version}" if info is not None else "-",
        f"{info.negotiated.heartbeat_seconds}s" if info is not None else "-",
        f"{info.endpoint} ({info.address})" if info is not None else "-",
        ready.reason.value,
    )
    # Names that brokers, tokens and unusable documents give may hold anything.
    return tuple(printable(cell) for cell in cells)


def _broker(view: SessionView) -> str:
    if view.spec is None:
        return "-"
    return "(inline)" if view.spec.broker.kind == "BrokerConnection" else view.spec.broker.name


def _styled(row: Shown, *, now: datetime) -> list[Text]:
    cells = [Text(cell) for cell in _cells(row, now=now)]
    ready, blocked, state = (cells[_COLUMNS.index(name)] for name in ("READY", "BLOCKED", "STATE"))
    colour = "green" if row.is_ready else "red"
    if row.view.state.phase in (Phase.CONNECTING, Phase.SUSPENDED):
        colour = "yellow"
    ready.stylize(colour)
    state.stylize(colour)
    if blocked.plain == ConditionStatus.TRUE.value:
        blocked.stylize("bold red")
    return cells


def _until(moment: datetime, *, now: datetime) -> str:
    return age(moment - now) if moment > now else "expired"
