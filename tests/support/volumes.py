"""Files as a volume of Kubernetes has them: the kubelet brings all of them up to date at once."""

import itertools
import os
import shutil
from pathlib import Path

__all__ = ["Volume"]


class Volume:
    """A mounted Secret, ConfigMap or projected volume, which a test writes in the kubelet's place.

    What a Pod sees are symbolic links that lead by way of another one, `..data`, to files in a
    directory. That one link is replaced, and the directory it led to is removed.
    """

    def __init__(self, directory: Path) -> None:
        """Mount it at `directory`."""
        self.directory = directory
        self._versions = itertools.count(1)
        directory.mkdir(parents=True)

    def write(self, path: str, content: str | bytes) -> None:
        """Replace everything by one file; `path` may have directories in it."""
        data = self.directory / "..data"
        before = data.readlink() if data.is_symlink() else None
        now = f"..2026_11_21_08_00_00.{next(self._versions)}"
        file = self.directory / now / path
        file.parent.mkdir(parents=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        new = self.directory / "..data_tmp"
        new.symlink_to(now)
        new.rename(data)
        seen = self.directory / Path(path).parts[0]
        if not seen.is_symlink():
            seen.symlink_to(os.path.join("..data", seen.name))  # noqa: PTH118 - relative to the link
        if before is not None:
            shutil.rmtree(self.directory / before)
