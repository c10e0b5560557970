"""`springline check` in CI: JUnit's XML, annotations of GitHub Actions, and exit codes."""

from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner, Result

from springline import cli
from springline.errors import ManifestError
from springline.positions import Position
from springline.standalone import ci_reports
from springline.standalone.ci_reports import Case, Finding, Severity
from support import unanswered
from support.fake_clock import EIGHT
from support.running import a_broker, a_connection, a_secret
from support.standalone import Scene

ROOT: Final = Path(__file__).parents[3]
BASE: Final = Path("/repository")


@pytest.fixture
def manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """One connection to a port that nobody listens on, in a repository."""
    path = tmp_path / "deploy" / "all.yaml"
    path.parent.mkdir()
    path.write_text(unanswered.manifests())
    monkeypatch.setenv("GITHUB_WORKSPACE", str(tmp_path))
    return path


def checked(output: str, *options: str | Path) -> Result:
    result = CliRunner().invoke(cli.main, ["check", "-o", output, *map(str, options)])
    assert unanswered.PLANTED not in result.output
    return result


def a_case(
    message: str = "refused", *, severity: Severity = Severity.FAILURE, line: int | None = 3
) -> Case:
    finding = Finding(severity=severity, reason="AccessRefused", message=message)
    position = Position(BASE / "deploy" / "a.yaml", line)
    return Case(group="shop", name="orders", position=position, finding=finding)


# --- JUnit


def read(text: str) -> ET.Element:
    return ET.fromstring(text)  # noqa: S314 - it is ours


def test_connection_that_is_not_ready_is_a_failure_at_its_declaration(manifests: Path) -> None:
    result = checked("junit", "-f", manifests.parent)
    assert result.exit_code == 1
    root = read(result.stdout)
    assert (root.tag, root.get("tests"), root.get("failures")) == ("testsuites", "1", "1")
    [case] = root.iter("testcase")
    assert case.attrib == {
        "classname": "default",
        "name": "orders",
        "file": "deploy/all.yaml",
        "line": "15",
    }
    [failure] = case
    assert (failure.tag, failure.get("type")) == ("failure", "ConnectionRefused")
    assert failure.text == failure.get("message")


def test_mistake_in_a_manifest_is_an_error_and_exit_code_2(manifests: Path) -> None:
    (manifests.parent / "b.yaml").write_text("a: 1\nb: [")
    result = checked("junit", "-f", manifests.parent)
    assert result.exit_code == 2
    root = read(result.stdout)
    assert (root.get("tests"), root.get("errors")) == ("1", "1")
    [case] = root.iter("testcase")
    assert case.get("file") == "deploy/b.yaml"
    assert case.get("line") == "2"
    assert result.stderr.startswith(f"{manifests.parent / 'b.yaml'}:2:5: error: is not valid YAML")


async def test_ready_connection_passes_and_a_blocked_one_says_so(scene: Scene) -> None:
    await scene.apply(a_secret("ann", "pl4nted"), a_broker(5672), a_connection("orders"))
    [ready] = ci_reports.of_checked(scene.report.shown.values(), {})
    assert ready == Case(group="default", name="orders")
    scene.driver.connection.block()
    await scene.clock.advance(1)
    [blocked] = ci_reports.of_checked(scene.report.shown.values(), {})
    assert blocked.finding is not None
    assert blocked.finding.severity is Severity.WARNING
    [case] = read(ci_reports.junit([blocked], at=EIGHT, base=BASE)).iter("testcase")
    assert [each.tag for each in case] == ["system-out"]


def test_document_stays_well_formed_and_ascii_whatever_a_broker_says() -> None:
    message = 'größe <b> & "]]>" \x00\x1b[2J\ud800\ufffe 🐇'
    text = ci_reports.junit([a_case(message)], at=EIGHT, base=BASE)
    assert text.isascii()
    [failure] = read(text).iter("failure")
    assert failure.text == 'größe <b> & "]]>" \\x00\\x1b[2J\\ud800\\ufffe 🐇'


def test_standard_input_is_no_place() -> None:
    case = Case(group="a", name="b", position=Position(Path("/dev/stdin"), 3), finding=None)
    [element] = read(ci_reports.junit([case], at=EIGHT, base=BASE)).iter("testcase")
    assert element.attrib == {"classname": "a", "name": "b"}


def test_file_outside_of_the_repository_keeps_its_path() -> None:
    case = Case(group="a", name="b", position=Position(Path("/elsewhere/a.yaml")), finding=None)
    [element] = read(ci_reports.junit([case], at=EIGHT, base=BASE)).iter("testcase")
    assert element.get("file") == "/elsewhere/a.yaml"


# --- annotations of GitHub Actions


def test_annotation_stands_at_the_declaration_below_the_table(manifests: Path) -> None:
    result = checked("github", "-f", manifests)
    assert result.exit_code == 1
    header, _, annotation = result.stdout.splitlines()
    assert header.startswith("NAMESPACE")
    assert annotation.startswith(
        "::error file=deploy/all.yaml,line=15,col=12,title=default/orders%3A ConnectionRefused::"
    )


def test_annotation_of_a_mistake_stands_at_its_line(manifests: Path) -> None:
    text = manifests.read_text().replace("  brokerRef", "  brokrRef")
    manifests.write_text(text)
    result = checked("github", "-f", manifests)
    assert result.exit_code == 2
    lines = result.stdout.splitlines()
    assert [line.partition(",title=manifest cannot be used::")[0] for line in lines] == [
        "::error file=deploy/all.yaml,line=16,col=1",
        "::error file=deploy/all.yaml,line=17,col=3",
    ]


def test_file_without_a_connection_is_an_annotation_without_a_place(manifests: Path) -> None:
    manifests.write_text(unanswered.secret())
    result = checked("github", "-f", manifests)
    assert result.stdout == (
        "::error title=manifest cannot be used::there is no BrokerConnection to check\n"
    )


@pytest.mark.parametrize(
    ("message", "written"),
    [
        ("one\n::error::two", "one\\n::error::two"),
        ("100 %\r", "100 %25\\r"),
        ("::set-output name=a::b", "::set-output name=a::b"),
    ],
)
def test_text_of_a_broker_cannot_begin_a_command(message: str, written: str) -> None:
    [line] = ci_reports.annotations([a_case(message)], base=BASE)
    assert line == (
        f"::error file=deploy/a.yaml,line=3,title=shop/orders%3A AccessRefused::{written}"
    )


def test_names_with_commas_and_colons_stay_one_property() -> None:
    position = Position(BASE / "a,line=9:b.yaml")
    finding = Finding(severity=Severity.WARNING, reason="LowOnMemory", message="blocked")
    case = Case(group="shop", name="orders", position=position, finding=finding)
    assert ci_reports.annotations([case], base=BASE) == [
        "::warning file=a%2Cline=9%3Ab.yaml,title=shop/orders%3A LowOnMemory::blocked"
    ]


def test_connection_that_is_as_it_should_be_has_no_annotation() -> None:
    case = Case(group="shop", name="orders")
    assert ci_reports.annotations([case], base=BASE) == []


# --- rotations, and exit codes


@pytest.mark.parametrize("output", ["junit", "github"])
def test_rotation_that_would_fail_is_told_at_the_connection(manifests: Path, output: str) -> None:
    new = manifests.parent.parent / "new.yaml"
    new.write_text(unanswered.secret(password="0ther"))
    result = checked(output, "-f", manifests, "--credentials", new)
    assert result.exit_code == 1
    assert "deploy/all.yaml" in result.stdout
    assert "0ther" not in result.output


def test_mistake_without_a_place_is_told_with_where_it_is() -> None:
    [case] = ci_reports.of_mistakes(
        ManifestError(["cannot be read"], position=Position(Path("/manifests")))
    )
    assert (case.group, case.name) == ("manifests", "/manifests")


def test_exit_codes_stand_in_one_table() -> None:
    """What the program ends with is what the page says that it does."""
    page = (ROOT / "docs" / "standalone.md").read_text(encoding="utf-8")
    table = page.partition("## Exit codes")[2].partition("\n## ")[0]
    codes = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")]
    assert codes == ["code", "0", "1", "2", "3", "128 + N"]
