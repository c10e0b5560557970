"""What of the chart is written from elsewhere: copies of crds/, metadata, a dashboard, a table.

Helm packs only what lies in the chart's folder, so the CustomResourceDefinitions are there a second
time. Run `make chart` to write everything anew; a test holds it in step.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import springline
from support import chart_metadata, dashboard

__all__ = ["CHART", "Value", "undocumented", "values", "written"]

ROOT = Path(__file__).resolve().parents[2]
CRDS = ROOT / "crds"
CHART = ROOT / "charts" / "springline"
METADATA = "  # `make chart` writes what is below.\n"
BEGIN, END = "<!-- values: begin -->", "<!-- values: end -->"

_KEY = re.compile(r"^( *)([A-Za-z]\w*):")
_COMMENT = re.compile(r"^ *# ?(.*)$")
_DOCUMENTATION = "-- "


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A value of the chart that has a row of its own."""

    path: str
    default: Any
    description: str


def written() -> dict[Path, str]:
    """Return what is written from elsewhere, as it should be, by its path in the chart."""
    copies = {
        Path("files", "crds", path.name): path.read_text(encoding="utf-8")
        for path in sorted(CRDS.glob("*.yaml"))
    }
    return {
        **copies,
        Path("files", "dashboards", dashboard.FILE): dashboard.DASHBOARD.text(),
        Path("Chart.yaml"): _chart(),
        Path("README.md"): _readme(),
    }


def values() -> list[Value]:
    """Return the documented values, in the order of values.yaml."""
    defaults = _defaults()
    return [
        Value(path=path, default=_at(defaults, path), description=description)
        for path, description in _keys()
        if description
    ]


def undocumented() -> list[str]:
    """Return the paths of values that no comment explains, neither their own nor one above them."""
    documented = {value.path for value in values()}
    return [path for path in _leaves(_defaults()) if not _ways_to(path) & documented]


def _defaults() -> dict[str, Any]:
    defaults: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return defaults


def _keys() -> Iterator[tuple[str, str]]:
    """Yield the path of each key, and its documentation if the comment above it is that."""
    above: list[str] = []
    parents: list[tuple[int, str]] = []
    for line in (CHART / "values.yaml").read_text(encoding="utf-8").splitlines():
        if comment := _COMMENT.match(line):
            above.append(comment[1])
            continue
        if key := _KEY.match(line):
            indent = len(key[1])
            parents = [each for each in parents if each[0] < indent] + [(indent, key[2])]
            text = " ".join(above)
            documentation = text.removeprefix(_DOCUMENTATION) if _is_documentation(text) else ""
            yield ".".join(name for _, name in parents), documentation
        above = []


def _is_documentation(comment: str) -> bool:
    return comment.startswith(_DOCUMENTATION)


def _at(defaults: dict[str, Any], path: str) -> Any:
    found: Any = defaults
    for name in path.split("."):
        found = found[name]
    return found


def _leaves(defaults: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for name, each in defaults.items():
        if isinstance(each, dict) and each:
            yield from _leaves(each, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


def _ways_to(path: str) -> set[str]:
    names = path.split(".")
    return {".".join(names[: length + 1]) for length in range(len(names))}


def _chart() -> str:
    text = (CHART / "Chart.yaml").read_text(encoding="utf-8")
    text = re.sub(r"(?m)^version: .*$", f"version: {springline.__version__}", text)
    text = re.sub(r"(?m)^appVersion: .*$", f'appVersion: "{springline.__version__}"', text)
    text = re.sub(r"(?m)^icon: .*$", f"icon: {chart_metadata.icon()}", text)
    kept, _, _ = text.partition(METADATA)
    repository = _defaults()["image"]["repository"]
    annotations = chart_metadata.annotations(repository).items()
    return kept + METADATA + "".join(_annotation(name, text) for name, text in annotations)


def _annotation(name: str, text: str) -> str:
    """One of Artifact Hub: a word in its line, and a list below it."""
    if "\n" not in text:
        return f'  artifacthub.io/{name}: "{text}"\n'
    return f"  artifacthub.io/{name}: |\n{textwrap.indent(text, '    ')}"


def _readme() -> str:
    text = (CHART / "README.md").read_text(encoding="utf-8")
    before, rest = text.split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    return f"{before}{BEGIN}\n{_table()}\n{END}{after}"


def _table() -> str:
    rows = ["| value | default | meaning |", "|---|---|---|"]
    for value in values():
        default = json.dumps(value.default, ensure_ascii=False)
        cells = (f"`{value.path}`", f"`{default}`", value.description)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join(rows)


def main() -> None:
    """Write the files."""
    expected = written()
    for path in sorted((CHART / "files" / "crds").glob("*")):
        if path.relative_to(CHART) not in expected:
            path.unlink()
    for path, text in expected.items():
        (CHART / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
