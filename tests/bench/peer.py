"""The peer: connections of amqp091-go, held by a Go program that is built once into a cache."""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

__all__ = ["GoMissing", "program"]

_SOURCES = Path(__file__).resolve().parent / "go"
_BUILD_SECONDS = 300.0


class GoMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """The program is not to be had; the text says why."""


def program() -> Path:
    """Return the program, built from the sources as they are. Raises `GoMissing`."""
    files = sorted(_SOURCES.iterdir())
    digest = hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "springline"
    built = cache / f"bench-{digest}"
    if built.is_file():
        return built
    if (go := shutil.which("go")) is None:
        raise GoMissing("there is no Go")
    cache.mkdir(parents=True, exist_ok=True)
    half_built = cache / f"{built.name}.building.{os.getpid()}"
    command: list[str | Path] = [go, "build", "-trimpath", "-o", half_built, "."]
    try:
        done = subprocess.run(
            command,
            cwd=_SOURCES,
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
