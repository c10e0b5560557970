"""What a check found, in the forms that CI reads: JUnit's XML, and annotations of GitHub Actions.

What is checked is a case, with the place in a file that a person would change. Nothing is written
here, and nothing is decided: a case fails where the check's exit code is not 0 because of it.
"""

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from springline.api.conditions import ConditionStatus, ConditionType
from springline.api.texts import printable
from springline.core.rehearsal import Rehearsal
from springline.core.values import SessionKey
from springline.errors import ManifestError
from springline.positions import STANDARD_INPUT, Position
from springline.standalone.report import Shown

__all__ = [
    "Case",
    "Finding",
    "Severity",
    "annotations",
    "junit",
    "of_checked",
    "of_mistakes",
    "of_rehearsed",
]

_SUITE: Final = "springline check"
_MANIFESTS: Final = "manifests"
_UNUSABLE: Final = "Unusable"


class Severity(enum.Enum):
    """What a finding comes to."""

    ERROR = "error"  # it could not be checked
    FAILURE = "failure"  # it is not as it should be
    WARNING = "warning"  # it is, and still somebody should look


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What is to be said of a case."""

    severity: Severity
    reason: str
    """One word, as in the conditions."""
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One thing that was checked."""

    group: str
    """The namespace of a connection."""
    name: str
    position: Position | None = None
    finding: Finding | None = None
    """None where there is nothing to be said."""


def of_checked(shown: Iterable[Shown], positions: Mapping[SessionKey, Position]) -> list[Case]:
    """Return a case for each connection: it fails unless it is Ready."""
    return [_case(row.view.key, positions, _found(row)) for row in shown]


def _found(row: Shown) -> Finding | None:
    ready, blocked = row.readiness, row.condition(ConditionType.BLOCKED)
    if not row.is_ready:
        return Finding(severity=Severity.FAILURE, reason=ready.reason.value, message=ready.message)
    if blocked.status is ConditionStatus.TRUE:
        message = f"blocked by the broker: {blocked.message}"
        return Finding(severity=Severity.WARNING, reason=blocked.reason.value, message=message)
    return None


def of_rehearsed(
    rehearsals: Iterable[Rehearsal], positions: Mapping[SessionKey, Position]
) -> list[Case]:
    """Return a case for each connection that was tried: it fails unless the rotation would not."""
    return [_case(each.key, positions, _would_fail(each)) for each in rehearsals]


def _would_fail(rehearsal: Rehearsal) -> Finding | None:
    if rehearsal.would_succeed:
        return None
    return Finding(
        severity=Severity.FAILURE,
        reason=rehearsal.reason.value,
        message=rehearsal.message,
    )


def _case(
    key: SessionKey, positions: Mapping[SessionKey, Position], finding: Finding | None
) -> Case:
    return Case(group=key.namespace, name=key.name, position=positions.get(key), finding=finding)


def of_mistakes(error: ManifestError) -> list[Case]:
    """Return a case for each mistake for which nothing was checked."""
    return [
        _mistake(problem, position)
        for position, problem in zip(error.positions, error.problems, strict=True)
    ]


def _mistake(sentence: str, position: Position | None) -> Case:
    finding = Finding(severity=Severity.ERROR, reason=_UNUSABLE, message=sentence)
    name = _MANIFESTS if position is None else str(position)
    return Case(group=_MANIFESTS, name=name, position=position, finding=finding)


# --- JUnit


def junit(cases: Sequence[Case], *, at: datetime, base: Path) -> str:
    """Return a document of one suite. `base` is the directory that paths are told from.

    It is ASCII, so that it stays what it says in every encoding.
    """
    counts = {
        "tests": len(cases),
        "failures": sum(_is(each, Severity.FAILURE) for each in cases),
        "errors": sum(_is(each, Severity.ERROR) for each in cases),
    }
    numbers = {key: str(count) for key, count in counts.items()}
    root = ET.Element("testsuites", {"name": _SUITE, **numbers})
    suite = ET.SubElement(
        root,
        "testsuite",
        {"name": _SUITE, **numbers, "skipped": "0", "timestamp": f"{at:%Y-%m-%dT%H:%M:%S}"},
    )
    for each in cases:
        _add(suite, each, base)
    ET.indent(root)
    written: bytes = ET.tostring(root, encoding="us-ascii", xml_declaration=True)
    return written.decode("ascii")


def _is(case: Case, severity: Severity) -> bool:
    return case.finding is not None and case.finding.severity is severity


def _add(suite: ET.Element, case: Case, base: Path) -> None:
    where = _where(case.position, base)
    where.pop("col", None)  # no reader of JUnit's XML knows columns
    attributes = {"classname": case.group, "name": case.name, **where}
    element = ET.SubElement(
        suite, "testcase", {key: _xml(value) for key, value in attributes.items()}
    )
    finding = case.finding
    if finding is None:
        return
    if finding.severity is Severity.WARNING:
        ET.SubElement(element, "system-out").text = _xml(finding.message)
        return
    attributes = {"type": finding.reason, "message": _xml(finding.message)}
    ET.SubElement(element, finding.severity.value, attributes).text = _xml(finding.message)


def _xml(text: str) -> str:
    return printable(text)  # all that XML 1.0 does not allow cannot be shown, either


def _where(position: Position | None, base: Path) -> dict[str, str]:
    if position is None or position.path == STANDARD_INPUT:
        return {}
    line = {} if position.line is None else {"line": str(position.line)}
    column = {} if position.column is None else {"col": str(position.column)}
    return {"file": _path(position.path, base), **line, **column}


def _path(path: Path, base: Path) -> str:
    """Return the path from `base`, if it is below it: CI knows its repository by such paths."""
    resolved, above = path.resolve(), base.resolve()
    return str(resolved.relative_to(above) if resolved.is_relative_to(above) else path)


# --- annotations


def annotations(cases: Iterable[Case], *, base: Path) -> list[str]:
    """Return a workflow command for each case of which there is something to be said."""
    return [_annotation(each, each.finding, base) for each in cases if each.finding is not None]


def _annotation(case: Case, finding: Finding, base: Path) -> str:
    command = "warning" if finding.severity is Severity.WARNING else "error"
    is_mistake = finding.severity is Severity.ERROR
    title = "manifest cannot be used" if is_mistake else f"{case.group}/{case.name}"
    properties = {**_where(case.position, base), "title": f"{title}: {finding.reason}"}
    if is_mistake:
        properties["title"] = title
    told = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{command} {told}::{_data(finding.message)}"


def _data(text: str) -> str:
    # Nothing that others say can end the line and begin a command of its own.
    return printable(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
