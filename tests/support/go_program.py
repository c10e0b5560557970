"""Go programs that tests and measurements need, each built once into a cache.

They are built where Go is, from modules that are pinned beside their sources. Nothing here runs
them.
"""

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

__all__ = ["GoMissing", "GoProgram"]

_BUILD_SECONDS = 300.0


class GoMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """A program is not to be had; the text says why."""


@dataclass(frozen=True, slots=True)
class GoProgram:
    """A program, by its name and the directory of its sources."""

    name: str
    sources: Path

    @property
    def path(self) -> Path:
        """Where it is once it is built; another place whenever the sources are other ones."""
        files = sorted(self.sources.iterdir())
        digest = hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:12]
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "springline"
        return cache / f"{self.name}-{digest}"

    def provide(self, called: str, *, lost: str) -> None:
        """Build it unless it is there, and tell people so; `lost` is what goes without it."""
        if not self.path.is_file():
            print(f"Building {called} (once)…")
        try:
            self.build()
        except GoMissing as error:
            print(f"{lost}: {error}.")

    def build(self) -> Path:
        """Return it, built unless it is there. Raises `GoMissing`."""
        built = self.path
        if built.is_file():
            return built
        if (go := shutil.which("go")) is None:
            raise GoMissing("there is no Go")
        built.parent.mkdir(parents=True, exist_ok=True)
        half_built = built.with_name(f"{built.name}.building.{os.getpid()}")
        command: list[str | Path] = [go, "build", "-trimpath", "-o", half_built, "."]
        try:
            done = subprocess.run(
                command,
                cwd=self.sources,
                capture_output=True,
                text=True,
                check=False,
                timeout=_BUILD_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise GoMissing("go build took too long") from error
        if done.returncode != 0:
            lines = done.stderr.strip().splitlines() or ["it does not say why"]
            raise GoMissing(f"go build failed: {lines[-1]}")
        half_built.rename(built)
        return built
