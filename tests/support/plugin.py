"""`kubectl springline` as a user has it: the installed scripts, as processes of their own.

Calls block: use `asyncio.to_thread` from async code.
"""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from support import tools
from support.springline_process import searched

__all__ = ["SCRIPTS", "Done", "Plugin"]

SCRIPTS = Path(sys.executable).parent
"""Where installing Springline has put them."""

_TIMEOUT_SECONDS = 90.0


@dataclass(frozen=True, slots=True)
class Done:
    """How a command went."""

    code: int
    out: str
    err: str

    def line(self, beginning: str) -> str:
        """Return the one line of the output that begins so, without that."""
        lines = [each for each in self.out.splitlines() if each.startswith(beginning)]
        assert len(lines) == 1, f"{beginning!r} is not there once:\n{self.out}{self.err}"
        return lines[0].removeprefix(beginning).strip()


class Plugin:
    """Runs it with the rights that a kubeconfig gives; nothing of the user's own is read.

    None of `secrets` may show in what it prints.
    """

    def __init__(self, directory: Path, kubeconfig: Path, *secrets: str) -> None:
        """Make `directory`, which is private to it."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.kubeconfig = kubeconfig
        self._secrets = secrets

    def environment(self, *before: Path) -> dict[str, str]:
        """Return what it sees; programs of the directories `before` come first."""
        found = [*before, SCRIPTS, tools.kubectl().parent]
        path = os.pathsep.join([*map(str, found), os.environ.get("PATH", os.defpath)])
        return {
            "PATH": path,
            "HOME": str(self.directory),
            "KUBECONFIG": str(self.kubeconfig),
            "LANG": "C.UTF-8",
        }

    def run(self, *args: str | Path, given: str = "", before: tuple[Path, ...] = ()) -> Done:
        """Run `kubectl-springline`."""
        return self._ran([SCRIPTS / "kubectl-springline", *args], given, before)

    def by_kubectl(self, *args: str) -> Done:
        """Run kubectl, which finds it by itself."""
        return self._ran([tools.kubectl(), *args], "", ())

    def in_shell(self, script: str) -> Done:
        """Run a line of the shell, in which both are found."""
        return self._ran(["/bin/sh", "-c", script], "", ())

    def _ran(self, command: list[str | Path], given: str, before: tuple[Path, ...]) -> Done:
        done = subprocess.run(
            [str(each) for each in command],
            input=given,
            env=self.environment(*before),
            capture_output=True,
            text=True,
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
        searched(done.stdout + done.stderr, *self._secrets)
        assert "Traceback" not in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)
