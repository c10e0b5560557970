"""Files of tokens below one directory: `<directory>/<namespace>/<name>`.

Whoever starts Springline decides which directory that is; a declaration only names a file in the
part of its own namespace, so none can have Springline send a file of its choice to a broker.

A changed file is noticed by comparing what is there, every second. The kernel would tell sooner,
but not of a volume that was mounted anew, of a directory that comes later, or of a file on another
machine; and there are few such files.
"""

import functools
import logging
import os
import stat
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from springline import errors
from springline.api.meta import Identity
from springline.core import ports
from springline.core.desired import TOKEN_FILE
from springline.credentials import files, reading
from springline.reasons import Reason
from springline.threads import Threads

__all__ = ["DirectoryOfTokens", "FileAsRead"]

logger = logging.getLogger(__name__)

LONGEST_BYTES: Final = 64 * 1024

COMPARE_SECONDS: Final = 1.0

_READS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FileAsRead:
    """One file, as `core.ports.TokenFile`."""

    path: str
    version: str
    content: bytes = field(repr=False)


class DirectoryOfTokens:
    """Reads files of tokens, as `core.ports.TokenFiles`, and notices when they change."""

    def __init__(self, directory: Path | None) -> None:
        """Without a directory there is no file."""
        self._directory = directory
        self._threads = Threads(at_once=_READS_AT_ONCE, name="token-files")
        self._seen: dict[Identity, object] = {}
        """The files that were read, as they were found first or when a change was told last."""

    async def read(self, namespace: str, name: str) -> FileAsRead:
        """Return what the file has now. Raises `CredentialError`; safe to cancel."""
        directory = self._directory
        if directory is None:
            raise errors.CredentialError(
                Reason.TOKEN_FILE_NOT_FOUND,
                "credentials.tokenFile names a file in the directory of tokens, and Springline was "
                "started without one; start it with --token-dir",
            )
        path = directory / _part(namespace) / _part(name)
        # As found before it is read: what happens meanwhile is a change.
        try:
            found = await self._threads.run(functools.partial(_stamp, path))
            # Another session may have read it when it was another one, and is still to be told.
            self._seen.setdefault(Identity(TOKEN_FILE, namespace, name), found)
            return await self._threads.run(functools.partial(_read, directory, path))
        except OSError as error:
            raise errors.CredentialUnavailableError(
                Reason.SECRET_UNREADABLE,
                f"{reading.place_of_file(path)} cannot be read: {error.strerror}",
            ) from error

    async def watch(
        self,
        clock: ports.Clock,
        *,
        is_read: Callable[[Identity], bool],
        on_change: Callable[[Identity], None],
    ) -> None:
        """Tell of every change of a file, as long as somebody reads it. Ends when cancelled."""
        while self._directory is not None:
            await clock.sleep(COMPARE_SECONDS)
            for identity in [each for each in self._seen if not is_read(each)]:
                del self._seen[identity]
            if not self._seen:
                continue
            compare = functools.partial(_stamps, self._directory, tuple(self._seen))
            try:
                stamps = await self._threads.run(compare)
            except OSError as error:
                logger.warning("token files not compared", extra={"error": error.strerror})
                continue
            for identity, found in stamps.items():
                if self._seen.get(identity, found) != found:
                    self._seen[identity] = found
                    logger.debug("token file changed", extra={"file": identity})
                    on_change(identity)


def _part(name: str) -> str:
    """Return the name of a directory or file. Declared names are valid anyway."""
    if not name or "/" in name or name.startswith("."):
        raise ValueError(f"no name of a file: {name!r}")
    return name


def _stamps(directory: Path, identities: Iterable[Identity]) -> Mapping[Identity, object]:
    return {each: _stamp(directory / each.namespace / each.name) for each in identities}


def _stamp(path: Path) -> object:
    """Return something that differs when the path leads to something else, or nowhere."""
    try:
        found = path.stat()
    except OSError as error:
        return error.errno
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def _read(directory: Path, path: Path) -> FileAsRead:
    where = reading.place_of_file(path)
    try:
        with files.opened(path, below=directory) as descriptor:
            found = os.fstat(descriptor)
            if not stat.S_ISREG(found.st_mode):
                raise reading.malformed(where, "is not a regular file")
            with open(descriptor, "rb", closefd=False) as file:
                content = file.read(LONGEST_BYTES + 1)
    except files.OutsideError as error:
        raise errors.CredentialError(
            Reason.TOKEN_FILE_NOT_FOUND,
            f'{where} is a link that leads out of "{directory}"; put the token itself there',
        ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        raise errors.CredentialError(
            Reason.TOKEN_FILE_NOT_FOUND, f"there is no {where}; put the token there"
        ) from error
    except PermissionError as error:
        raise errors.CredentialUnavailableError(
            Reason.SECRET_UNREADABLE,
            f"{where} cannot be read: {error.strerror}; let user {os.geteuid()}, which Springline "
            "runs as, read it",
        ) from error
    except OSError as error:
        raise errors.CredentialUnavailableError(
            Reason.SECRET_UNREADABLE, f"{where} cannot be read: {error.strerror}"
        ) from error
    if len(content) > LONGEST_BYTES:
        raise reading.malformed(where, f"is longer than {LONGEST_BYTES // 1024} KiB")
    version = f"{found.st_mtime_ns}-{found.st_ino}"
    return FileAsRead(path=str(path), version=version, content=content)
