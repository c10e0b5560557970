"""One binding as a directory of files that always change together.

As the kubelet does it for a Secret in a volume: the files are links into `..data`, which is itself
a link to a hidden directory with the values, and only that one is exchanged. A reader sees the old
values or the new ones. Directories that were not written here are never touched.
"""

import contextlib
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["is_ours", "read", "remove", "write"]

_DATA: Final = "..data"
_VERSION: Final = "..springline-"
"""Begins the name of a directory with values, and shows whose the whole is."""

_PRIVATE_DIRECTORY: Final = 0o700
_PRIVATE_FILE: Final = 0o600


def is_ours(directory: Path) -> bool:
    """Whether the directory was written here."""
    current = _current(directory)
    return current is not None and current.name.startswith(_VERSION)


def read(directory: Path) -> dict[str, str]:
    """Return what the directory holds; what is no text is left out. Raises `OSError`."""
    found: dict[str, str] = {}
    for path in directory.iterdir():
        if not path.name.startswith("..") and path.is_file():
            with contextlib.suppress(UnicodeDecodeError):
                found[path.name] = path.read_bytes().decode()
    return found


def write(directory: Path, entries: Mapping[str, str]) -> None:
    """Have the directory hold exactly these values by key. Raises `OSError`."""
    directory.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    directory.mkdir(mode=_PRIVATE_DIRECTORY, exist_ok=True)
    version = directory / f"{_VERSION}{secrets.token_hex(8)}"
    try:
        version.mkdir(mode=_PRIVATE_DIRECTORY)
        for key, value in entries.items():
            _write_private(version / key, value.encode())
        _point(directory / _DATA, version.name)
    except OSError:
        shutil.rmtree(version, ignore_errors=True)
        raise
    for key in entries:
        _point(directory / key, f"{_DATA}/{key}")
    _remove_links(directory, other_than=entries.keys())
    for old in _versions(directory):
        if old != version:
            shutil.rmtree(old, ignore_errors=True)


def remove(directory: Path) -> None:
    """Remove what was written here; what somebody else has put beside it stays. Idempotent."""
    with contextlib.suppress(OSError):
        _remove_links(directory)
        (directory / _DATA).unlink(missing_ok=True)
        for version in _versions(directory):
            shutil.rmtree(version, ignore_errors=True)
        directory.rmdir()


def _current(directory: Path) -> Path | None:
    try:
        return (directory / _DATA).readlink()
    except OSError:  # no link, or no directory
        return None


def _versions(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name.startswith(_VERSION)]


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _point(link: Path, target: str) -> None:
    """Have a link lead there, in one step."""
    with contextlib.suppress(OSError):
        if str(link.readlink()) == target:
            return
    new = link.with_name(f"{_VERSION}new")
    new.unlink(missing_ok=True)
    new.symlink_to(target)
    new.replace(link)


def _links(directory: Path) -> Iterator[Path]:
    for path in directory.iterdir():
        if path.is_symlink() and str(path.readlink()).startswith(f"{_DATA}/"):
            yield path


def _remove_links(directory: Path, *, other_than: Collection[str] = ()) -> None:
    for path in list(_links(directory)):
        if path.name not in other_than:
            path.unlink()
