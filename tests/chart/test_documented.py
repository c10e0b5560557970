"""What the documentation has to copy for the chart: Helm takes it."""

import shlex
from itertools import pairwise
from typing import Final

import pytest
import yaml

from support.chart import RELEASE, Helm
from support.helm import CHART
from support.markdown import Page

ROOT: Final = CHART.parents[1]
PAGES: Final = [ROOT / "README.md", CHART / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
VALUES: Final = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))


def commands() -> list[str]:
    """What pages do with the chart, without what has a gap to fill in."""
    return sorted(
        {
            command
            for path in PAGES
            for command in Page(path).commands
            if command.startswith("helm ") and " charts/springline " in command
            if "…" not in command
        }
    )


def values() -> dict[str, str]:
    """Blocks of values, by page and number."""
    return {
        f"{path.relative_to(ROOT)} {number}": block.text
        for path in PAGES
        for number, block in enumerate(Page(path).blocks, 1)
        if block.language == "yaml" and _are_values(block.text)
    }


def _are_values(text: str) -> bool:
    document = next(yaml.safe_load_all(text))
    return isinstance(document, dict) and document.keys() <= VALUES.keys()


@pytest.mark.parametrize("command", commands())
def test_a_command_can_be_carried_out(helm4: Helm, command: str) -> None:
    """Each value that it sets is one of the chart's, and may be what it is."""
    words = shlex.split(command)
    options = [f"--set={each}" for before, each in pairwise(words) if before == "--set"]
    assert len(options) == command.count("--set ")
    [where] = [each for before, each in pairwise(words) if before == "--namespace"]
    rendered = helm4.run("template", RELEASE, CHART, f"--namespace={where}", *options)
    assert "kind: Deployment" in rendered


@pytest.mark.parametrize("text", values().values(), ids=values())
def test_a_block_of_values_can_be_used(helm4: Helm, text: str) -> None:
    """As it stands."""
    assert helm4.objects(yaml.safe_load(text))["Deployment/springline"]


def test_there_is_something_to_copy() -> None:
    """Else what looks for it is out of step with the pages."""
    assert len(commands()) > 10
    assert len(values()) > 4
