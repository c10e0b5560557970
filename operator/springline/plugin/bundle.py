"""A directory of texts, held in memory until it is written, as an archive or as it is.

It is bounded, and it is never written over anything.
"""

import errno
import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from springline.plugin.errors import Exit, PluginError
from springline.plugin.masking import Mask

__all__ = ["Bundle", "is_archive", "refuse_to_overwrite"]

_ARCHIVES: Final = (".tar.gz", ".tgz")
_PRIVATE_FILE: Final = 0o600
_PRIVATE_DIRECTORY: Final = 0o700


def is_archive(path: Path) -> bool:
    """Whether a path is to be an archive, and no directory."""
    return path.name.endswith(_ARCHIVES)


def refuse_to_overwrite(path: Path) -> None:
    """Raise `PluginError` if something is there, or cannot be put there."""
    if os.path.lexists(path):
        raise PluginError(f"{path} is there already, and is not overwritten", Exit.UNUSABLE)
    if not path.parent.is_dir():
        raise PluginError(f"there is no directory {path.parent}", Exit.UNUSABLE)


class Bundle:
    """Files by their names. Everything that comes in is masked."""

    def __init__(self, mask: Mask, *, most_bytes: int) -> None:
        self._mask = mask
        self._most = most_bytes
        self._files: dict[str, bytes] = {}
        self._is_abandoned = False
        self.size = 0

    def __len__(self) -> int:
        return len(self._files)

    def add(self, name: str, text: str, *, always: bool = False) -> bool:
        """Add a text, and return whether there was room for all of it; its end is kept.

        What is to be there `always` is short.
        """
        content = self._mask.text(text).encode(errors="replace")
        room = len(content) if always else max(self._most - self.size, 0)
        kept = content[-room:] if room else b""
        self._files[name] = kept
        self.size += len(kept)
        return len(kept) == len(content)

    def add_document(self, name: str, document: Any) -> bool:
        """Add a document as JSON, and return whether there was room for it."""
        masked = self._mask.document(document)
        content = (json.dumps(masked, indent=2, ensure_ascii=False) + "\n").encode(errors="replace")
        if self.size + len(content) > self._most:
            return False
        self._files[name] = content
        self.size += len(content)
        return True

    def abandon(self) -> None:
        """Have `write`, which another thread is in, end soon and leave nothing."""
        self._is_abandoned = True

    def _wanted(self) -> Iterator[tuple[str, bytes]]:
        for each in self._files.items():
            if self._is_abandoned:
                raise InterruptedError(errno.EINTR, "nobody waits for it any more")
            yield each

    def write(self, path: Path, *, at: float) -> None:
        """Write it, with this time of change. Raises `PluginError`; nothing is left then.

        Only whoever writes it may read it.
        """
        refuse_to_overwrite(path)
        write = self._write_archive if is_archive(path) else self._write_directory
        try:
            write(path, at)
        except OSError as error:
            problem = f"{path} cannot be written: {error.strerror or error}"
            raise PluginError(problem, Exit.UNUSABLE) from None

    def _write_archive(self, path: Path, at: float) -> None:
        root = path.name
        for ending in _ARCHIVES:
            root = root.removesuffix(ending)
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _PRIVATE_FILE)
        try:
            with (
                os.fdopen(number, "wb") as file,
                tarfile.open(fileobj=file, mode="w:gz") as archive,
            ):
                for name, content in self._wanted():
                    entry = tarfile.TarInfo(f"{root}/{name}")
                    entry.size, entry.mtime, entry.mode = len(content), int(at), _PRIVATE_FILE
                    archive.addfile(entry, io.BytesIO(content))
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def _write_directory(self, path: Path, at: float) -> None:
        path.mkdir(mode=_PRIVATE_DIRECTORY)
        try:
            for name, content in self._wanted():
                file = path / name
                file.parent.mkdir(mode=_PRIVATE_DIRECTORY, parents=True, exist_ok=True)
                with open(file, "xb", opener=_private) as written:
                    written.write(content)
                os.utime(file, (at, at))
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, _PRIVATE_FILE)
