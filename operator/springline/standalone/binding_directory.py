"""One binding as a directory of files that always change together.

As the kubelet does it for a Secret in a volume: the files are links into `..data`, which is itself
a link to a hidden directory with the values, and only that one is exchanged. A reader sees the old
values or the new ones. Directories that were not written here are never touched.
"""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Final

__all__ = ["is_ours", "read", "remove", "tidy", "write"]

_DATA: Final = "..data"
_VERSION: Final = "..springline-"
"""Begins the name of a directory with values, and shows whose the whole is."""

_ROOT: Final = 0
_ENTER: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_PRIVATE_DIRECTORY: Final = 0o700
_PRIVATE_FILE: Final = 0o600


def is_ours(directory: Path) -> bool:
    """Whether the directory was written here, or was about to be when that came to its end."""
    current = _current(directory)
    if current is not None:
        return current.name.startswith(_VERSION)
    try:
        names = [path.name for path in directory.iterdir()]
    except OSError:
        return False
    return bool(names) and all(name.startswith(_VERSION) for name in names)


def read(directory: Path) -> dict[str, str]:
    """Return what the directory holds; what is no text is left out. Raises `OSError`."""
    found: dict[str, str] = {}
    for path in directory.iterdir():
        if not path.name.startswith("..") and path.is_file():
            with contextlib.suppress(UnicodeDecodeError):
                found[path.name] = path.read_bytes().decode()
    return found


def tidy(directory: Path) -> None:
    """Remove the values before the current ones, which a process that was killed has left."""
    current = _current(directory)
    with contextlib.suppress(OSError), _entered(directory) as at:
        for version in _versions(at):
            if current is None or version != current.name:
                _remove_version(version, at)


def write(directory: Path, entries: Mapping[str, str]) -> None:
    """Have the directory hold exactly these values by key. Raises `OSError`.

    No link on the way is followed, but for one that leads to the directory of all bindings.
    """
    directory.parent.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
    with _entered(directory, make=True) as at:
        version = f"{_VERSION}{secrets.token_hex(8)}"
        try:
            os.mkdir(version, _PRIVATE_DIRECTORY, dir_fd=at)
            with _opened(version, at) as into:
                for key, value in entries.items():
                    _write_private(key, value.encode(), into)
            _point(at, _DATA, version)
        except OSError:
            _remove_version(version, at)
            raise
        for key in entries:
            _point(at, key, f"{_DATA}/{key}")
        _remove_links(at, other_than=entries.keys())
        for old in _versions(at):
            if old != version:
                _remove_version(old, at)


def remove(directory: Path) -> None:
    """Remove what was written here; what somebody else has put beside it stays. Idempotent."""
    with contextlib.suppress(OSError):
        with _entered(directory) as at:
            _remove_links(at)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(_DATA, dir_fd=at)
            for version in _versions(at):
                _remove_version(version, at)
        directory.rmdir()


@contextlib.contextmanager
def _entered(directory: Path, *, make: bool = False) -> Iterator[int]:
    """Give the descriptor of `<bindings>/<namespace>/<name>`, made if that is asked for."""
    with (
        _opened(str(directory.parent.parent), None) as bindings,
        _opened(directory.parent.name, bindings, make=make) as namespace,
        _opened(directory.name, namespace, make=make) as binding,
    ):
        yield binding


@contextlib.contextmanager
def _opened(name: str, above: int | None, *, make: bool = False) -> Iterator[int]:
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, _PRIVATE_DIRECTORY, dir_fd=above)
    # Which directory holds all bindings is for whoever starts Springline to say, by a link too.
    flags = _ENTER if above is None else _ENTER | os.O_NOFOLLOW
    descriptor = os.open(name, flags, dir_fd=above)
    try:
        if above is not None and os.fstat(descriptor).st_uid not in (os.geteuid(), _ROOT):
            # Its owner could put other files in the place of ours.
            raise PermissionError(errno.EPERM, "its directory belongs to somebody else")
        yield descriptor
    finally:
        os.close(descriptor)


def _current(directory: Path) -> Path | None:
    try:
        return (directory / _DATA).readlink()
    except OSError:  # no link, or no directory
        return None


def _versions(at: int) -> list[str]:
    return [name for name in os.listdir(at) if name.startswith(_VERSION)]


def _remove_version(name: str, at: int) -> None:
    with contextlib.suppress(OSError):
        os.unlink(name, dir_fd=at)  # a link that never got to its place
        return
    shutil.rmtree(name, ignore_errors=True, dir_fd=at)


def _write_private(name: str, content: bytes, at: int) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    descriptor = os.open(name, flags, _PRIVATE_FILE, dir_fd=at)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _point(at: int, link: str, target: str) -> None:
    """Have a link lead there, in one step."""
    with contextlib.suppress(OSError):
        if os.readlink(link, dir_fd=at) == target:
            return
    new = f"{_VERSION}{secrets.token_hex(8)}"
    os.symlink(target, new, dir_fd=at)
    os.rename(new, link, src_dir_fd=at, dst_dir_fd=at)


def _remove_links(at: int, *, other_than: Collection[str] = ()) -> None:
    for name in os.listdir(at):
        try:
            is_ours = os.readlink(name, dir_fd=at).startswith(f"{_DATA}/")
        except OSError:  # no link
            continue
        if is_ours and name not in other_than:
            os.unlink(name, dir_fd=at)
