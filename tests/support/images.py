"""The image, built from this checkout by `make image`'s script, and containers that run it.

The builder and the bases are those of `make image-builder`. What is built goes to a storage of its
own, on top of the one that has the bases, and goes with the directory it is in.
"""

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

__all__ = ["BASE", "BuilderMissing", "Images", "builder"]

ROOT = Path(__file__).resolve().parents[2]

BASE: Final = "localhost/springline-base:trixie"
_BUILD_BASE: Final = "localhost/springline-build-base:trixie"

_BUILD_SECONDS = 900.0
_COMMAND_SECONDS = 120.0


class BuilderMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """There is no builder, or nothing to build on."""


def builder() -> Path:
    """Return the directory with podman and the bases. Raises `BuilderMissing`."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "springline"
    directory = cache / "containers"
    podman = directory / "podman"
    for image in (BASE, _BUILD_BASE):
        try:
            subprocess.run(
                [podman, "image", "exists", image], check=True, capture_output=True, timeout=60
            )
        except (OSError, subprocess.SubprocessError):
            raise BuilderMissing(
                f"there is no podman with {image}: run make image-builder"
            ) from None
    return directory


@dataclass(frozen=True, slots=True)
class Images:
    """Builds images and runs them."""

    podman: Path

    @classmethod
    def beside(cls, containers: Path, directory: Path) -> "Images":
        """Return one that keeps what is built in `directory`."""
        configuration = directory / "storage.conf"
        configuration.write_text(
            f'[storage]\ndriver = "overlay"\n'
            f'graphroot = "{directory / "storage"}"\nrunroot = "{directory / "run"}"\n'
            f'[storage.options]\nadditionalimagestores = ["{containers / "storage"}"]\n',
            encoding="utf-8",
        )
        podman = directory / "podman"
        podman.write_text(
            "#!/bin/sh\n"
            f"export CONTAINERS_CONF='{containers / 'containers.conf'}'\n"
            f"export CONTAINERS_STORAGE_CONF='{configuration}'\n"
            'exec podman "$@"\n',
            encoding="utf-8",
        )
        podman.chmod(0o755)
        return cls(podman)

    def build(self, name: str, *arguments: str, environment: Mapping[str, str]) -> None:
        """Build the image of this checkout, with nothing taken from a former build."""
        done = subprocess.run(
            [ROOT / "image" / "build.sh", "--no-cache", *arguments],
            env={
                **os.environ,
                "BUILDER": str(self.podman),
                "IMAGE": name,
                "BASE": BASE,
                "BUILD_BASE": _BUILD_BASE,
                **environment,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=_BUILD_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5000:]

    def inspected(self, name: str) -> dict[str, Any]:
        """Return what is known of an image."""
        done = self.call("image", "inspect", name)
        assert done.returncode == 0, done.stderr
        [image] = json.loads(done.stdout)
        assert isinstance(image, dict)
        return image

    def run(
        self,
        name: str,
        *command: str,
        entrypoint: str = "",
        options: Sequence[str] = (),
        given: str = "",
    ) -> subprocess.CompletedProcess[str]:
        """Run a container as the chart does: a user without a name, and nothing can be written.

        It has no network but its own loopback. `given` is its standard input.
        """
        return self.call(
            *("run", "--rm", "--interactive", "--read-only", "--network", "none"),
            *("--cap-drop", "all", "--security-opt", "no-new-privileges"),
            *options,
            *(("--entrypoint", entrypoint) if entrypoint else ()),
            *(name, *command),
            given=given,
        )

    def call(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run podman itself; `given` is its standard input."""
        return subprocess.run(
            [self.podman, *arguments],
            input=given,
            capture_output=True,
            text=True,
            timeout=_COMMAND_SECONDS,
            check=False,
        )
