"""The tables of docs/metrics.md, made from the catalogue that the metrics are made from.

They stand between markers; the prose around them is written by hand. Run `make metrics-page` to
write them anew; a test holds them in step.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from springline.metrics import catalogue
from springline.metrics.catalogue import Kind, Label, MetricInfo

__all__ = ["PAGE", "blocks", "written"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"

_MARKED = re.compile(
    r"(?P<begin><!-- metrics: (?P<name>[\w ]+) -->\n).*?(?P<end><!-- metrics: end -->)", re.DOTALL
)


def blocks() -> dict[str, str]:
    """Return what stands between the markers, by the name in the first of them."""
    tables = {section.name: _metrics(section.metrics) for section in catalogue.SECTIONS}
    values = {
        f"{label.name} of {metric.name}": _values(label)
        for metric, label in _labels()
        if label.is_explained and label.name != "protocol"  # which stands in the table of labels
    }
    return {**tables, **values, "labels": _other_labels(), "queries": _queries()}


def written() -> str:
    """Return the page as it should be."""
    text = PAGE.read_text(encoding="utf-8")
    fresh = blocks()
    named = [match["name"] for match in _MARKED.finditer(text)]
    if sorted(named) != sorted(fresh):
        raise ValueError(f"{PAGE.name} has to have these markers, each once: {sorted(fresh)}")
    return _MARKED.sub(lambda match: f"{match['begin']}{fresh[match['name']]}{match['end']}", text)


def _labels() -> Iterator[tuple[MetricInfo, Label]]:
    for metric in catalogue.ALL:
        for label in metric.labels:
            yield metric, label


def _metrics(metrics: Iterable[MetricInfo]) -> str:
    return _table(("name", "type", "labels", "meaning"), map(_row, metrics))


def _row(metric: MetricInfo) -> tuple[str, ...]:
    kind = Kind.GAUGE if metric.kind is Kind.INFO else metric.kind
    labels = ", ".join(f"`{name}`" for name in metric.label_names)
    meaning = f"{metric.meaning} {metric.remark}".strip()
    return f"`{metric.name}`", kind, labels, f"*each*: {meaning}" if metric.is_each else meaning


def _values(label: Label) -> str:
    rows = ((f"`{value}`", meaning) for value, meaning in label.values.items())
    return _table((label.name, "meaning"), rows)


def _other_labels() -> str:
    """Return a row for each label that has no table of its own, with the metrics that have it."""
    found: dict[tuple[str, str], list[str]] = {}
    for metric, label in _labels():
        if label.is_explained and label.name != "protocol":
            continue
        found.setdefault((label.name, _shown(label)), []).append(metric.name)
    rows = (
        (f"`{name}`", "*each*" if _is_key(name) else _named(metrics), shown)
        for (name, shown), metrics in found.items()
    )
    return _table(("label", "of", "values"), rows)


def _is_key(name: str) -> bool:
    return name in ("namespace", "name")


def _named(metrics: Iterable[str]) -> str:
    return ", ".join(f"`{metric}`" for metric in metrics)


def _shown(label: Label) -> str:
    if label.shown:
        return label.shown
    return ", ".join(
        f"`{value}` ({meaning})" if meaning else f"`{value}`"
        for value, meaning in label.values.items()
    )


def _queries() -> str:
    rows = (
        (query.question, f"`{query.text}`") for metric in catalogue.ALL for query in metric.queries
    )
    return _table(("question", "query"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    escaped = ((cell.replace("|", r"\|") for cell in row) for row in rows)
    lines = [" | ".join(head), " | ".join("---" for _ in head), *map(" | ".join, escaped)]
    return "".join(f"| {line} |\n" for line in lines)


def main() -> None:
    """Write the page."""
    PAGE.write_text(written(), encoding="utf-8")


if __name__ == "__main__":
    main()
