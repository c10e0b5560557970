"""Compose files as Docker Compose reads them, by the library that it is made of.

That is a program of Go around the library; `python -m support.compose` (`make tools`) builds it,
and the tests only look for it. It judges a file by the specification's schema, and fills in what
is not said. Nothing is run.
"""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from support.go_program import GoProgram

__all__ = ["ComposeMissing", "ComposeRefused", "project"]

_PROGRAM: Final = GoProgram("compose", Path(__file__).resolve().parents[1] / "image" / "compose")
_SECONDS: Final = 60.0


class ComposeMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """The program is not there; the text says why."""


class ComposeRefused(RuntimeError):  # noqa: N818 - what it says is the point
    """The file is none of a project; the text says why."""


def project(file: Path, environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Return the project of a file. Raises `ComposeMissing` and `ComposeRefused`."""
    if not _PROGRAM.path.is_file():
        raise ComposeMissing("the reader of compose files is missing: run make tools, with Go")
    done = subprocess.run(
        [_PROGRAM.path, file],
        env=dict(environment or {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS,
    )
    if done.returncode != 0:
        raise ComposeRefused(done.stderr.strip())
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def main() -> None:
    """Build the program, unless it is there, or say why it cannot be had."""
    _PROGRAM.provide(
        "the reader of compose files", lost="The tests that read the compose file will not run"
    )


if __name__ == "__main__":
    main()
