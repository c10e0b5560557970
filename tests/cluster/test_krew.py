"""kubectl springline out of its archive for krew: with a Python that has nothing installed."""

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from springline import __version__
from support import krew, tools
from support.kubectl import Kubectl
from support.team import Team

SUPPORTED = ["3.11", "3.12", "3.13"]
# What the script calls, beside a Python.
NEEDED = ("basename", "dirname", "readlink", "sed")


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> krew.Packed:
    """Manifest and archive of this checkout."""
    try:
        return krew.packed(tmp_path_factory.mktemp("packed"))
    except krew.KrewMissing as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="module")
def unpacked(packed: krew.Packed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive in an empty directory."""
    directory = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(packed.archive) as archive:
        archive.extractall(directory, filter="data")
    return directory


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment with a Python of the system's and no program of ours, but kubectl."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in NEEDED:
        (programs / name).symlink_to(str(shutil.which(name)))
    python = Path(sys.executable).resolve()
    (programs / "python3").symlink_to(python)
    path = os.pathsep.join([str(programs), str(tools.kubectl().parent)])
    without = [str(python), "-I", "-S", "-c", "import click"]
    assert subprocess.run(without, capture_output=True, check=False).returncode != 0
    return {"PATH": path, "HOME": str(tmp_path), "LANG": "C.UTF-8"}


def ran(
    environment: Mapping[str, str], plugins: Path, *words: str
) -> subprocess.CompletedProcess[str]:
    """Run kubectl, which finds the plugin in a directory."""
    path = os.pathsep.join([str(plugins), environment["PATH"]])
    return subprocess.run(
        [tools.kubectl(), *words],
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=90,
    )


def test_the_manifest_says_what_krew_asks_for(packed: krew.Packed) -> None:
    """The version is Springline's, and the sum that of the archive."""
    document = packed.document
    assert document["apiVersion"] == "krew.googlecontainertools.github.com/v1alpha2"
    assert (document["kind"], document["metadata"]["name"]) == ("Plugin", "springline")
    spec = document["spec"]
    assert spec["version"] == f"v{__version__}"
    assert 0 < len(spec["shortDescription"]) <= 50
    [platform] = spec["platforms"]
    assert platform["sha256"] == hashlib.sha256(packed.archive.read_bytes()).hexdigest()
    assert platform["uri"].startswith("https://")
    assert platform["uri"].endswith(f"/{packed.archive.name}")
    assert platform["selector"]["matchLabels"].keys() == {"os", "arch"}


def test_the_archive_is_the_same_whenever_it_is_built(packed: krew.Packed, tmp_path: Path) -> None:
    """Byte by byte, so that its sum can be published."""
    again = krew.packed(tmp_path)
    assert again.archive.read_bytes() == packed.archive.read_bytes()


def test_the_archive_has_programs_a_licence_and_nothing_of_this_machine(
    packed: krew.Packed, unpacked: Path
) -> None:
    """krew takes no plugin without a licence, and calls what the manifest names."""
    [platform] = packed.document["spec"]["platforms"]
    assert os.access(unpacked / platform["bin"], os.X_OK)
    assert (unpacked / "LICENSE").is_file()
    with tarfile.open(packed.archive) as archive:
        assert {(each.uid, each.gid, each.uname) for each in archive} == {(0, 0, "")}
    supported = (unpacked / "pythons").read_text(encoding="utf-8").split()
    for python in supported:
        tag = f"cpython-{python.replace('.', '')}-"
        assert list(unpacked.glob(f"lib/pydantic_core/*{tag}*.so")), python


def test_a_reason_is_explained_without_a_cluster(bare: dict[str, str], unpacked: Path) -> None:
    """kubectl finds the plugin in PATH."""
    done = ran(bare, unpacked, "springline", "explain", "VirtualHostNotFound")
    assert done.returncode == 0, done.stderr
    assert "the broker has no such virtual host" in done.stdout
    assert ran(bare, unpacked, "springline", "--version").stdout.split()[-1] == __version__


@pytest.mark.parametrize("version", SUPPORTED)
def test_manifests_are_tried_by_each_python(
    bare: dict[str, str], unpacked: Path, version: str
) -> None:
    """All that `check` needs is in the archive: it gets as far as a name that does not exist."""
    assert (unpacked / "pythons").read_text(encoding="utf-8").split() == SUPPORTED
    python = Path(bare["PATH"].split(os.pathsep)[0], "python3")
    python.unlink()
    python.symlink_to(interpreter(version))
    examples = Path(__file__).resolve().parents[2] / "examples"
    done = ran(bare, unpacked, "springline", "check", "-f", str(examples / "dns-srv"))
    assert done.returncode == 1, done.stderr
    assert "NameResolutionFailed" in done.stdout


def interpreter(version: str) -> str:
    """Return a Python of a version, in PATH or among those of pyenv; skip where there is none."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    candidates = [f"python{version}", *pyenv.glob(f"versions/{version}.*/bin/python3")]
    for candidate in candidates:
        ask = [str(candidate), "-I", "-c", "import sys; print(sys.executable)"]
        try:
            done = subprocess.run(ask, capture_output=True, text=True, check=True, timeout=60)
        except (OSError, subprocess.CalledProcessError):
            continue  # a shim of pyenv may only say that it is none
        return done.stdout.strip()
    pytest.skip(f"there is no Python {version}")


def test_an_older_python_is_passed_over_or_refused_in_words(
    bare: dict[str, str], unpacked: Path
) -> None:
    """Where `python3` is one that nothing was compiled for."""
    supported = (unpacked / "pythons").read_text(encoding="utf-8").split()
    without = unpacked.parent / "without"
    shutil.copytree(unpacked, without, ignore=shutil.ignore_patterns("lib"))
    (without / "pythons").write_text("3.1\n", encoding="utf-8")
    done = ran(bare, without, "springline", "explain")
    assert done.returncode == 2
    assert re.match(r"error: kubectl springline needs Python 3\.1; \S+ is 3\.\d+", done.stderr)
    programs = Path(bare["PATH"].split(os.pathsep)[0])
    (programs / "python3").unlink()
    done = ran(bare, unpacked, "springline", "explain")
    assert done.returncode == 2
    assert f"needs Python {', '.join(supported)}, and there is none in PATH" in done.stderr


async def test_status_is_asked_of_a_real_cluster(
    team: Team, kubectl: Kubectl, bare: dict[str, str], unpacked: Path
) -> None:
    """With the rights of the kubeconfig."""
    await team.declare("orders")
    await team.until_ready("orders")
    environment = {**bare, "KUBECONFIG": str(kubectl.kubeconfig)}
    done = ran(environment, unpacked, "springline", "status", "orders", "-n", team.namespace)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^Ready: +yes", done.stdout, re.MULTILINE)
    completed = ran(environment, unpacked, "__complete", "springline", "reconnect", "-n", "x", "")
    assert completed.returncode == 0, completed.stderr


def test_krew_installs_it(packed: krew.Packed, bare: dict[str, str], tmp_path: Path) -> None:
    """The real krew takes the manifest and the archive, and kubectl finds what it has linked."""
    try:
        program = krew.krew()
    except krew.KrewMissing as missing:
        pytest.skip(str(missing))
    root = tmp_path / "krew"
    done = subprocess.run(
        [program, "install", f"--manifest={packed.manifest}", f"--archive={packed.archive}"],
        env={**os.environ, "HOME": str(tmp_path), "KREW_ROOT": str(root)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "Installed plugin: springline" in done.stderr
    explained = ran(bare, root / "bin", "springline", "explain", "VirtualHostNotFound")
    assert explained.returncode == 0, explained.stderr
