"""What 1,000 connections cost one process, whatever they speak: the first table of the page.

Pure. It goes by the size that the page has in full, or else by the largest, scaled to a thousand.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from bench.rows import Row
from bench.tables import PREFERRED, figure, markdown

__all__ = ["HEADING", "document"]

HEADING: Final = "What 1,000 connections cost one process"

_KINDS: Final = {
    "in a cluster": ("cluster", ""),
    "standalone": ("standalone", ""),
    "over TLS": ("tls", ""),
    "over HTTP/1.1": ("http", "HTTP/1.1: "),
    "over HTTP/2": ("http", "HTTP/2: "),
    "over AMQP 1.0": ("amqp10", ""),
}
"""What a line is called, its part of the bench, and what the names of its rows begin with."""

_STEPS: Final = {
    "to open": ("declared → all Ready", "applied → all Ready"),
    "to renew": ("Secret changed → all renewed",),
    "to reconnect": ("broker back → all Ready again",),
    "to start": ("operator starts → all Ready",),
}
"""Columns of processor time, and the steps that it is spent in."""


def document(parts: Mapping[str, Sequence[Row]]) -> str:
    """Return the table as Markdown, with a line for each kind that was measured, if any was."""
    head = ["", "before the first", "memory", "idle", *_STEPS]
    lines = [
        [kind, *_cells(measured, title)]
        for kind, (part, title) in _KINDS.items()
        if (measured := _of_one_size(parts.get(part, ()), title))
    ]
    return f"### {HEADING}\n\n{markdown(head, lines)}\n" if lines else ""


def _of_one_size(measured: Sequence[Row], title: str) -> list[Row]:
    chosen = [row for row in measured if row.what.startswith(title)]
    counts = {row.count for row in chosen}
    count = PREFERRED if PREFERRED in counts else max(counts, default=0)
    return [row for row in chosen if row.count == count]


def _cells(measured: Sequence[Row], title: str) -> Iterator[str]:
    named = {row.what.removeprefix(title): row for row in measured}
    own = {row.during: row for row in measured if row.during and not row.process}
    before, each = named.get("memory before the first"), named.get("memory per connection")
    yield figure(before.ours if before else None, "MB")
    yield figure(each.ours if each else None, "MB")  # KB each is MB for a thousand
    idle = next((row for what, row in own.items() if what.startswith("idle, ")), None)
    # A percent of a core is ten thousandths of it.
    yield figure(_of_a_thousand(idle) * 10 if idle else None, "m")
    for steps in _STEPS.values():
        row = next((own[step] for step in steps if step in own), None)
        yield figure(_of_a_thousand(row) if row else None, "s")


def _of_a_thousand(row: Row) -> float:
    return row.ours / row.count * 1000
