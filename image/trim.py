"""Remove from the image's virtual environment what Springline never imports.

    python image/trim.py DIRECTORY

Three things are removed: distributions that others require and nothing here uses, parts of
distributions, and files that are of no use at run time. A test holds the lists against what is
imported. A name that is not there any more fails the build, so that the lists stay true.
"""

import shutil
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

__all__ = ["main", "of_no_use", "parts", "trim", "unused_distributions"]

unused_distributions = {
    "certifi": "kubernetes: the synchronous client; the system's authorities are trusted",
    "charset-normalizer": "requests",
    "durationpy": "kubernetes: the synchronous client",
    "markdown-it-py": "rich: to show Markdown",
    "mdurl": "markdown-it-py",
    "pycparser": "cffi: to read declarations where something is built",
    "Pygments": "rich: to show source code",
    "requests": "kubernetes: the synchronous client",
    "requests-oauthlib": "kubernetes: the synchronous client",
    "tzdata": "python-dateutil: zones by name; times of the API are in UTC",
    "urllib3": "kubernetes: the synchronous client",
    "websocket-client": "kubernetes: the synchronous client",
}
"""Distributions and what requires them, for what."""

parts = {
    "kubernetes": (
        "aio/client/__init__.py",
        "aio/client/api_client.py",
        "aio/client/api_response.py",
        "aio/client/configuration.py",
        "aio/client/exceptions.py",
        "aio/client/models/__init__.py",
        "aio/client/rest.py",
        "aio/config/*.py",
        "aio/utils/*.py",
    ),
}
"""Packages of which little is used, and what stays; see springline/kube/kubernetes_client.py."""

of_no_use = (
    "**/*_test.py",
    "**/test_*.py",
    # What extension modules are made of, and what type checkers read.
    "**/*.h",
    "**/*.pxd",
    "**/*.pyi",
    "**/*.pyx",
    # What builds extension modules with cffi; they run with _cffi_backend alone.
    "cffi",
    # What runs the engine of Qpid Proton with sockets and an event loop of its own.
    "proton/_handlers.py",
    "proton/_io.py",
    "proton/_reactor.py",
    "proton/_selectable.py",
    "proton/_tracing.py",
    "proton/_utils.py",
    "proton/handlers.py",
    "proton/reactor.py",
    "proton/tracing.py",
    "proton/utils.py",
    "pydantic/v1",
    "pydantic/mypy.py",
)
"""Patterns of files and directories of any distribution."""


def main(directory: Path) -> None:
    """Trim the virtual environment in a directory."""
    [packages] = directory.glob("lib/python3.*/site-packages")
    before = _size(directory)
    trim(packages)
    _remove_scripts(packages, directory / "bin")
    print(f"{before / 1e6:.0f} MB trimmed to {_size(directory) / 1e6:.0f} MB.")


def trim(packages: Path, *, is_complete: bool = True) -> None:
    """Trim a directory of packages.

    Unless it is complete, with every extra of Springline, names of the lists may lack.
    """
    for name in unused_distributions:
        found = list(metadata.distributions(name=name, path=[str(packages)]))
        if is_complete and not found:
            sys.exit(f"trim.py: {name} is not installed any more")
        _remove_distributions(found)
    for name, kept in parts.items():
        _keep(packages / name, kept)
    for pattern in of_no_use:
        paths = list(packages.glob(pattern))
        if is_complete and not paths:
            sys.exit(f"trim.py: nothing is called {pattern} any more")
        for path in paths:
            _remove(path)


def _remove_distributions(distributions: Iterable[metadata.Distribution]) -> None:
    for distribution in distributions:
        for file in distribution.files or ():
            _remove(Path(str(distribution.locate_file(file))))


def _keep(package: Path, kept: tuple[str, ...]) -> None:
    """Remove all files of a package that are not kept."""
    staying = {file for pattern in kept for file in _found(package, pattern)}
    for path in sorted(package.rglob("*")):
        if path.is_file() and path not in staying:
            _remove(path)


def _found(package: Path, pattern: str) -> Iterator[Path]:
    files = list(package.glob(pattern))
    if not files:
        sys.exit(f"trim.py: {package.name} has no {pattern} any more")
    yield from files


def _remove_scripts(packages: Path, scripts: Path) -> None:
    """Remove the scripts that are not ours, and those that activate the environment."""
    [springline] = metadata.distributions(name="springline", path=[str(packages)])
    ours = {entry.name for entry in springline.entry_points.select(group="console_scripts")}
    for path in scripts.iterdir():
        if path.name not in ours and not path.name.startswith("python"):
            _remove(path)


def _remove(path: Path) -> None:
    """Remove a file or a directory, and every directory that this leaves empty."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    parent = path.parent
    while parent.is_dir() and not any(parent.iterdir()):
        parent.rmdir()
        parent = parent.parent


def _size(directory: Path) -> int:
    return sum(path.lstat().st_size for path in directory.rglob("*") if path.is_file())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
