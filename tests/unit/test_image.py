"""The image, as far as it can be judged without building it; tests/image builds and runs it."""

import ast
import json
import re
import runpy
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path, PurePath
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from support.amqp10_library import MISSING

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
    """A version that the project names, and compiled on the base itself."""
    bases = [said(stage, "FROM")[0].split()[0] for stage in stages()]
    assert bases == ["${BUILD_BASE}", "${BASE}", "${BASE}"]
    arguments = [rest for name, rest in instructions() if name == "ARG"]
    assert "BUILD_BASE=${BASE}" in arguments
    [base] = [rest for rest in arguments if rest.startswith("BASE=")]
    version = re.fullmatch(r"BASE=python:(\d+\.\d+)(\.\d+)?-slim-\w+", base)
    assert version is not None
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert f"Programming Language :: Python :: {version[1]}" in project["classifiers"]


def test_it_does_not_run_as_root() -> None:
    """By number: Kubernetes cannot see who a name is."""
    assert said(stages()[-1], "USER") == ["65532:65532"]
    [entry_point] = said(stages()[-1], "ENTRYPOINT")
    assert json.loads(entry_point)[-1] == "springline"


def test_the_last_stage_runs_nothing() -> None:
    """It takes what was built, and nothing to build with."""
    last = stages()[-1]
    assert said(last, "COPY") == [
        "--from=compiled /standard-library /",
        "--from=compiled /opt/springline /opt/springline",
    ]
    assert said(last, "RUN") == []


def test_versions_are_those_that_are_tested() -> None:
    """Every installation of something else heeds constraints.txt, and none has extras."""
    installations = [
        command
        for run in said(stages()[0], "RUN")
        for command in run.split("&&")
        if re.search(r"/bin/pip\b.* (install|wheel) ", command)
    ]
    assert len(installations) == 4
    for command in installations:
        ours = "--no-deps /wheel/" in command
        assert ours or "--constraint constraints.txt" in command
        # By the option alone: pip takes PIP_NO_COMPILE=1 for the opposite of what it says.
        assert "--no-compile" in command or "/opt/springline" not in command
    assert not re.search(r"\[\w+\]\s", " ".join(installations))
    assert ":latest" not in (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_library_for_amqp_10_is_built_without_what_is_not_used_of_it() -> None:
    """It finds neither Cyrus SASL nor OpenSSL, and is built with what is pinned, as all else is."""
    [build] = [
        command
        for run in said(stages()[0], "RUN")
        for command in run.split("&&")
        if " wheel " in command and "/opt/pip/bin/pip" in command
    ]
    assert "PKG_CONFIG_PATH= PKG_CONFIG_LIBDIR=/dev/null " in build
    assert "--no-binary python-qpid-proton" in build
    assert "--no-build-isolation" in build


def test_everything_in_it_is_pinned() -> None:
    """What Springline needs, what that needs in turn, and what it is built with."""
    pytest.importorskip("proton", reason=MISSING)
    tools = {"cffi", "hatchling", "setuptools"}
    together = tools.union(in_image(), *map(needed, tools))
    assert {name for name in together if name not in PINNED} == set()


def in_image() -> set[str]:
    """The names of what Springline needs in the image, where it has the extra amqp10."""
    return needed("springline", extra="amqp10")


def needed(name: str, seen: set[str] | None = None, *, extra: str = "") -> set[str]:
    """The names of what a distribution needs, and so on, with no extra but that one of its own."""
    seen = set() if seen is None else seen
    for line in metadata.requires(name) or ():
        requirement = Requirement(line)
        other = canonicalize_name(requirement.name)
        environment = {"extra": extra}
        if other in seen or (requirement.marker and not requirement.marker.evaluate(environment)):
            continue
        seen.add(other)
        needed(other, seen)
    return seen


def copied() -> Iterator[str]:
    """What the first stage takes from the repository."""
    for rest in [copy for stage in stages() for copy in said(stage, "COPY")]:
        if not rest.startswith("--from="):
            *sources, _ = rest.split()
            yield from sources


@pytest.mark.parametrize("source", sorted(set(copied())))
def test_what_is_copied_is_there_and_sent_along(source: str) -> None:
    """.dockerignore leaves out everything that it does not name."""
    path = ROOT / source
    files = [path] if path.is_file() else [each for each in path.rglob("*.py") if each.is_file()]
    assert files
    for file in files:
        assert not ignored(str(file.relative_to(ROOT)))


@pytest.mark.parametrize(
    "path",
    [
        ".git",
        ".venv/bin/python",
        "tests/conftest.py",
        "examples/README.md",
        "bench-results",
        "kubeconfig",
        "image/build.sh",
        "operator/notes.txt",
        "operator/springline/core/__pycache__/session.cpython-313.pyc",
    ],
)
def test_what_is_not_copied_is_not_sent_along(path: str) -> None:
    """Not even what happens to lie there."""
    assert ignored(path)


def ignored(path: str) -> bool:
    """Whether .dockerignore leaves a path out: the last pattern that matches it decides.

    A pattern also matches everything below what it matches.
    """
    result = False
    names = path.split("/")
    beginnings = ["/".join(names[:end]) for end in range(1, len(names) + 1)]
    for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines():
        pattern = line.strip()
        if not pattern or pattern.startswith("#"):
            continue
        if any(_matches(beginning, pattern.removeprefix("!")) for beginning in beginnings):
            result = not pattern.startswith("!")
    return result


def _matches(path: str, pattern: str) -> bool:
    """As docker does it: `*` stays within one name, `**/` is any number of them."""
    parts = [
        "(?:.*/)?" if part == "**/" else "[^/]*" if part == "*" else re.escape(part)
        for part in re.split(r"(\*\*/|\*)", pattern)
    ]
    return re.fullmatch("".join(parts), path) is not None


# What is left out of it: image/trim.py


@pytest.fixture(scope="module")
def trimming() -> dict[str, Any]:
    """What image/trim.py says."""
    return runpy.run_path(str(ROOT / "image" / "trim.py"))


@pytest.fixture(scope="module")
def imported() -> set[Path]:
    """The files of everything that Springline imports, also of what it imports only when needed."""
    pytest.importorskip("proton", reason=MISSING)
    code = f"""
import importlib, pkgutil, springline, sys
for found in pkgutil.walk_packages(springline.__path__, "springline."):
    if not found.name.endswith(".__main__"):
        importlib.import_module(found.name)
for name in {sorted(set(imported_when_needed()))}:
    importlib.import_module(name)
print(*{{getattr(each, "__file__", None) or "" for each in sys.modules.values()}}, sep="\\n")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True
    )
    return {Path(line) for line in done.stdout.splitlines() if line}


def imported_when_needed() -> Iterator[str]:
    """The modules of others that our functions import."""
    for source in (ROOT / "operator" / "springline").rglob("*.py"):
        for function in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for node in ast.walk(function):
                    if isinstance(node, ast.Import):
                        yield from (each.name for each in node.names)
                    elif isinstance(node, ast.ImportFrom) and node.module:
                        yield node.module


def files_of(name: str) -> set[Path]:
    distribution = metadata.distribution(name)
    return {Path(str(distribution.locate_file(file))) for file in distribution.files or ()}


def test_distributions_are_left_out_that_nothing_imports(
    trimming: dict[str, Any], imported: set[Path]
) -> None:
    """All of them, and no others: whatever is installed and not imported is on the list."""
    unused = {name for name in in_image() if not files_of(name) & imported}
    assert {canonicalize_name(name) for name in trimming["unused_distributions"]} == unused


def test_what_stays_of_a_package_is_what_is_imported(
    trimming: dict[str, Any], imported: set[Path]
) -> None:
    """Nothing that is imported is left out."""
    for name, patterns in trimming["parts"].items():
        root = Path(str(metadata.distribution(name).locate_file(name)))
        used = {str(path.relative_to(root)) for path in imported if root in path.parents}
        assert used
        assert {each for each in used if not any(map(PurePath(each).match, patterns))} == set()


def test_no_file_is_left_out_that_is_imported(
    trimming: dict[str, Any], imported: set[Path]
) -> None:
    """Tests of libraries, sources of extension modules, stubs."""
    packages = Path(str(metadata.distribution("kopf").locate_file("")))
    for pattern in trimming["of_no_use"]:
        left_out = {file for path in packages.glob(pattern) for file in (path, *path.rglob("*"))}
        assert left_out & imported == set()


# How it is built: image/build.sh


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine with some builders; each writes down what it is asked."""

    programs: Path
    asked: Path

    def has(self, name: str, *, works: bool) -> Path:
        """Install a builder; one that does not work is a client without its daemon."""
        program = self.programs / name
        program.write_text(
            f'#!/bin/sh\nif [ "$1" = info ]; then exit {0 if works else 1}; fi\n'
            f'echo "$(basename "$0") $*" >{self.asked}\n',
            encoding="utf-8",
        )
        program.chmod(0o755)
        return program

    def make(self, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "image" / "build.sh"],
            env={"PATH": str(self.programs), "SOURCE_DATE_EPOCH": "86400", **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """One that has what every machine has, and no builder."""
    programs = tmp_path / "bin"
    programs.mkdir()
    for name in ("sh", "sed", "git", "date", "dirname", "basename"):
        tool = shutil.which(name)
        assert tool is not None
        (programs / name).symlink_to(tool)
    return Machine(programs, tmp_path / "asked")


@pytest.mark.parametrize(
    ("works", "chosen"),
    [
        pytest.param({"docker": True, "podman": True}, "docker", id="docker comes first"),
        pytest.param({"docker": False, "podman": True}, "podman", id="docker without its daemon"),
        pytest.param({"docker": False, "buildah": True}, "buildah", id="only buildah works"),
    ],
)
def test_the_first_builder_that_works_is_taken(
    machine: Machine, works: dict[str, bool], chosen: str
) -> None:
    """A client that is installed is no builder yet."""
    for name, does in works.items():
        machine.has(name, works=does)
    done = machine.make(IMAGE="registry.example/springline:1")
    assert done.returncode == 0, done.stderr
    asked = machine.asked.read_text(encoding="utf-8")
    assert asked.startswith(f"{chosen} build ")
    assert "--tag registry.example/springline:1 " in asked
    assert "CREATED=1970-01-02T00:00:00Z" in asked
    assert "BASE=" not in asked  # the Dockerfile's own
    assert ("--timestamp 86400" in asked) == (chosen != "docker")


def test_a_builder_can_be_named(machine: Machine, tmp_path: Path) -> None:
    """Also by its path; then no other is taken."""
    machine.has("docker", works=True)
    podman = machine.has("podman", works=True).rename(tmp_path / "podman")
    done = machine.make(
        BUILDER=str(podman), BASE="debian:13", BUILD_BASE="gcc:15", PLATFORM="linux/arm64"
    )
    assert done.returncode == 0, done.stderr
    asked = machine.asked.read_text(encoding="utf-8")
    assert asked.startswith("podman build ")
    for each in ("--build-arg BASE=debian:13", "BUILD_BASE=gcc:15", "--platform linux/arm64"):
        assert each in asked


def test_what_cannot_build_is_named(machine: Machine) -> None:
    """With what is wrong with each."""
    machine.has("docker", works=False)
    done = machine.make()
    assert done.returncode == 1
    assert "needs docker, podman or buildah" in done.stderr
    assert "docker is here but cannot build" in done.stderr
    assert "buildah is not here" in done.stderr
    named = machine.make(BUILDER="docker")
    assert named.returncode == 1
    assert "docker is here but cannot build" in named.stderr
    assert not machine.asked.exists()
