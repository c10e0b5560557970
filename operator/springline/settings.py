"""Settings of a process, frozen: what the command line and SPRINGLINE_* variables said."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["CheckSettings", "RunSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunSettings:
    """How `springline run` is to run."""

    manifests: Path
    status_dir: Path | None = None
    table: bool = False
    """A live table instead of lines."""
    steps: bool = False
    """Whether the steps of every attempt are shown too."""
    shutdown_seconds: float = 10.0
    """How long sessions may take to close before they are dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckSettings:
    """What `springline check` is to look at."""

    files: tuple[Path, ...]
