"""The tables of docs/performance.md, written from what was measured, to be copied over.

`document` returns one part of the page: headings and tables, without the words between them. Pure.
A test holds the page's tables to the columns that are written here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from bench import rows as measured_rows
from bench import sizing
from bench.rows import Row

__all__ = ["PARTS", "PREFERRED", "Part", "document", "figure", "markdown"]

PREFERRED: Final = 1000
"""The number of connections whose figures the page has in full, where it was measured."""
_DASH: Final = "–"  # noqa: RUF001 - as the page has it

_UNITS: Final = {"% of a core": "%", "1/s": ""}
"""What the name of the row says already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of the bench, and how the page speaks of it."""

    heading: str
    bare: str
    """What is beside Springline."""
    go: str = ""
    titles: tuple[str, ...] = ("",)
    """What the names of rows begin with; each has tables of its own."""
    grows: tuple[str, ...] = ()
    """The rows that are shown for every number of connections."""
    is_sized: bool = False


_GROWS: Final = (
    "declared → all Ready",
    "Secret changed → all renewed",
    "broker back → all Ready again",
    "memory per connection",
    "peak memory",
    "idle, ",
)

PARTS: Final = {
    "cluster": Part(
        heading="In a cluster",
        bare="script",
        grows=(
            "applied → all Ready",
            "operator starts → all Ready",
            *_GROWS[1:],
            "alarm → all shown as Blocked",
            "operator stops",
        ),
        is_sized=True,
    ),
    "standalone": Part(
        heading="Standalone", bare="aiormq", go="amqp091-go", grows=_GROWS, is_sized=True
    ),
    "tls": Part(heading="Over TLS, standalone", bare="aiormq"),
    "http": Part(
        heading="Over HTTP, standalone", bare="h11 or h2", titles=("HTTP/1.1: ", "HTTP/2: ")
    ),
    "amqp10": Part(heading="Over AMQP 1.0, standalone", bare="proton"),
    "commands": Part(heading="Commands", bare="kubectl get"),
}


def document(name: str, measured: Sequence[Row]) -> str:
    """Return the page's part of this name as Markdown."""
    part = PARTS[name]
    counts = sorted({row.count for row in measured})
    shown = PREFERRED if PREFERRED in counts else counts[-1]
    blocks = [f"### {part.heading}, N = {shown:,}"]
    for title in part.titles:
        chosen = [row for row in measured if row.count == shown and row.what.startswith(title)]
        blocks += _in_full(part, title, chosen)
    if part.grows and len(counts) > 1:
        blocks += [f"### {part.heading}: how it grows", _growth(part, counts, measured)]
    if part.is_sized and (cost := sizing.cost(measured)):
        heading = f"### {part.heading}: what one process holds, from N = {cost.count:,}"
        blocks += [heading, _sizes(cost)]
    return "\n\n".join(blocks) + "\n"


def _in_full(part: Part, title: str, chosen: Sequence[Row]) -> Iterator[str]:
    """Yield the tables of one number of connections."""
    what = title.removesuffix(": ") or "what"
    times = [row for row in chosen if not row.during or row.what.endswith(row.during)]
    head = [what, "Springline", part.bare, "ratio", *([part.go] if part.go else [])]
    lines = [
        [
            _named(row.what.removeprefix(title)),
            figure(row.ours, row.unit),
            figure(row.bare, row.unit),
            _DASH if row.ratio is None else f"{row.ratio:.1f}",
            *([figure(row.go, row.unit)] if part.go else []),
        ]
        for row in times
    ]
    yield markdown(head, lines)
    if used := [row for row in chosen if row.during]:
        yield _processors(part, title, used)


def _processors(part: Part, title: str, used: Sequence[Row]) -> str:
    """Return the table of processor time: a line for each step, a column for each process."""
    processes = list(dict.fromkeys(row.process for row in used))
    head = [f"{title}processor time of"]
    for side in ("Springline", part.bare, *([part.go] if part.go else [])):
        head += [side, *(each.removeprefix("the ") for each in processes if each)]
    lines = []
    for step in dict.fromkeys(row.during for row in used):
        found = {row.process: row for row in used if row.during == step}
        cells = [step]
        for side in ("ours", "bare", *(["go"] if part.go else [])):
            cells += [
                figure(getattr(found[each], side), found[each].unit) if each in found else _DASH
                for each in processes
            ]
        lines.append(cells)
    return markdown(head, lines)


def _growth(part: Part, counts: Sequence[int], measured: Sequence[Row]) -> str:
    exponents = {each.what: f"{each.exponent:.2f}" for each in measured_rows.exponents(measured)}
    names = dict.fromkeys(
        row.what for grown in part.grows for row in measured if _is_called(row, grown)
    )
    lines = []
    for name in names:
        found = {row.count: row for row in measured if row.what == name}
        cells = [_with_ratio(found[count]) if count in found else _DASH for count in counts]
        lines.append([name, *cells, exponents.get(name, _DASH)])
    return markdown(["what", *(f"N = {count:,}" for count in counts), "exponent"], lines)


def _is_called(row: Row, grown: str) -> bool:
    """Whether a row is meant: by its name, or by how that begins."""
    return row.what == grown or (grown.endswith(", ") and row.what.startswith(grown))


def _sizes(cost: sizing.Cost) -> str:
    head = ["memory", "processor", "connections", "bound by", "by memory", "by idling",
            f"all back in {sizing.RECONNECT_SECONDS:g} s"]  # fmt: skip
    found = [sizing.size(cost, *each) for each in sizing.SIZES]
    lines = [
        [f"{each.megabytes:,} MB", f"{each.millicores:,} m", f"{each.connections:,}",
         each.bound_by if each.connections else "memory", f"{each.by_memory:,}",
         f"{each.by_idling:,}", f"{each.by_reconnecting:,}"]
        for each in found
    ]  # fmt: skip
    return markdown(head, lines)


def _named(what: str) -> str:
    """Return what a row is called on the page: what belongs to the one above begins with dots."""
    return f"… {what.strip().removeprefix('… ')}" if what.startswith(" ") else what


def _with_ratio(row: Row) -> str:
    shown = figure(row.ours, row.unit)
    return shown if row.ratio is None else f"{shown} ({row.ratio:.1f}×)"  # noqa: RUF001 - as above


def figure(value: float | None, unit: str) -> str:
    """Return a figure with its unit as the page has it, and a dash where there is none."""
    if value is None:
        return _DASH
    is_count = not unit and value == int(value) and (value == 0 or value >= 10)
    digits = 0 if value >= 100 or is_count else 1 if value >= 10 else 2
    return f"{value:,.{digits}f} {_UNITS.get(unit, unit)}".rstrip()


def markdown(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    rule = "|".join("---" for _ in head)
    cells = (" | ".join(line) for line in lines)
    return "\n".join([f"| {' | '.join(head)} |", f"|{rule}|", *(f"| {each} |" for each in cells)])
