"""The figures as a picture: how they grow with the number of connections. SVG, nothing else needed.

Colours are readable on light and on dark pages, and lines differ by their dashes, too.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from bench.rows import Row

__all__ = ["draw"]

_PANELS = (
    "applied → all Ready",
    "Secret changed → all renewed",
    "broker back → all Ready again",
    "memory per connection",
)
_WIDTH, _HEIGHT, _MARGIN = 300, 190, 46
_INK = "#7d8590"


@dataclass(frozen=True, slots=True)
class _Line:
    label: str
    colour: str
    dashes: str
    points: list[tuple[float, float]]


def draw(path: Path, rows: Sequence[Row]) -> None:
    """Draw what was measured at several numbers of connections; nothing if there is no such row."""
    panels = [[row for row in rows if row.what == what] for what in _PANELS]
    panels = [panel for panel in panels if len(panel) > 1]
    if not panels:
        return
    step_x, step_y = _WIDTH + 2 * _MARGIN, _HEIGHT + 2 * _MARGIN
    columns = min(len(panels), 2)
    width, height = columns * step_x, -(-len(panels) // columns) * step_y + 20
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            f'font-family="sans-serif" font-size="12" fill="{_INK}" role="img">'
        ),
        "<title>How times and memory grow with the number of connections</title>",
    ]
    for number, panel in enumerate(panels):
        x, y = number % columns * step_x + _MARGIN, number // columns * step_y + _MARGIN
        parts += [f'<g transform="translate({x} {y})">', *_panel(panel), "</g>"]
    parts += [*_legend(_lines(panels[0]), height - 12), "</svg>"]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _lines(panel: Sequence[Row]) -> list[_Line]:
    ours = [(float(row.count), row.ours) for row in panel]
    bare = [(float(row.count), row.bare) for row in panel if row.bare is not None]
    lines = [_Line("Springline", "#2f81f7", "", ours), _Line("bare script", "#d29922", "5 4", bare)]
    return [line for line in lines if line.points]


def _panel(panel: Sequence[Row]) -> list[str]:
    lines = _lines(panel)
    right = max(x for line in lines for x, _ in line.points)
    top = _round_above(max(y for line in lines for _, y in line.points))

    def at(x: float, y: float) -> str:
        return f"{x / right * _WIDTH:.1f},{_HEIGHT - y / top * _HEIGHT:.1f}"

    parts = [
        f'<text x="0" y="-14" font-weight="bold">{escape(panel[0].what)}, {panel[0].unit}</text>',
        f'<path d="M0,0 V{_HEIGHT} H{_WIDTH}" fill="none" stroke="{_INK}"/>',
    ]
    for share in (0.5, 1.0):
        y = _HEIGHT * (1 - share)
        parts += [
            f'<text x="-6" y="{y + 4:.0f}" text-anchor="end">{top * share:g}</text>',
            f'<path d="M0,{y:.0f} H{_WIDTH}" stroke="{_INK}" stroke-opacity="0.25"/>',
        ]
    parts += [
        f'<text x="{row.count / right * _WIDTH:.0f}" y="{_HEIGHT + 16}" text-anchor="middle">'
        f"{row.count}</text>"
        for row in panel
    ]
    for line in lines:
        points = " ".join(at(x, y) for x, y in line.points)
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{line.colour}" stroke-width="2" '
            f'stroke-dasharray="{line.dashes or "none"}"/>'
        )
        parts += [
            f'<circle cx="{at(x, y).split(",")[0]}" cy="{at(x, y).split(",")[1]}" r="3" '
            f'fill="{line.colour}"/>'
            for x, y in line.points
        ]
    return parts


def _legend(lines: Sequence[_Line], y: int) -> list[str]:
    parts = []
    for number, line in enumerate(lines):
        x = _MARGIN + 130 * number
        parts += [
            (
                f'<path d="M{x},{y - 4} h28" stroke="{line.colour}" stroke-width="2" '
                f'stroke-dasharray="{line.dashes or "none"}"/>'
            ),
            f'<text x="{x + 34}" y="{y}">{escape(line.label)}</text>',
        ]
    return parts


def _round_above(value: float) -> float:
    """Return a figure a little above that reads well on an axis."""
    step = 1.0
    while step * 10 <= value:
        step *= 10
    while step > value:
        step /= 10
    return next(each * step for each in (1, 2, 4, 5, 6, 8, 10) if each * step >= value)
