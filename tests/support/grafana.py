"""Grafana dashboards in Python: what a panel asks and how it shows it, and the JSON of that.

Of Grafana's schema there is what our dashboards use, as versions 10 to 12 read it. Every query goes
to the data source that is chosen on the dashboard, so the JSON fits any Grafana. It knows nothing
about what is asked for; see `dashboard`.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "Colour",
    "Column",
    "Dashboard",
    "Panel",
    "Query",
    "Row",
    "Steps",
    "Variable",
    "annotation",
    "bars",
    "graph",
    "heatmap",
    "number",
    "table",
    "timeline",
]

JSON = dict[str, Any]

# Grafana 10.4's. A newer Grafana brings it up to its own, an older one takes it as it is.
SCHEMA_VERSION: Final = 39
COLUMNS: Final = 24
HEADING_HEIGHT: Final = 1

_SOURCE: Final[JSON] = {"type": "prometheus", "uid": "${datasource}"}


# --- parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """An expression of PromQL, with Grafana's variables in it."""

    expression: str
    legend: str = ""
    """What a series is called, `{{label}}` being its label's value."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Colour:
    """A word for a value or a series, and its colour."""

    word: str
    colour: str


# From a value on there is a colour; the first one is for all below.
Steps = Sequence[tuple[float | None, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table: a label, or the value of the query with this number, `#0`."""

    of: str
    title: str
    unit: str = ""
    steps: Steps = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One question and its answer. Units are Grafana's names for them."""

    title: str
    description: str
    kind: str
    queries: tuple[Query, ...]
    width: int
    height: int
    defaults: JSON = field(default_factory=dict)
    options: JSON = field(default_factory=dict)
    overrides: Sequence[JSON] = ()
    transformations: Sequence[JSON] = ()
    format: str = "time_series"
    instant: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Panels below a heading. A closed one asks nothing until somebody opens it."""

    title: str
    panels: tuple[Panel, ...]
    closed: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """What can be chosen at the top: some or all values of a label.

    `everything` is the regular expression of all; without one it is made of the values there are.
    """

    name: str
    title: str
    description: str
    query: str
    everything: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """A whole dashboard; `uid` is what links to it hold, so it stays."""

    uid: str
    title: str
    description: str
    tags: tuple[str, ...]
    variables: tuple[Variable, ...]
    annotations: tuple[JSON, ...]
    rows: tuple[Row, ...]

    def text(self) -> str:
        """Return it as a file."""
        return json.dumps(self.document(), indent=2, ensure_ascii=False) + "\n"

    def document(self) -> JSON:
        """Return the JSON that Grafana imports."""
        return {
            "uid": self.uid,
            "id": None,
            "title": self.title,
            "description": self.description,
            "tags": list(self.tags),
            "schemaVersion": SCHEMA_VERSION,
            "editable": True,
            "graphTooltip": 1,  # one crosshair in all panels
            "refresh": "30s",
            "time": {"from": "now-3h", "to": "now"},
            "timezone": "",
            "links": [],
            "annotations": {"list": [_BUILT_IN_ANNOTATIONS, *self.annotations]},
            "templating": {"list": [_DATA_SOURCE, *map(_variable, self.variables)]},
            "panels": list(_laid_out(self.rows)),
        }


# --- kinds of panels


def number(
    title: str,
    description: str,
    expression: str,
    *,
    unit: str = "short",
    steps: Steps = ((None, "text"),),
    absent: str = "-",
    instant: bool = False,
    width: int = 4,
) -> Panel:
    """Show the newest value as one large number; unless it is instant, with its past behind it."""
    return Panel(
        title=title,
        description=description,
        kind="stat",
        queries=(Query(expression=expression),),
        width=width,
        height=4,
        defaults={
            "unit": unit,
            "noValue": absent,
            "color": {"mode": "thresholds"},
            "thresholds": _thresholds(steps),
        },
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "orientation": "auto",
            "colorMode": "value",
            "graphMode": "none" if instant else "area",
            "justifyMode": "auto",
            "textMode": "auto",
            "wideLayout": True,
        },
        instant=instant,
    )


def graph(
    title: str,
    description: str,
    *queries: Query,
    unit: str = "short",
    colours: Sequence[Colour] = (),
    stacked: bool = False,
    as_bars: bool = False,
    most: float | None = None,
    width: int = 12,
) -> Panel:
    """Draw values over time, from zero on. `colours` are of series, by what they are called."""
    custom: JSON = {
        "drawStyle": "bars" if as_bars else "line",
        "lineInterpolation": "stepAfter" if stacked and not as_bars else "linear",
        "lineWidth": 1,
        "fillOpacity": 60 if as_bars or stacked else 10,
        "showPoints": "never",
        "spanNulls": False,
        "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
        "axisSoftMin": 0,
    }
    defaults: JSON = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "palette-classic"},
        "custom": custom,
    }
    if most is not None:
        defaults["max"] = most
    return Panel(
        title=title,
        description=description,
        kind="timeseries",
        queries=queries,
        width=width,
        height=8,
        defaults=defaults,
        options={
            "legend": {
                "displayMode": "table",
                "placement": "right" if width >= COLUMNS else "bottom",
                "showLegend": True,
                "calcs": ["lastNotNull", "max"],
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        overrides=[
            _override(each.word, ("color", {"mode": "fixed", "fixedColor": each.colour}))
            for each in colours
        ],
    )


def heatmap(title: str, description: str, expression: str, *, width: int = 12) -> Panel:
    """Draw the buckets of a histogram of seconds over time, the fuller the darker."""
    return Panel(
        title=title,
        description=description,
        kind="heatmap",
        queries=(Query(expression=expression, legend="{{le}}"),),
        width=width,
        height=8,
        defaults={"custom": {"scaleDistribution": {"type": "linear"}}},
        options={
            "calculate": False,
            "cellGap": 1,
            "color": {
                "mode": "scheme",
                "scheme": "Blues",
                "fill": "dark-blue",
                "scale": "exponential",
                "exponent": 0.5,
                "steps": 64,
                "reverse": False,
            },
            "filterValues": {"le": 1e-9},
            "legend": {"show": True},
            "rowsFrame": {"layout": "auto"},
            "showValue": "never",
            "tooltip": {"mode": "single", "show": True, "yHistogram": False},
            "yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"},
        },
        format="heatmap",
    )


def bars(
    title: str,
    description: str,
    query: Query,
    *,
    unit: str = "short",
    steps: Steps,
    width: int = 12,
) -> Panel:
    """Draw one bar for each series of an instant query, in the order of its answer."""
    return Panel(
        title=title,
        description=description,
        kind="bargauge",
        queries=(query,),
        width=width,
        height=8,
        defaults={
            "unit": unit,
            "min": 0,
            "noValue": "none",
            "color": {"mode": "thresholds"},
            "thresholds": _thresholds(steps),
        },
        options={
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "displayMode": "basic",
            "orientation": "horizontal",
            "valueMode": "color",
            "namePlacement": "auto",
            "showUnfilled": False,
            "sizing": "auto",
            "minVizWidth": 8,
            "minVizHeight": 16,
        },
        instant=True,
    )


def table(
    title: str,
    description: str,
    *queries: Query,
    columns: Sequence[Column],
    sort_by: str,
    width: int = 12,
    height: int = 8,
) -> Panel:
    """Show a row for each set of labels, the answers to all queries beside each other.

    Shown are the columns that are named, in this order, sorted by the one with the title `sort_by`.
    """
    values = [f"Value #{chr(ord('A') + index)}" for index in range(len(queries))]
    if len(queries) == 1:
        values = ["Value"]
    fields = {
        each.of: values[int(each.of[1:])] if each.of.startswith("#") else each.of
        for each in columns
    }
    shown = [fields[each.of] for each in columns]
    return Panel(
        title=title,
        description=description,
        kind="table",
        queries=queries,
        width=width,
        height=height,
        defaults={
            "noValue": "-",
            "color": {"mode": "thresholds"},
            "thresholds": _thresholds(((None, "text"),)),
            "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "filterable": True},
        },
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "sortBy": [{"displayName": sort_by, "desc": False}],
        },
        overrides=[_cells(each) for each in columns if each.unit],
        transformations=[
            *([{"id": "merge", "options": {}}] if len(queries) > 1 else []),
            {"id": "filterFieldsByName", "options": {"include": {"names": shown}}},
            {
                "id": "organize",
                "options": {
                    "indexByName": {name: index for index, name in enumerate(shown)},
                    "renameByName": {fields[each.of]: each.title for each in columns},
                    "excludeByName": {},
                },
            },
        ],
        format="table",
        instant=True,
    )


def timeline(
    title: str,
    description: str,
    *queries: Query,
    states: Mapping[int, Colour],
    width: int = COLUMNS,
) -> Panel:
    """Draw a line for each series that changes its colour with its value."""
    options = {
        str(value): {"text": state.word, "color": state.colour, "index": index}
        for index, (value, state) in enumerate(states.items())
    }
    return Panel(
        title=title,
        description=description,
        kind="state-timeline",
        queries=queries,
        width=width,
        height=8,
        defaults={
            "color": {"mode": "thresholds"},
            "thresholds": _thresholds(((None, "text"),)),
            "mappings": [{"type": "value", "options": options}],
            "custom": {"fillOpacity": 70, "lineWidth": 0, "spanNulls": False},
        },
        options={
            "mergeValues": True,
            "showValue": "auto",
            "alignValue": "left",
            "rowHeight": 0.9,
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "single", "sort": "none"},
        },
    )


# --- the JSON of it


_BUILT_IN_ANNOTATIONS: Final[JSON] = {
    "builtIn": 1,
    "datasource": {"type": "grafana", "uid": "-- Grafana --"},
    "enable": True,
    "hide": True,
    "iconColor": "rgba(0, 211, 255, 1)",
    "name": "Annotations & Alerts",
    "type": "dashboard",
}

_DATA_SOURCE: Final[JSON] = {
    "type": "datasource",
    "name": "datasource",
    "label": "Data source",
    "description": "The Prometheus that scrapes the operator.",
    "query": "prometheus",
    "regex": "",
    "refresh": 1,
    "hide": 0,
    "includeAll": False,
    "multi": False,
    "options": [],
    "current": {},
}


def annotation(name: str, expression: str, *, title: str, text: str, colour: str) -> JSON:
    """Mark moments in every graph: the values of the expression, in milliseconds since 1970."""
    return {
        "name": name,
        "datasource": dict(_SOURCE),
        "enable": True,
        "hide": False,
        "iconColor": colour,
        "expr": expression,
        "step": "60s",
        "titleFormat": title,
        "textFormat": text,
        "tagKeys": "",
        "useValueForTime": True,
    }


def _variable(variable: Variable) -> JSON:
    return {
        "type": "query",
        "name": variable.name,
        "label": variable.title,
        "description": variable.description,
        "datasource": dict(_SOURCE),
        "definition": variable.query,
        "query": {"query": variable.query, "refId": "StandardVariableQuery"},
        "regex": "",
        "sort": 1,  # alphabetical
        "refresh": 2,  # whenever another time is looked at
        "hide": 0,
        "multi": True,
        "includeAll": True,
        "allValue": variable.everything,
        "options": [],
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _laid_out(rows: Sequence[Row]) -> Iterator[JSON]:
    """Yield rows and panels, each with its number and its place."""
    top = number_ = 0
    for row in rows:
        number_ += 1
        heading: JSON = {
            "id": number_,
            "type": "row",
            "title": row.title,
            "collapsed": row.closed,
            "gridPos": {"x": 0, "y": top, "w": COLUMNS, "h": HEADING_HEIGHT},
            "panels": [],
        }
        top += HEADING_HEIGHT
        panels: list[JSON] = []
        left = tallest = 0
        for each in row.panels:
            if left + each.width > COLUMNS:
                top, left, tallest = top + tallest, 0, 0
            number_ += 1
            place = {"x": left, "y": top, "w": each.width, "h": each.height}
            panels.append(_panel(each, number_, place))
            left, tallest = left + each.width, max(tallest, each.height)
        top += tallest
        if row.closed:
            yield heading | {"panels": panels}
        else:
            yield heading
            yield from panels


def _panel(panel: Panel, number_: int, place: JSON) -> JSON:
    return {
        "id": number_,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": dict(_SOURCE),
        "gridPos": place,
        "targets": [_target(panel, index, each) for index, each in enumerate(panel.queries)],
        "fieldConfig": {"defaults": panel.defaults, "overrides": list(panel.overrides)},
        "options": panel.options,
        "transformations": list(panel.transformations),
    }


def _target(panel: Panel, index: int, query: Query) -> JSON:
    return {
        "refId": chr(ord("A") + index),
        "datasource": dict(_SOURCE),
        "editorMode": "code",
        "expr": query.expression,
        "legendFormat": query.legend or "__auto",
        "format": panel.format,
        "instant": panel.instant,
        "range": not panel.instant,
        "exemplar": False,
    }


def _thresholds(steps: Steps) -> JSON:
    listed = [{"value": value, "color": colour} for value, colour in steps]
    return {"mode": "absolute", "steps": listed}


def _override(name: str, *properties: tuple[str, Any]) -> JSON:
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [{"id": key, "value": value} for key, value in properties],
    }


def _cells(column: Column) -> JSON:
    properties: list[tuple[str, Any]] = [("unit", column.unit)]
    if column.steps:
        properties += [
            ("thresholds", _thresholds(column.steps)),
            ("custom.cellOptions", {"type": "color-text"}),
        ]
    return _override(column.title, *properties)
