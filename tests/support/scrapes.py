"""What a scrape says, judged: by the metrics' catalogue, and by Prometheus' own promtool."""

import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import yaml
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as read_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families as read_text

from springline.metrics import catalogue
from springline.metrics.catalogue import Kind, MetricInfo
from support import prometheus

__all__ = ["complaints", "contradictions", "read", "unparsable"]

_TIMEOUT = 60
_LONGEST_OPEN_VALUE = 300
_DESCRIBED = {metric.name: metric for metric in catalogue.ALL}
# How the client's own metrics are described where they are scraped is not ours to say.
_OURS = "springline_"


def read(text: str) -> list[Metric]:
    """Read a scrape in either format."""
    if text.endswith("# EOF\n"):
        strict = read_openmetrics(text)  # type: ignore[no-untyped-call]  # it has no annotations
        return list(strict)
    return list(read_text(text))


def contradictions(text: str) -> list[str]:
    """Return what of a scrape is not as the catalogue says."""
    return [problem for family in read(text) for problem in _of_family(family, text)]


def _of_family(family: Metric, text: str) -> Iterator[str]:
    name = _name(family)
    metric = _DESCRIBED.get(name)
    if metric is None:
        yield f"{name} is not in the catalogue"
        return
    if family.type not in _kinds(metric):
        yield f"{name} is a {family.type}"
    if name.startswith(_OURS) and family.documentation != metric.help:
        yield f"{name} is described as {family.documentation!r}"
    if f"# HELP {family.name}" not in text:
        yield f"{name} has no HELP"
    for sample in family.samples:
        labels = {key: value for key, value in sample.labels.items() if key != "le"}
        if labels.keys() != set(metric.label_names):
            yield f"{name} has the labels {sorted(labels)}"
        yield from _of_values(metric, labels)
    repeated = Counter(_series(sample.name, sample.labels) for sample in family.samples)
    yield from (f"{series} is there twice" for series, times in repeated.items() if times > 1)
    if metric.is_each:
        sessions = Counter(
            (sample.labels["namespace"], sample.labels["name"]) for sample in family.samples
        )
        yield from (f"{each} has two of {name}" for each, times in sessions.items() if times > 1)


def _name(family: Metric) -> str:
    """Return the name in the catalogue: parsers take suffixes away."""
    for suffix in ("_total", "_info"):
        if family.name + suffix in _DESCRIBED:
            return family.name + suffix
    return family.name


def _kinds(metric: MetricInfo) -> tuple[str, ...]:
    return (Kind.INFO, Kind.GAUGE) if metric.kind is Kind.INFO else (metric.kind,)


def _of_values(metric: MetricInfo, labels: Mapping[str, str]) -> Iterator[str]:
    for label in metric.labels:
        value = labels.get(label.name, "")
        if label.is_closed and value not in label.values:
            yield f"{metric.name} has {label.name}={value!r}"
        if len(value) > _LONGEST_OPEN_VALUE:
            yield f"{metric.name} has a {label.name} of {len(value)} characters"


def _series(name: str, labels: Mapping[str, str]) -> tuple[object, ...]:
    return (name, *sorted(labels.items()))


def complaints(text: str) -> str:
    """Return what `promtool check metrics` says of a scrape in the text format.

    Raises `PrometheusMissing`.
    """
    return _asked("check", "metrics", text=text)


def unparsable(queries: Iterable[str]) -> str:
    """Return what `promtool` says of queries that it cannot parse. Raises `PrometheusMissing`."""
    rules = [{"record": f"query:{number}", "expr": each} for number, each in enumerate(queries)]
    document = {"groups": [{"name": "queries", "rules": rules}]}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "rules.yaml")
        path.write_text(yaml.safe_dump(document))
        return _asked("check", "rules", str(path))


def _asked(*arguments: str, text: str = "") -> str:
    done = subprocess.run(
        [prometheus.promtool(), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=_TIMEOUT,
        check=False,
    )
    words = f"{done.stderr}{done.stdout}".strip()
    return words if done.returncode or done.stderr.strip() else ""
