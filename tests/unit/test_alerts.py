"""The alerts' file: what it asks for is there, and where it leads to is written."""

import re
from pathlib import Path
from typing import Any, Final

import pytest
import yaml

from springline.metrics import catalogue
from springline.metrics.catalogue import Kind
from support.markdown import Page

ROOT: Final = Path(__file__).parents[2]
RUNBOOKS: Final = ROOT / "docs" / "runbooks"
FILE: Final = ROOT / "charts" / "springline" / "files" / "alerts.yaml"
GROUPS: Final = yaml.safe_load(FILE.read_text(encoding="utf-8"))["groups"]
RULES: Final[dict[str, dict[str, Any]]] = {
    rule["alert"]: rule for group in GROUPS for rule in group["rules"]
}
SECTIONS: Final = ["What it means", "Look first", "What to do", "When to silence it"]

every_alert = pytest.mark.parametrize("name", RULES)


def test_alerts_ask_for_metrics_that_there_are() -> None:
    """An expression with a metric that nobody serves is never true, and nobody would notice."""
    served = {
        f"{metric.name}{suffix}"
        for metric in catalogue.ALL
        for suffix in (("_bucket", "_count", "_sum") if metric.kind is Kind.HISTOGRAM else ("",))
    }
    asked = {
        name
        for rule in RULES.values()
        for name in re.findall(r"\b(?:springline|process)_\w+", rule["expr"])
    }
    assert asked - served == set()


@every_alert
def test_an_alert_says_how_severe_it_is_and_where_to_read_on(name: str) -> None:
    """Names tell whose they are, among the alerts of everything else."""
    rule = RULES[name]
    assert name.startswith("Springline")
    assert rule["labels"]["severity"] in {"info", "warning", "critical"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
    assert rule["annotations"]["description"].endswith((".", "{{ end }}."))


@every_alert
def test_a_runbook_is_in_step_with_its_alert(name: str) -> None:
    """It shows the expression that is asked, how long it has to hold, and has the same sections."""
    page = Page(RUNBOOKS / f"{name}.md")
    rule = RULES[name]
    assert page.headings == [name, *SECTIONS]
    [asked] = [block.text for block in page.blocks if block.language == "promql"]
    assert asked == rule["expr"]
    lasting = f"for {rule['for']}" if "for" in rule else "at once"
    assert f"Severity `{rule['labels']['severity']}`, {lasting}." in page.text
    assert page.commands


def test_there_is_a_runbook_for_each_alert_and_no_other() -> None:
    """The index lists them in the order of the file, with what they say."""
    pages = {path.stem for path in RUNBOOKS.glob("*.md")} - {"README"}
    assert pages == RULES.keys()
    rows = [
        row for group in GROUPS for row in Page(RUNBOOKS / "README.md").rows(f"## {group['name']}")
    ]
    assert [(row[0], row[1]) for row in rows] == [
        (f"[{name}]({name}.md)", f"`{rule['labels']['severity']}`") for name, rule in RULES.items()
    ]
