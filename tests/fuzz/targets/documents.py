"""Files with declarations and Secrets, and the same as documents of an API server."""

from pathlib import Path
from typing import Any

from fuzz import oracles
from fuzz.cases import Case
from fuzz.json_mutations import change_value
from fuzz.mutations import change_lines
from fuzz.targets import Target
from springline.api import documents
from springline.errors import ManifestError
from springline.positions import Position
from springline.standalone import yaml_documents

__all__ = ["TARGET"]

_LONGEST = 2048
"""Characters of one sentence on what is wrong."""


def run(case: Case) -> None:
    """Read each part as YAML and as JSON, and what comes of that as one of our objects."""
    for part in case:
        for is_json in (False, True):
            try:
                found = yaml_documents.load(part, path=Path("orders.yaml"), is_json=is_json)
            except ManifestError as error:
                _look_at(error)
                continue
            for each in found:
                assert each.begin >= (1, 1)
                assert all(place >= (1, 1) for place in each.places.values())
                _take(each.content)


def _take(content: Any) -> None:
    identity = documents.identify(content)
    if identity is not None:
        str(identity)
    is_secret = isinstance(content, dict) and content.get("kind") == "Secret"
    for unknown in ("refuse", "ignore"):
        try:
            documents.parse(
                content,
                where=lambda _: Position(Path("orders.yaml")),
                unknown="refuse" if unknown == "refuse" else "ignore",
            )
        except ManifestError as error:
            _look_at(error, is_secret=is_secret)


def _look_at(error: ManifestError, *, is_secret: bool = False) -> None:
    assert error.problems
    for problem in error.problems:
        assert len(problem) <= _LONGEST, f"a sentence has {len(problem)} characters"
        assert problem.isprintable(), "a sentence is not printable"
        problem.encode()
    if is_secret:
        oracles.check_texts(error.problems, what="what is said of a Secret")
    assert error.__cause__ is None or not is_secret


TARGET = Target(name="documents", run=run, share=3, mutations=(change_value, change_lines))
