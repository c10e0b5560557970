"""Build what krew installs: an archive for each platform, and the manifest that names them.

    python deploy/krew/pack.py DIRECTORY [--uri URI] [OS/ARCH…]

An archive has the plugin with all of its libraries, in the versions of constraints.txt, and with
what is compiled in them for each Python that Springline supports. `make krew` runs it. The same
commit gives the same archives.
"""

import argparse
import gzip
import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import trim
import yaml

__all__ = ["PLATFORMS", "main", "pythons"]

HERE: Final = Path(__file__).resolve().parent
ROOT: Final = HERE.parents[1]

PLATFORMS: Final = {
    # Tags of wheels; all are those of the GNU C library.
    "linux/amd64": ("manylinux2014_x86_64", "manylinux_2_28_x86_64"),
    "linux/arm64": ("manylinux2014_aarch64", "manylinux_2_28_aarch64"),
}

_COMMANDS: Final = ("kubectl-springline", "kubectl_complete-springline")
_OF_PIP: Final = ("bin", "*.dist-info/direct_url.json", "*.dist-info/RECORD")


def pythons() -> list[str]:
    """Return the versions of Python that Springline supports, the oldest first."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = (each.rpartition(":: ")[2] for each in project["classifiers"])
    return [each for each in named if each.startswith("3.")]


def main() -> None:
    """Write archives and manifest to the directory that the command line names."""
    parser = argparse.ArgumentParser(description="Build what krew installs.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--uri", default="https://downloads.example.com/springline")
    parser.add_argument("platforms", nargs="*", metavar="OS/ARCH")
    given = parser.parse_args()
    if unknown := set(given.platforms) - PLATFORMS.keys():
        parser.error(f"no platform: {', '.join(sorted(unknown))}; there are {', '.join(PLATFORMS)}")
    given.directory.mkdir(parents=True, exist_ok=True)
    platforms = []
    with tempfile.TemporaryDirectory() as temporary:
        wheel = _wheel(Path(temporary) / "wheel")
        for platform in given.platforms or PLATFORMS:
            print(f"Packing for {platform}…")
            packed = Path(temporary) / platform.replace("/", "-")
            _gather(packed, wheel, platform)
            archive = given.directory / f"kubectl-springline-{_version()}-{packed.name}.tar.gz"
            _pack(packed, archive)
            platforms.append(_platform(platform, archive, given.uri))
    path = given.directory / "springline.yaml"
    path.write_text(_manifest(platforms), encoding="utf-8")
    print(f"{path} and its archives are written.")


def _manifest(platforms: list[dict[str, Any]]) -> str:
    """Return the manifest: what is written by hand, and then what is not."""
    more = yaml.safe_dump({"version": f"v{_version()}", "platforms": platforms}, sort_keys=False)
    by_hand = (HERE / "springline.yaml").read_text(encoding="utf-8")
    return by_hand + textwrap.indent(more, "  ")


def _version() -> str:
    code = (ROOT / "operator" / "springline" / "__init__.py").read_text(encoding="utf-8")
    return code.partition('__version__ = "')[2].partition('"')[0]


def _wheel(directory: Path) -> Path:
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory"]
    subprocess.run([*command, directory], cwd=ROOT, check=True, capture_output=True)
    [wheel] = directory.glob("*.whl")
    return wheel


def _gather(packed: Path, wheel: Path, platform: str) -> None:
    """Put all that the archive holds into a directory."""
    library = packed / "lib"
    # The oldest first: what later ones have in their standard library is installed for it.
    first, *others = pythons()
    _install(library, wheel, platform, first)
    trim.trim(library, is_complete=False)
    for python in others:
        # All that differs from one Python to the next is what is compiled, and is named by it.
        installed = packed / f"of-{python}"
        _install(installed, wheel, platform, python)
        for path in installed.rglob("*.so"):
            target = library / path.relative_to(installed)
            if target.parent.exists() and not target.exists():
                path.rename(target)
        shutil.rmtree(installed)
    for pattern in _OF_PIP:
        for path in library.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for name in _COMMANDS:
        shutil.copy(HERE / "kubectl-springline", packed / name)
    shutil.copy(HERE / "start.py", packed)
    shutil.copy(ROOT / "LICENSE", packed)
    (packed / "pythons").write_text("\n".join(pythons()) + "\n", encoding="utf-8")


def _install(into: Path, wheel: Path, platform: str, python: str) -> None:
    """Install Springline with what it needs as wheels for a platform and a Python."""
    tag = python.replace(".", "")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    options = ["--only-binary=:all:", "--implementation=cp", f"--python-version={tag}"]
    options += [f"--abi={each}" for each in (f"cp{tag}", "abi3", "none")]
    options += [f"--platform={each}" for each in PLATFORMS[platform]]
    options += ["--no-compile", f"--constraint={ROOT / 'constraints.txt'}", f"--target={into}"]
    done = subprocess.run(
        [*command, *options, wheel], stderr=subprocess.PIPE, text=True, check=False
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["pip does not say why"]
        sys.exit(f"pack.py: cannot be installed from wheels for Python {python}: {lines[-1]}")


def _pack(packed: Path, archive: Path) -> None:
    """Write an archive that is the same whenever it is built of the same files."""
    date = _date()

    def uniform(member: tarfile.TarInfo) -> tarfile.TarInfo:
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        member.mtime = date
        is_program = member.isdir() or member.name in _COMMANDS
        member.mode = 0o755 if is_program else 0o644
        return member

    with (
        archive.open("wb") as file,
        gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as tar,
    ):
        for path in _files(packed):
            name = path.relative_to(packed).as_posix()
            tar.add(path, arcname=name, recursive=False, filter=uniform)


def _files(directory: Path) -> Iterator[Path]:
    yield from sorted(path for path in directory.rglob("*") if "__pycache__" not in path.parts)


def _date() -> int:
    """Return that of the commit, or what SOURCE_DATE_EPOCH says."""
    if said := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(said)
    done = subprocess.run(
        ["git", "log", "-1", "--format=%ct"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return int(done.stdout.strip() or 0)


def _platform(platform: str, archive: Path, uri: str) -> dict[str, Any]:
    system, _, architecture = platform.partition("/")
    return {
        "selector": {"matchLabels": {"os": system, "arch": architecture}},
        "uri": f"{uri}/{archive.name}",
        "sha256": hashlib.sha256(archive.read_bytes()).hexdigest(),
        "bin": "kubectl-springline",
        "files": [{"from": "*", "to": "."}],
    }


if __name__ == "__main__":
    main()
