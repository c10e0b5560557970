"""What Chart.yaml says to those who look for a chart: true, and as Artifact Hub reads it."""

import base64
from pathlib import Path
from typing import Any

import pytest
import yaml

from springline.api import crds
from springline.standalone import loader
from support import chart_metadata
from support.chart import Helm
from support.chart_files import CHART

ROOT = Path(__file__).resolve().parents[2]
CATEGORIES = {
    "ai-machine-learning",
    "database",
    "integration-delivery",
    "monitoring-logging",
    "networking",
    "security",
    "storage",
    "streaming-messaging",
    "skip-prediction",
}


@pytest.fixture(scope="module")
def chart() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    return loaded


def annotation(chart: dict[str, Any], name: str) -> Any:
    """One of Artifact Hub's; lists are texts of YAML."""
    return yaml.safe_load(chart["annotations"][f"artifacthub.io/{name}"])


def test_annotations_are_texts(chart: dict[str, Any]) -> None:
    """Helm takes no others."""
    assert all(isinstance(each, str) for each in chart["annotations"].values())
    assert annotation(chart, "category") in CATEGORIES
    assert annotation(chart, "license") == "Apache-2.0"
    assert annotation(chart, "operator") is True


def test_the_icon_is_in_the_chart(chart: dict[str, Any]) -> None:
    """Nothing is fetched to show it."""
    kind, _, picture = chart["icon"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    wanted = (ROOT / "docs" / "images" / "springline.svg").read_bytes()
    assert base64.b64decode(picture) == wanted


def test_the_repository_is_the_images(chart: dict[str, Any]) -> None:
    """What is called alike belongs together."""
    [image] = annotation(chart, "images")
    path = image["image"].partition("/")[2].partition(":")[0]
    for url in (chart["home"], *chart["sources"], *(m["url"] for m in chart["maintainers"])):
        assert url == f"https://github.com/{path}"


def test_the_images_are_those_that_are_run(chart: dict[str, Any], helm4: Helm) -> None:
    """Artifact Hub scans them."""
    named = {each["image"] for each in annotation(chart, "images")}
    pods = [
        each["spec"] if each["kind"] == "Pod" else each["spec"]["template"]["spec"]
        for each in helm4.template({"uninstall": {"stopFirst": True}})
        if each["kind"] in ("Deployment", "Job", "Pod")
    ]
    assert {container["image"] for pod in pods for container in pod["containers"]} == named


def test_definitions_are_told_with_an_example_of_each(chart: dict[str, Any]) -> None:
    """By the names that they have, and with manifests that are right."""
    told = {each["name"]: each for each in annotation(chart, "crds")}
    assert told.keys() == {each["metadata"]["name"] for each in crds.crds().values()}
    kinds = {(f"springline.dev/{each['version']}", each["kind"]) for each in told.values()}
    examples = annotation(chart, "crdsExamples")
    assert {(each["apiVersion"], each["kind"]) for each in examples} == kinds
    assert len(examples) == len(kinds)


def test_examples_are_right(chart: dict[str, Any], tmp_path: Path) -> None:
    """As standalone mode would take them."""
    manifest = tmp_path / "examples.yaml"
    manifest.write_text(yaml.safe_dump_all(annotation(chart, "crdsExamples")))
    assert [str(problem) for problem in loader.load([manifest]).problems] == []


# What changed

CHANGELOG = """# Changelog

## [Unreleased]

### Fixed

- A fault of today.

## [0.2.0] - 2026-11-21

### Added

- Something new, with a [page](docs/page.md) on it:
  - one part;
  - another, over
    two lines.
- More.

### Security

- A hole.

## [0.1.0] - 2026-10-01

### Added

- All of it.
"""


@pytest.mark.parametrize(
    ("version", "changes"),
    [
        (
            "0.2.0",
            [
                ("added", "Something new, with a page on it: one part; another, over two lines."),
                ("added", "More."),
                ("security", "A hole."),
            ],
        ),
        ("0.1.0", [("added", "All of it.")]),
        ("0.3.0", [("fixed", "A fault of today.")]),
    ],
    ids=["a version", "the first version", "a version to come"],
)
def test_changes_are_those_of_the_version(version: str, changes: list[tuple[str, str]]) -> None:
    """Or what is not released yet; each in a line of plain text."""
    found = chart_metadata.latest_changes(CHANGELOG, version)
    assert [(each["kind"], each["description"]) for each in found] == changes


def test_changes_are_of_kinds_that_are_known(chart: dict[str, Any]) -> None:
    """By the headings of the changelog."""
    assert {each["kind"] for each in annotation(chart, "changes")} <= set(chart_metadata.KINDS)
