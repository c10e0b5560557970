"""What is chosen on a dashboard, put into its expressions as Grafana does it."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

__all__ = ["EVERYTHING", "Chosen", "expressions", "label_values", "one_of", "panels"]

EVERYTHING = ".*"

_SPECIAL = re.compile(r"[$^*{}\[\]+?.()|]")
_LABEL_VALUES = re.compile(r"label_values\((?P<series>.*), (?P<label>\w+)\)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """The time that is looked at, in Unix seconds, and what every variable stands for.

    `values` are texts as they are put in: `EVERYTHING`, or what `one_of` makes of names.
    """

    start: float
    end: float
    values: Mapping[str, str] = field(default_factory=dict)
    step_seconds: int = 1
    scrape_seconds: int = 1

    def filled(self, expression: str) -> str:
        """Return an expression as Prometheus gets it. Raises `KeyError` for a variable it lacks."""
        interval = max(self.step_seconds + self.scrape_seconds, 4 * self.scrape_seconds)
        known = {
            **self.values,
            "__interval": f"{self.step_seconds}s",
            "__rate_interval": f"{interval}s",
            "__range": f"{max(round(self.end - self.start), 1)}s",
        }
        return re.sub(r"\$(\w+)", lambda match: known[match[1]], expression)


def one_of(*names: str) -> str:
    """Return the regular expression that Grafana makes of the names that are chosen."""
    escaped = [_SPECIAL.sub(lambda match: rf"\\{match[0]}", name) for name in names]
    return escaped[0] if len(escaped) == 1 else f"({'|'.join(escaped)})"


def label_values(query: str) -> tuple[str, str]:
    """Return an expression with a sample for each value of a variable's query, and the label."""
    match = _LABEL_VALUES.fullmatch(query)
    assert match is not None, query
    return f"group by ({match['label']}) ({match['series']})", match["label"]


def panels(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every panel of a dashboard's JSON, also of closed rows, but no headings."""
    for panel in document["panels"]:
        if panel["type"] == "row":
            yield from panel["panels"]
        else:
            yield panel


def expressions(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is asked for, with the title of where: panels, then annotations."""
    for panel in panels(document):
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in document["annotations"]["list"]:
        if "expr" in annotation:
            yield annotation["name"], annotation["expr"]
