"""`springline run` as a process of its own, on files, the way a user has it.

Everything it writes goes to one file at the most talkative log level, and is searched for secrets
when it has ended.
"""

import asyncio
import base64
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

import springline
from support import processes
from support.waiting import PATIENCE, eventually

__all__ = ["ALLOW_LOOPBACK", "Springline", "command", "environment", "running", "searched"]

DEADLINE = PATIENCE
ALLOW_LOOPBACK = ("--allow-addresses=127.0.0.0/8", "--allow-addresses=::1/128")
"""For an operator whose brokers are on this machine."""
_SOURCES = Path(springline.__file__).parents[1]


def command(*args: str | Path) -> list[str | Path]:
    """Return the command line of a subcommand."""
    return [sys.executable, "-m", "springline", *args]


def environment() -> dict[str, str]:
    """Return an environment that has the package and no settings of ours."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("SPRINGLINE_")}
    return {**kept, "PYTHONPATH": str(_SOURCES), "PYTHONUNBUFFERED": "1"}


def searched(text: str, *secrets: str) -> str:
    """Return the text, after making sure that it shows none of the secrets in any form."""
    for secret in secrets:
        encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
        for form in (secret, encoded, secret.encode().hex()):
            assert form not in text
    return text


class Springline:
    """One process, its manifests and its status files."""

    def __init__(self, directory: Path, *secrets: str) -> None:
        self.manifests = directory / "manifests"
        self.status_dir = directory / "status"
        self._output = directory / "output.log"
        self._secrets = secrets
        self._process: subprocess.Popen[bytes] | None = None
        self.manifests.mkdir()

    # --- the user's side

    def write(self, name: str, *documents: dict[str, Any]) -> None:
        """Put a file in place, as an editor that writes another one and renames it."""
        temporary = self.manifests / f".{name}.swp"
        temporary.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
        temporary.replace(self.manifests / name)

    def write_text(self, name: str, text: str) -> None:
        """Write into a file, as an editor that does no better."""
        (self.manifests / name).write_text(text, encoding="utf-8")

    def remove(self, name: str) -> None:
        (self.manifests / name).unlink()

    def rename(self, name: str, to: str) -> None:
        (self.manifests / name).rename(self.manifests / to)

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """The process' id."""
        assert self._process is not None
        return self._process.pid

    # --- what it says

    @property
    def output(self) -> str:
        """Everything written so far, both streams together."""
        if not self._output.exists():
            return ""
        return self._output.read_text(encoding="utf-8", errors="replace")

    @property
    def files(self) -> set[str]:
        """The names of the status files."""
        return {path.name for path in self.status_dir.glob("*.yaml")}

    def status(self, name: str = "orders", kind: str = "BrokerConnection") -> dict[str, Any]:
        """The status in the file of a resource of the default namespace, empty without one."""
        path = self.status_dir / f"{kind}.default.{name}.yaml"
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        return dict(yaml.safe_load(text)["status"])

    def condition(self, kind: str, name: str = "orders") -> tuple[str, str]:
        """Status and reason of a condition."""
        for each in self.status(name).get("conditions", ()):
            if each["type"] == kind:
                return each["status"], each["reason"]
        return "", ""

    async def until(
        self, kind: str, status: str, reason: str = "", *, name: str = "orders"
    ) -> dict[str, Any]:
        """Wait until a condition is so, and return the whole status."""

        def reached() -> bool:
            found = self.condition(kind, name)
            return found[0] == status and reason in ("", found[1])

        await self.eventually(reached, f"{kind} of {name} is {status} {reason}")
        return self.status(name)

    async def until_state(self, state: str, name: str = "orders") -> dict[str, Any]:
        await self.eventually(lambda: self.status(name).get("state") == state, f"{name} {state}")
        return self.status(name)

    async def until_said(self, text: str) -> None:
        await self.eventually(lambda: text in self.output, f"it says {text!r}")

    async def eventually(self, predicate: Any, what: str) -> None:
        """Wait for a condition; the process must not end meanwhile."""

        def checked() -> object:
            value = predicate()
            assert value or self._process is None or self._process.poll() is None, self.output
            return value

        try:
            await eventually(checked, timeout=DEADLINE, what=what)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None

    # --- its life

    def start(
        self,
        *options: str,
        program: Sequence[str | Path] | None = None,
        more_environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start `springline run`, or `program` in its place, with the usual options and these."""
        arguments: list[str | Path] = ["--manifests", self.manifests]
        arguments += ["--status-dir", self.status_dir]
        self._process = processes.spawn(
            [*(program or command("run")), *arguments, "--log-level", "debug", *options],
            env={**environment(), **(more_environment or {})},
            output=self._output,
        )

    async def ended(self) -> int:
        """Wait until it has ended and return its exit code."""
        assert self._process is not None
        await asyncio.to_thread(self._process.wait, DEADLINE)
        return self._process.returncode

    def close(self) -> None:
        """End it if it has not ended, and search everything that it wrote."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        searched(self.output, *self._secrets)
        for path in self.status_dir.glob("*"):
            searched(path.read_text(encoding="utf-8"), *self._secrets)


@contextlib.asynccontextmanager
async def running(
    directory: Path,
    *secrets: str,
    options: tuple[str, ...] = (),
    more_environment: Mapping[str, str] | None = None,
) -> AsyncIterator[Springline]:
    """Start it on an empty directory; at the end it is killed if it still runs."""
    springline = Springline(directory, *secrets)
    try:
        springline.start(*options, more_environment=more_environment)
        yield springline
    finally:
        springline.close()
