"""The image, as far as it can be judged without building it: see `make image`."""

import fnmatch
import re
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PINNED = {
    canonicalize_name(name): version
    for name, version in re.findall(
        r"(?m)^([\w.-]+)==(\S+)$", (ROOT / "constraints.txt").read_text()
    )
}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions and what they say, without comments; lines are joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = re.sub(r"(?m)^#.*\n", "", text).replace("\\\n", " ").splitlines()
    return [
        (name, rest.strip()) for name, _, rest in (line.partition(" ") for line in lines) if name
    ]


def stages() -> list[list[tuple[str, str]]]:
    """Instructions by stage, each beginning with its FROM."""
    found: list[list[tuple[str, str]]] = []
    for name, rest in instructions():
        if name == "FROM":
            found.append([])
        if found:
            found[-1].append((name, rest))
    return found


def said(stage: list[tuple[str, str]], name: str) -> list[str]:
    return [rest for each, rest in stage if each == name]


def test_it_is_built_on_one_line_of_python() -> None:
    """The same in both stages, or the modules that were compiled would be of no use."""
    assert {said(stage, "FROM")[0].split()[0] for stage in stages()} == {"${BASE}"}
    [base] = [rest for name, rest in instructions() if name == "ARG" and rest.startswith("BASE=")]
    version = re.fullmatch(r"BASE=python:(\d+\.\d+)(\.\d+)?-slim-\w+", base)
    assert version is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]


def test_it_does_not_run_as_root() -> None:
    """By number: Kubernetes cannot see who a name is."""
    assert said(stages()[-1], "USER") == ["65532:65532"]
    assert said(stages()[-1], "ENTRYPOINT") == ['["springline"]']


def test_the_last_stage_installs_nothing() -> None:
    """It takes what was built, and nothing to build with."""
    last = stages()[-1]
    assert said(last, "COPY") == ["--from=build /opt/springline /opt/springline"]
    [run] = said(last, "RUN")
    assert "uninstall" in run
    assert not re.search(r"\b(?<!un)install\b|apt|curl|wget", run)


def test_versions_are_those_that_are_tested() -> None:
    """Every installation of something else heeds constraints.txt, and none has extras."""
    installations = [
        command
        for run in said(stages()[0], "RUN")
        for command in run.split("&&")
        if re.search(r"\bpip\b.* install ", command)
    ]
    assert len(installations) == 3
    for command in installations:
        ours = "--no-deps /wheel/" in command
        assert ours or "--constraint constraints.txt" in command
    assert not re.search(r"\[\w+\]\s", " ".join(installations))
    assert ":latest" not in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_everything_in_it_is_pinned() -> None:
    """What Springline needs, what that needs in turn, and what it is built with."""
    together = needed("springline") | {"hatchling"} | needed("hatchling")
    assert {name for name in together if name not in PINNED} == set()


def needed(name: str, seen: set[str] | None = None) -> set[str]:
    """The names of what a distribution needs, and so on, without extras."""
    seen = set() if seen is None else seen
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        other = canonicalize_name(requirement.name)
        if other in seen or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        seen.add(other)
        needed(other, seen)
    return seen


def copied() -> Iterator[str]:
    """What the first stage takes from the repository."""
    for rest in said(stages()[0], "COPY"):
        *sources, _ = rest.split()
        yield from sources


@pytest.mark.parametrize("source", list(copied()))
def test_what_is_copied_is_there_and_sent_along(source: str) -> None:
    """.dockerignore leaves out everything that it does not name."""
    assert (ROOT / source).exists()
    assert not ignored(source)


@pytest.mark.parametrize(
    "path", [".git", ".venv", "tests", "examples", "bench-results", "kubeconfig"]
)
def test_what_is_not_copied_is_not_sent_along(path: str) -> None:
    """Not even what happens to lie there."""
    assert ignored(path)


def ignored(path: str) -> bool:
    """Whether .dockerignore leaves a path out: the last pattern that matches it decides."""
    result = False
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        if fnmatch.fnmatch(path, pattern.removeprefix("!")):
            result = not pattern.startswith("!")
    return result
