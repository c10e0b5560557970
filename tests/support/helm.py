"""Helm, the real one: Springline's chart as a release on a cluster that a kubeconfig names.

What the chart renders without a cluster is not its business.

Calls block: use `asyncio.to_thread` from async code.
"""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support import tools

__all__ = ["CHART", "HelmFailed", "Installed", "Release"]

CHART = Path(__file__).resolve().parent.parent.parent / "charts" / "springline"

_TIMEOUT_SECONDS = 300.0


class HelmFailed(RuntimeError):  # noqa: N818 - what it says is the point, not that it is an error
    """Helm ended with an error; the text is what it wrote to standard error."""


class Release:
    """The chart under a name in a namespace; nothing is installed yet.

    `directory` is private to it. Without `helm` it is Helm 4. Methods raise `HelmFailed`.
    """

    def __init__(
        self,
        directory: Path,
        kubeconfig: Path,
        *,
        name: str = "springline",
        namespace: str = "springline-system",
        chart: Path = CHART,
        helm: Path | None = None,
    ) -> None:
        """Find the program. Raises `tools.ToolMissing`."""
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.namespace = namespace
        self.chart = chart
        self._helm = helm or tools.helm4()
        self._env = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(directory),
            "KUBECONFIG": str(kubeconfig),
        }

    def install(self, values: Mapping[str, Any] | None = None, *options: str) -> None:
        """Install with these values, or upgrade to them, forgetting those of before."""
        # Without any values Helm would take those of before.
        fresh = ["--install", "--create-namespace", "--reset-values"]
        self.run("upgrade", *fresh, *options, values=values)

    def uninstall(self, *options: str) -> None:
        """Take it away. Idempotent."""
        where = f"--namespace={self.namespace}"
        self._run(["uninstall", self.name, where, "--ignore-not-found", *options])

    def test(self) -> str:
        """Run the tests of the release, as `helm test` does, and return what is said."""
        return self._run(["test", self.name, f"--namespace={self.namespace}", "--logs"])

    def roll_back(self) -> None:
        """Go back to what was installed before, and wait until it runs."""
        self._run(["rollback", self.name, f"--namespace={self.namespace}", "--wait"])

    def run(self, *args: str, values: Mapping[str, Any] | None = None) -> str:
        """Run a command on release and chart and return its output."""
        given = [self.name, str(self.chart), f"--namespace={self.namespace}", "--values=-"]
        return self._run([*args, *given], yaml.safe_dump(dict(values or {})))

    def _run(self, args: list[str], given: str = "") -> str:
        try:
            done = subprocess.run(
                [self._helm, *args],
                input=given,
                env=self._env,
                capture_output=True,
                text=True,
                timeout=_TIMEOUT_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise HelmFailed(f"helm {args[0]} took over {_TIMEOUT_SECONDS:g} s") from error
        if done.returncode != 0:
            raise HelmFailed(f"helm {args[0]}: {done.stderr.strip()}")
        return done.stdout


@dataclass(frozen=True, slots=True)
class Installed:
    """The release that a session's operator belongs to."""

    release: Release
    # What the suite itself needs; a test's own come on top.
    values: Mapping[str, Any]
    # Of `helm upgrade`.
    options: tuple[str, ...] = ()

    def install(self, **values: Any) -> None:
        """Install, or upgrade, with these values of the chart and the suite's."""
        self.release.install({**self.values, **values}, *self.options)
