"""The dashboard's own queries, drawn: some of its panels in one picture, with what was done when.

It is no Grafana: what a panel says of series, colours and units is followed, the rest is left out.
"""

import itertools
import math
import re
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
from matplotlib import colors, figure, ticker

from pictures.story import JOB, NAMESPACE_TO_LOOK_AT, Told
from support.chosen import EVERYTHING, Chosen, one_of
from support.dashboard import DASHBOARD
from support.grafana import Panel
from support.prometheus import Prometheus, Series

__all__ = ["draw"]

# What of the dashboard is in the picture, row by row.
NUMBERS: Final = ("Declared", "Ready", "Not Ready", "Blocked", "Disconnects", "Next to expire")
SHOWN: Final = (
    ("Sessions by state", "Blocked by reason"),
    ("Disconnects by reason", "Failed attempts by reason"),
    ("Time to connect", "Time of a probe, quantiles"),
    ("Rotations by outcome", "Least time left"),
    ("Status writes by outcome", "Memory"),
    ("What became of it",),
)
SINGLE: Final = "What became of it"
HEIGHTS: Final = (0.3, 0.4, 1.0, 1.0, 1.0, 1.0, 1.0, 1.1)
COLUMNS: Final = 12
INCHES: Final = (12.0, 16.0)
DPI: Final = 100
MOST_NAMED: Final = 6
THOUSAND: Final = 1000

COLOURS: Final = {
    "green": "#56a64b",
    "yellow": "#e0b400",
    "orange": "#ff780a",
    "red": "#e02f44",
    "dark-red": "#9d1a2b",
    "blue": "#3274d9",
    "purple": "#a352cc",
    "text": "#8a8f98",
}
PALETTE: Final = ("blue", "orange", "purple", "green", "yellow", "red", "dark-red")
INK: Final = "#24292e"
STYLE: Final[dict[Any, Any]] = {
    "font.family": "DejaVu Sans",
    "font.size": 8.5,
    "text.color": INK,
    "axes.edgecolor": "#d0d7de",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "grid.color": "#eaeef2",
    "xtick.color": "#57606a",
    "ytick.color": "#57606a",
    "legend.frameon": False,
    "legend.fontsize": 7.5,
}


def draw(prometheus: Prometheus, told: Told, picture: Path) -> None:
    """Ask what the panels ask, draw the answers, and write the picture as a PNG."""
    with mpl.rc_context(STYLE), warnings.catch_warnings():
        whole = figure.Figure(figsize=INCHES, dpi=DPI, layout="constrained", facecolor="white")
        grid = whole.add_gridspec(len(HEIGHTS), COLUMNS, height_ratios=HEIGHTS)
        _heading(whole.add_subplot(grid[0, :]), told)
        for axes, title in _placed(whole, grid, 1, NUMBERS):
            _Drawn(prometheus, told, _panel(title), axes).number()
        for row, titles in enumerate(SHOWN, 2):
            for axes, title in _placed(whole, grid, row, titles):
                _Drawn(prometheus, told, _panel(title), axes).over_time()
        # Where there is no room for everything, it only warns, and draws one thing on another.
        warnings.simplefilter("error")
        whole.savefig(picture, pil_kwargs={"optimize": True})


def _placed(whole: Any, grid: Any, row: int, titles: Sequence[str]) -> Iterator[tuple[Any, str]]:
    """Yield axes for each title, side by side."""
    width = COLUMNS // len(titles)
    for index, title in enumerate(titles):
        yield whole.add_subplot(grid[row, index * width : (index + 1) * width]), title


def _heading(axes: Any, told: Told) -> None:
    """Say what this is, and what the numbers in the graphs stand for."""
    axes.axis("off")
    # Whatever its length, no graph is to make room for it.
    place = {"va": "center", "transform": axes.transAxes, "in_layout": False}
    seconds = round(told.end - told.start)
    what = f"Queries of Springline's dashboard, drawn without Grafana: {seconds} s of a real fleet"
    axes.text(0, 0.8, what, fontsize=13, fontweight="bold", **place)
    moments = (f"{number}  {each.what}" for number, each in enumerate(told.moments, 1))
    axes.text(0, 0.1, "     ".join(moments), **place)


def _panel(title: str) -> Panel:
    [found] = [each for row in DASHBOARD.rows for each in row.panels if each.title == title]
    return found


class _Drawn:
    """One panel on its axes."""

    def __init__(self, prometheus: Prometheus, told: Told, panel: Panel, axes: Any) -> None:
        self._prometheus = prometheus
        self._told = told
        self._panel = panel
        self._axes = axes
        self._unit = panel.defaults.get("unit", "s")
        namespace = one_of(NAMESPACE_TO_LOOK_AT) if panel.title == SINGLE else EVERYTHING
        self._chosen = Chosen(
            start=told.start,
            end=told.end,
            values={"job": one_of(JOB), "namespace": namespace, "name": EVERYTHING},
        )
        self._others = itertools.cycle(PALETTE)
        self._fixed = {
            each["matcher"]["options"]: each["properties"][0]["value"]["fixedColor"]
            for each in panel.overrides
        }

    def number(self) -> None:
        """Write the value of the end."""
        defaults = self._panel.defaults
        [query] = self._panel.queries
        answer = self._prometheus.query(self._chosen.filled(query.expression))
        value = answer[0].value if answer else math.nan
        colour = "text"
        for step in defaults["thresholds"]["steps"]:
            if step["value"] is None or value >= step["value"]:
                colour = step["color"]
        text = _written(value, self._unit) if answer else defaults["noValue"]
        place = {"ha": "center", "va": "center", "transform": self._axes.transAxes}
        self._axes.axis("off")
        self._axes.text(0.5, 0.85, self._panel.title, fontweight="bold", **place)
        self._axes.text(0.5, 0.3, text, fontsize=22, color=COLOURS.get(colour, INK), **place)

    def over_time(self) -> None:
        """Draw what happened, and mark what was done."""
        title = self._panel.title
        if title == SINGLE:
            title = f"{title}: the connections in namespace {NAMESPACE_TO_LOOK_AT}"
        self._axes.set_title(title, loc="left", fontsize=9.5, fontweight="bold", pad=14)
        series = self._asked()
        match self._panel.kind:
            case "heatmap":
                self._heatmap([each for _, each in series])
            case "state-timeline":
                self._timeline(series)
            case _:
                self._graph(series)
        self._axes.set_xlim(0, self._told.end - self._told.start)
        self._axes.xaxis.set_major_locator(ticker.MultipleLocator(30))
        self._axes.xaxis.set_major_formatter(lambda seconds, _: _clock(seconds))
        for number, moment in enumerate(self._told.moments, 1):
            at = moment.at - self._told.start
            self._axes.axvline(at, color=INK, linewidth=0.7, linestyle=(0, (2, 3)), zorder=3)
            across = self._axes.get_xaxis_transform()
            place = {"ha": "center", "va": "bottom", "transform": across, "fontsize": 7.5}
            self._axes.text(at, 1.01, str(number), **place)

    # Asking

    def _asked(self) -> list[tuple[str, Series]]:
        """Return every series with what it is called."""
        return [
            (_called(query.legend, each), each)
            for query in self._panel.queries
            for each in self._prometheus.query_range(
                self._chosen.filled(query.expression), start=self._told.start, end=self._told.end
            )
        ]

    def _grid(self, series: Series) -> list[float]:
        """Return a value for every second, NaN where there is none."""
        count = int(self._told.end - self._told.start) + 1
        values = [math.nan] * count
        for at, value in series.values:
            values[min(round(at - self._told.start), count - 1)] = value
        return values

    def _colour(self, called: str) -> str:
        return COLOURS[self._fixed.get(called) or next(self._others)]

    # Kinds

    def _graph(self, series: Sequence[tuple[str, Series]]) -> None:
        custom = self._panel.defaults["custom"]
        # Whatever is never more than nothing, or never measured, has no line in the legend.
        every = [(called, self._grid(each)) for called, each in series]
        drawn = [(called, values) for called, values in every if any(each > 0 for each in values)]
        seconds = range(len(drawn[0][1])) if drawn else range(0)
        if custom["stacking"]["mode"] == "normal":
            step = "mid" if custom["drawStyle"] == "bars" else "post"
            below = [0.0] * len(seconds)
            for called, values in drawn:
                above = [
                    low + (0.0 if math.isnan(value) else value)
                    for low, value in zip(below, values, strict=True)
                ]
                colour = self._colour(called)
                area = {"step": step, "linewidth": 0, "alpha": 0.75}
                self._axes.fill_between(seconds, below, above, label=called, color=colour, **area)
                below = above
        else:
            for called, values in drawn:
                self._axes.plot(
                    seconds, values, label=called, color=self._colour(called), linewidth=1.2
                )
        self._axes.set_ylim(bottom=0)
        self._axes.yaxis.set_major_locator(ticker.MaxNLocator(5, integer=self._unit == "short"))
        self._axes.yaxis.set_major_formatter(lambda value, _: _written(value, self._unit))
        if drawn:
            self._legend(len(drawn))

    def _legend(self, count: int) -> None:
        handles, labels = self._axes.get_legend_handles_labels()
        if count > MOST_NAMED:
            handles, labels = handles[:MOST_NAMED], labels[:MOST_NAMED]
            labels[-1] += f", and {count - MOST_NAMED} more"
        below = {"loc": "upper left", "bbox_to_anchor": (0, -0.13), "borderaxespad": 0.0}
        self._axes.legend(handles, labels, ncols=3, **below)

    def _heatmap(self, series: Sequence[Series]) -> None:
        ordered = sorted(series, key=lambda each: float(each.labels["le"]))
        edges = [each.labels["le"] for each in ordered]
        below = [0.0] * len(self._grid(ordered[0]))
        rows = []
        for each in ordered:
            counted = [0.0 if math.isnan(value) else value for value in self._grid(each)]
            rows.append([max(more - less, 0) for more, less in zip(counted, below, strict=True)])
            below = counted
        # Only the buckets that anything fell into, and their neighbours.
        filled = [index for index, row in enumerate(rows) if max(row) > 0]
        first, last = max(filled[0] - 1, 0), min(filled[-1] + 1, len(rows) - 2)
        shown = [[value or math.nan for value in row] for row in rows[first : last + 1]]
        self._axes.pcolormesh(
            range(len(below)),
            range(len(shown)),
            shown,
            cmap="Blues",
            norm=colors.LogNorm(vmin=0.3),
            shading="nearest",
            rasterized=True,
        )
        names = [f"≤ {_written(float(edge), 's')}" for edge in edges[first : last + 1]]
        self._axes.set_yticks(range(len(names)), names)
        self._axes.set_xlabel("the darker, the more", loc="left", fontsize=7.5, color="#57606a")

    def _timeline(self, series: Sequence[tuple[str, Series]]) -> None:
        [mapping] = self._panel.defaults["mappings"]
        states = {float(value): state for value, state in mapping["options"].items()}
        for row, (_, each) in enumerate(series):
            values = self._grid(each)
            at = 0
            for value, same in itertools.groupby(values):
                length = len(list(same))
                if not math.isnan(value):
                    colour = COLOURS[states[value]["color"]]
                    self._axes.broken_barh([(at, length)], (row - 0.42, 0.84), color=colour)
                at += length
        self._axes.set_yticks(range(len(series)), [called for called, _ in series])
        self._axes.invert_yaxis()
        self._axes.grid(visible=False)
        seen = {value for _, each in series for _, value in each.values}
        for value in sorted(seen):
            state = states[value]
            self._axes.barh([0], [0], color=COLOURS[state["color"]], label=state["text"])
        self._legend(len(seen))


def _called(legend: str, series: Series) -> str:
    return re.sub(r"\{\{(\w+)\}\}", lambda match: series.labels.get(match[1], ""), legend)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _written(value: float, unit: str) -> str:
    """Return a value with its unit, as Grafana shortens it."""
    match unit:
        case "s" if 0 < abs(value) < 1:
            return f"{value * 1000:.3g} ms"
        case "s":
            return f"{value:.3g} s"
        case "bytes":
            return f"{value / 2**20:.0f} MiB"
        case "percentunit":
            return f"{value:.0%}"
        case _:
            suffix = unit.removeprefix("suffix:") if unit.startswith("suffix:") else ""
            return f"{value:,.4g}{suffix}" if value < THOUSAND else f"{value:,.0f}{suffix}"
