"""What `make krew` builds, and krew itself, which installs it.

krew is a program of Go; `python -m support.krew` (`make tools`) builds it, and the tests only look
for it. The archive is built by the tests, of this checkout.
"""

import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from support.go_program import GoProgram

__all__ = ["KrewMissing", "Packed", "krew", "packed"]

ROOT: Final = Path(__file__).resolve().parents[2]

_PROGRAM: Final = GoProgram("krew", ROOT / "tests" / "cluster" / "krew")
_ARCHITECTURES: Final = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
_SECONDS: Final = 600.0


class KrewMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """Something is not to be had; the text says what, and why."""


@dataclass(frozen=True, slots=True)
class Packed:
    """What was built for this machine."""

    manifest: Path
    archive: Path

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load(self.manifest.read_text(encoding="utf-8"))
        return found


def packed(directory: Path) -> Packed:
    """Build manifest and archive in a directory. Raises `KrewMissing`."""
    named = _ARCHITECTURES.get(platform.machine())
    if sys.platform != "linux" or named is None:
        raise KrewMissing(f"there is no archive for {sys.platform} on {platform.machine()}")
    done = subprocess.run(
        [sys.executable, ROOT / "deploy" / "krew" / "pack.py", directory, named],
        env={**os.environ, "PYTHONPATH": str(ROOT / "image"), "SOURCE_DATE_EPOCH": "1767225600"},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if "cannot be installed from wheels" in done.stderr:
        raise KrewMissing(done.stderr.strip().splitlines()[-1])
    assert done.returncode == 0, done.stderr
    [archive] = directory.glob("*.tar.gz")
    return Packed(directory / "springline.yaml", archive)


def krew() -> Path:
    """Return krew. Raises `KrewMissing`."""
    if not _PROGRAM.path.is_file():
        raise KrewMissing("krew has not been built: run make tools, with Go")
    return _PROGRAM.path


def main() -> None:
    """Build the program, unless it is there, or say why it cannot be had."""
    _PROGRAM.provide("krew", lost="The test that installs the plugin with krew will not run")


if __name__ == "__main__":
    main()
