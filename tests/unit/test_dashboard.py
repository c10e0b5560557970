"""The dashboard's JSON: what Grafana needs to take it, and what keeps it good for any Grafana."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from springline.metrics import catalogue
from support.chosen import expressions, panels
from support.dashboard import DASHBOARD

DOCUMENT = DASHBOARD.document()
SOURCES = (
    {"type": "prometheus", "uid": "${datasource}"},
    {"type": "grafana", "uid": "-- Grafana --"},
)


def of_key(part: Any, key: str) -> Iterator[Any]:
    """Every value that has this key, however deep."""
    if isinstance(part, list):
        for each in part:
            yield from of_key(each, key)
    if isinstance(part, dict):
        for name, each in part.items():
            if name == key:
                yield each
            yield from of_key(each, key)


def test_it_can_be_imported_anywhere() -> None:
    """It has a name for links, no number of one Grafana's, and asks the source that is chosen."""
    assert (DOCUMENT["uid"], DOCUMENT["id"]) == ("springline", None)
    assert all(each in SOURCES for each in of_key(DOCUMENT, "datasource"))
    assert list(of_key(DOCUMENT, "datasource")), "there are some"


def test_every_panel_explains_itself() -> None:
    """With a title of its own, a sentence, and a unit wherever it shows a number."""
    titles = Counter(panel["title"] for panel in panels(DOCUMENT))
    assert {title for title, count in titles.items() if count > 1} == set()
    for panel in panels(DOCUMENT):
        assert panel["description"].endswith("."), panel["title"]
        if panel["type"] in ("stat", "timeseries", "bargauge"):
            assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]


def test_panels_have_numbers_and_places_of_their_own() -> None:
    """No two are on the same spot, and none is outside."""
    numbers = Counter(panel["id"] for panel in [*panels(DOCUMENT), *DOCUMENT["panels"]])
    places: Counter[tuple[int, int]] = Counter()
    for panel in panels(DOCUMENT):
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        places.update(
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        )
    headings = [panel["gridPos"]["y"] for panel in DOCUMENT["panels"] if panel["type"] == "row"]
    assert {spot for spot, count in places.items() if count > 1} == set()
    assert {y for _, y in places}.isdisjoint(headings)
    assert len(numbers) == len(list(panels(DOCUMENT))) + len(headings)


def test_expressions_use_only_variables_that_there_are() -> None:
    """Those at the top, and Grafana's own for the time that is looked at."""
    offered = {each["name"] for each in DOCUMENT["templating"]["list"]}
    used = {
        name
        for _, expression in expressions(DOCUMENT)
        for name in re.findall(r"\$(\w+)", expression)
    }
    assert used <= offered | {"__interval", "__rate_interval", "__range"}


def test_every_expression_is_about_the_operators_that_are_chosen() -> None:
    """Another program has `process_open_fds`, too, and another release has the same metrics."""
    for title, expression in expressions(DOCUMENT):
        selectors = re.findall(r"\b(?:springline|process)_\w+(\{[^}]*\})?", expression)
        assert selectors, title
        assert all('job=~"$job"' in selector for selector in selectors), title


def test_every_metric_of_springlines_own_is_shown() -> None:
    """And none that there is not."""
    used = {
        re.sub("_bucket$", "", name)
        for _, expression in expressions(DOCUMENT)
        for name in re.findall(r"\b(?:springline|process)_\w+", expression)
    }
    there = {metric.name for metric in catalogue.ALL}
    assert used <= there
    assert {name for name in there if name.startswith("springline_")} <= used
