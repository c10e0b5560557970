"""The documentation: its links lead somewhere, and what it says is in step with the program."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click
import pytest
import yaml

from springline import __version__, cli
from springline.api import crds, documents
from springline.metrics import catalogue
from springline.reasons import Reason
from support import reference_pages
from support.markdown import Page

ROOT: Final = Path(__file__).parents[2]
DOCS: Final = ROOT / "docs"
CHART: Final = ROOT / "charts" / "springline"
PAGES: Final = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "examples" / "README.md",
    ROOT / "tests" / "README.md",
    CHART / "README.md",
    *sorted(DOCS.rglob("*.md")),
]
SCHEMA: Final[Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
# What conditions say when all is well: there is nothing to shoot.
FINE: Final = {
    Reason.IN_SYNC,
    Reason.CONNECTED,
    Reason.OPEN,
    Reason.ACCEPTED,
    Reason.ANONYMOUS,
    Reason.VERIFIED,
    Reason.NOT_BLOCKED,
    Reason.PUBLISHED,
    Reason.USABLE,
}


def in_repository(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


every_page = pytest.mark.parametrize("path", PAGES, ids=in_repository)


@every_page
def test_links_lead_somewhere(path: Path) -> None:
    """Each link within the repository leads to a file, and to a heading if it names one."""
    assert [link for link in Page(path).links if not leads_somewhere(link, path)] == []


def leads_somewhere(link: str, page: Path) -> bool:
    if link.startswith("https://"):
        return True
    file, _, anchor = link.partition("#")
    target = (page.parent / file).resolve() if file else page
    if not target.is_relative_to(ROOT) or not target.exists():
        return False
    return not anchor or anchor in Page(target).anchors


def test_every_page_is_listed() -> None:
    """The index of docs/ links to each page beside it, and to the reference."""
    linked = set(Page(DOCS / "README.md").links)
    pages = [*DOCS.glob("*.md"), *DOCS.glob("reference/*.md")]
    assert {path.relative_to(DOCS).as_posix() for path in pages} - linked == {"README.md"}


def test_the_reference_is_what_the_models_and_commands_say() -> None:
    """`make reference` writes it anew."""
    pages = reference_pages.DIRECTORY.iterdir()
    found = {path.name: path.read_text(encoding="utf-8") for path in pages}
    assert found == reference_pages.written()


@pytest.mark.parametrize("kind", crds.KINDS)
def test_the_reference_has_every_field(kind: str) -> None:
    """Each field of spec and status has a row, below the heading of the object it is in."""
    page = Page(reference_pages.DIRECTORY / f"{kind.lower()}.md")
    [version] = crds.crd(kind)["spec"]["versions"]
    root = version["schema"]["openAPIV3Schema"]["properties"]
    for part in ("spec", "status"):
        for path, names in objects(part, root[part]):
            depth = "##" if path == part else "###"
            rows = page.rows(f"{depth} {path}")
            if not rows:  # fields of a Broker, in place
                assert path.startswith("spec.broker")
                assert "broker.md#spec" in page.links
                continue
            assert [re.findall(r"`(\w+)`", first)[0] for first, *_ in rows] == names


def objects(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Each object with fields at and below a path, with their names."""
    if "properties" in schema:
        yield path, list(schema["properties"])
    for name, each in schema.get("properties", {}).items():
        if each.get("properties") or each.get("items", {}).get("properties"):
            yield from objects(f"{path}.{name}", each)
            yield from objects(f"{path}.{name}[]", each.get("items", {}))


@every_page
def test_lists_and_tables_are_such_everywhere(path: Path) -> None:
    """What is inside of a list is indented by four spaces, and an empty line stands before both.

    Else a repository shows it well and the site does not.
    """
    text = path.read_text(encoding="utf-8")
    assert re.findall(r"^(?! {4}| {8}) +```", text, re.MULTILINE) == []
    prose = Page(path).prose
    assert re.findall(r"^(?![-|<#]|\d+\.| ).+\n(?:- |\d+\. |\|).*", prose, re.MULTILINE) == []
    assert re.findall(r"^ {4}(?! *[-|<]).+\n(?:- |\d+\. |\|).*", prose, re.MULTILINE) == []


@every_page
def test_manifests_can_be_used(path: Path) -> None:
    """Whatever a page shows to copy is a document that Springline takes as it stands."""
    for document in manifests(Page(path)):
        documents.parse(document)


def manifests(page: Page) -> Iterator[dict[str, Any]]:
    for block in page.blocks:
        if block.language != "yaml":
            continue
        for document in yaml.safe_load_all(block.text):
            if isinstance(document, dict) and document.get("kind") in documents.MODELS:
                yield document


def test_the_tutorial_shows_every_file_that_its_commands_name() -> None:
    """A block begins with the name of the file that it is to be saved as."""
    page = Page(DOCS / "tutorial.md")
    shown = {
        block.text.splitlines()[0].removeprefix("# ")
        for block in page.blocks
        if block.language == "yaml"
    }
    named = {name for command in page.commands for name in re.findall(r"-f (\S+)", command)}
    assert named == shown == {"rabbitmq.yaml", "broker.yaml", "connection.yaml"}


def test_every_reason_has_a_section() -> None:
    """docs/troubleshooting.md has a heading for each reason that says that something is wrong."""
    page = Page(DOCS / "troubleshooting.md")
    assert {reason.value for reason in Reason if reason not in FINE} <= set(page.headings)
    _, _, fine = page.text.partition("\n## Nothing is wrong\n")
    assert {reason.value for reason in FINE} <= set(re.findall(r"`(\w+)`", fine))


def test_metrics_have_a_label_for_each_reason_of_a_block() -> None:
    """docs/status.md and the metrics name the same reasons for which Blocked is True."""
    blocked = [row[0] for row in Page(DOCS / "status.md").rows("## Blocked") if row[1] == "True"]
    assert set(re.findall(r"`(\w+)`", " ".join(blocked))) == set(catalogue.BLOCKED)


def test_options_of_the_operator_are_those_that_it_has() -> None:
    """docs/operations.md has a row for each option, with its variable and its default."""
    options = {written(option): option for option in cli.main.commands["operator"].params}
    rows = {
        # Of its value, the table also says what it is called.
        re.sub(r"`(--[\w-]+) [A-Z:]+`", r"`\1`", names): (variable, default)
        for names, variable, default, _ in Page(DOCS / "operations.md").rows("## Options")
    }
    assert rows.keys() == options.keys()
    for names, (variable, default) in rows.items():
        option = options[names]
        assert variable == f"`SPRINGLINE_OPERATOR_{str(option.name).upper()}`"
        assert default.startswith(default_of(option)), names


def written(option: click.Parameter) -> str:
    return ", ".join(f"`{name}`" for name in (*option.opts, *option.secondary_opts))


def default_of(option: click.Parameter) -> str:
    """Return how the table has to begin to say the default; empty where that takes words."""
    match option.default:
        case bool(value):
            return "yes" if value else "no"
        case str(value):
            return f"`{value}`"
        case float(value):
            return f"`{value:g}`"
        case _:
            return ""


@every_page
def test_values_of_the_chart_exist(path: Path) -> None:
    """Whatever a command sets, the text names, and install.md lists, is a value of the chart."""
    page = Page(path)
    named = {
        name
        for text in (*page.commands, *page.code)
        for name in re.findall(r"--set '?([\w.]+)=", text)
    }
    for code in page.code:
        if match := re.fullmatch(r"((\w+)(?:\.\w+)+)(?:=.*)?", code):
            named |= {match[1]} if match[2] in SCHEMA["properties"] else set()
    for first, *_ in page.rows("### Values most people set"):
        named |= set(re.findall(r"`([\w.]+)`", first))
    assert {name for name in named if not is_value(name)} == set()


def is_value(name: str) -> bool:
    found: Any = SCHEMA
    for part in name.split("."):
        if reference := found.get("$ref"):
            found = SCHEMA["definitions"][reference.removeprefix("#/definitions/")]
        if part not in found.get("properties", ()):
            # Free: labels, for example, and what is Kubernetes' own.
            return found.get("type") == "object" and bool(found.get("additionalProperties", True))
        found = found["properties"][part]
    return True


@every_page
def test_an_image_is_named_by_the_version_that_is_built(path: Path) -> None:
    """Without a name of its own, `make image` and the chart take that of the version."""
    text = path.read_text(encoding="utf-8")
    named = re.findall(r"(?:\bspringline:|image\.tag=)(\d[\w.]*)", text)
    assert {tag for tag in named if tag != __version__} == set()


def test_what_the_image_is_built_on_is_told() -> None:
    """It has to be pulled from somewhere, too."""
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    [base] = re.findall(r"^ARG BASE=(\S+)", dockerfile, re.MULTILINE)
    assert base in Page(DOCS / "clusters.md").code


@every_page
def test_the_operator_is_stopped_before_it_is_uninstalled(path: Path) -> None:
    """Else it could not say of its sessions that they are closed.

    `--no-hooks` is for where the chart was to stop it, and could not.
    """
    stopped = False
    for command in Page(path).commands:
        if " scale deployment springline " in command and "--replicas=0" in command:
            stopped = True
        if command.startswith("helm uninstall ") and "--no-hooks" not in command:
            assert stopped, command
            stopped = False
