"""Helm at work on the chart without a cluster: what it renders, and what it refuses.

Values go in as a document, as users give them with `--values`. For releases on a cluster see
`helm`.
"""

import copy
import json
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support import tools
from support.helm import CHART, HelmFailed

__all__ = [
    "NAMESPACE",
    "RELEASE",
    "VERSIONS",
    "Helm",
    "HelmFailed",
    "Objects",
    "nested",
    "with_all",
]

RELEASE = "springline"
NAMESPACE = "springline-system"

VERSIONS: Mapping[str, Callable[[], Path]] = {"Helm 3": tools.helm3, "Helm 4": tools.helm4}

# By kind and name, as in `Deployment/springline`.
Objects = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Helm:
    """One program. `directory` takes the place of its user's home."""

    program: Path
    directory: Path

    def run(self, *args: str | Path, values: Mapping[str, Any] | None = None) -> str:
        """Run a command and return its output. Raises `HelmFailed`."""
        environment = {
            "PATH": "/nowhere",  # it needs no other program
            "HOME": str(self.directory),
            "KUBECONFIG": str(self.directory / "no-kubeconfig"),
        }
        command = [str(self.program), *map(str, args)]
        if values is not None:
            command.append("--values=-")
        done = subprocess.run(
            command,
            input=json.dumps(values or {}),
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        if done.returncode != 0:
            raise HelmFailed(done.stderr or done.stdout)
        return done.stdout

    def template(
        self,
        values: Mapping[str, Any],
        *,
        release: str = RELEASE,
        namespace: str = NAMESPACE,
        chart: Path = CHART,
    ) -> list[dict[str, Any]]:
        """Return the objects that the chart renders. Raises `HelmFailed`."""
        text = self.run("template", release, chart, f"--namespace={namespace}", values=values)
        documents = yaml.load_all(text, Loader=_Loader)
        return [document for document in documents if document]

    def objects(self, values: Mapping[str, Any], **options: Any) -> Objects:
        """As `template`, but by kind and name."""
        return {
            f"{each['kind']}/{each['metadata']['name']}": each
            for each in self.template(values, **options)
        }


class _Loader(yaml.CSafeLoader):
    """Refuses what the API server's strict validation refuses: a key that is there twice."""

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep=deep)
        assert len(mapping) == len(node.value), f"a key is there twice: {list(mapping)}"
        return mapping


def nested(path: str, value: object) -> dict[str, Any]:
    """Return the values that set one: `a.b` and 1 are `{"a": {"b": 1}}`."""
    for name in reversed(path.split(".")):
        value = {name: value}
    assert isinstance(value, dict)
    return value


def with_all(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return one document of values of several; later ones count more, as with Helm."""
    merged: dict[str, Any] = {}
    for part in parts:
        _merge(merged, part)
    return merged


def _merge(into: dict[str, Any], part: Mapping[str, Any]) -> None:
    for name, each in part.items():
        if isinstance(each, Mapping) and isinstance(into.get(name), dict):
            _merge(into[name], each)
        else:
            into[name] = copy.deepcopy(each)
