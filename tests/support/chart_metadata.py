"""What Chart.yaml says that is written elsewhere: the icon, and annotations for Artifact Hub.

Artifact Hub reads lists as texts of YAML. The icon is in the chart itself, so that it shows where
nothing can be fetched. `chart_files` writes them.
"""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

import springline

__all__ = ["KINDS", "annotations", "icon", "latest_changes"]

ROOT = Path(__file__).resolve().parents[2]

# What Artifact Hub calls a kind of change, by the heading in the changelog.
KINDS = ("added", "changed", "deprecated", "removed", "fixed", "security")

# With one manifest for each kind of ours.
_EXAMPLES = (
    Path("examples", "tls", "broker.yaml"),
    Path("examples", "tls", "connection.yaml"),
    Path("examples", "cluster-broker", "platform.yaml"),
)


def icon() -> str:
    """Return the picture as a URL that holds it."""
    picture = (ROOT / "docs" / "images" / "springline.svg").read_bytes()
    return f"data:image/svg+xml;base64,{base64.b64encode(picture).decode()}"


def annotations(repository: str) -> dict[str, str]:
    """Return those that change by themselves; `repository` is the image's."""
    images = [{"name": "springline", "image": f"{repository}:{springline.__version__}"}]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    lists: dict[str, list[dict[str, Any]]] = {
        "changes": latest_changes(changelog, springline.__version__),
        "crds": list(_definitions()),
        "crdsExamples": list(_examples()),
        "images": images,
    }
    # Before 1.0 anything may still change.
    unfinished = re.match(r"0\.|.*[a-z-]", springline.__version__) is not None
    return {
        "prerelease": str(unfinished).lower(),
        **{name: _text(each) for name, each in lists.items()},
    }


def latest_changes(changelog: str, version: str) -> list[dict[str, str]]:
    """Return the entries of a version, or of what is not released yet where it has none."""
    sections = dict(re.findall(r"(?ms)^## \[([^\]]+)\][^\n]*\n(.*?)(?=^## |\Z)", changelog))
    section = sections.get(version) or sections["Unreleased"]
    return [
        {"kind": heading.lower(), "description": _plain(entry)}
        for heading, entries in re.findall(r"(?ms)^### (\w+)\n(.*?)(?=^### |\Z)", section)
        for entry in re.findall(r"(?ms)^- (.*?)(?=^- |\Z)", entries)
    ]


def _plain(entry: str) -> str:
    """An entry as one line: what is below it follows it, and a link is its text."""
    line = re.sub(r"\n *(?:- )?", " ", entry).strip()
    return re.sub(r"\[([^\]]+)\]\([^)]+\)", r"\1", line)


def _definitions() -> Iterator[dict[str, str]]:
    for path in sorted((ROOT / "crds").glob("*.yaml")):
        definition = yaml.safe_load(path.read_text(encoding="utf-8"))
        kind = definition["spec"]["names"]["kind"]
        [version] = [each for each in definition["spec"]["versions"] if each["storage"]]
        yield {
            "kind": kind,
            "version": version["name"],
            "name": definition["metadata"]["name"],
            "displayName": re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind),
            "description": version["schema"]["openAPIV3Schema"]["description"],
        }


def _examples() -> Iterator[dict[str, Any]]:
    for path in _EXAMPLES:
        for document in yaml.safe_load_all((ROOT / path).read_text(encoding="utf-8")):
            if document["apiVersion"].startswith("springline.dev/"):
                yield document


def _text(value: list[dict[str, Any]]) -> str:
    return yaml.safe_dump(value, sort_keys=False, width=10**6, allow_unicode=True)
