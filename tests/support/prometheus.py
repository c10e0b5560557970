"""A private Prometheus on loopback: what the tests of the alerts and the dashboard ask.

It is the real server, with a real configuration, and scrapes every second. `install-prometheus.sh`
gets it and `promtool`, which checks rules and tests them. Calls block: use `asyncio.to_thread` from
async code. It knows nothing about what it scrapes.
"""

import http.client
import json
import os
import shutil
import time
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from support import ports, processes
from support.ports import LOOPBACK
from support.started import Started
from support.waiting import PATIENCE

if TYPE_CHECKING:
    import subprocess

__all__ = [
    "Prometheus",
    "PrometheusFailed",
    "PrometheusMissing",
    "Sample",
    "Series",
    "promtool",
    "server",
]

_POLL_SECONDS = 0.1
_SHOWN_LINES = 30
_USUAL = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}


class PrometheusMissing(RuntimeError):  # noqa: N818 - a state of the machine, not of the program
    """There is no Prometheus to start, or no promtool; the text says which."""


class PrometheusFailed(RuntimeError):  # noqa: N818 - as above
    """It did not start, or did not answer as it should; the text holds its words."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a query at one moment."""

    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True, slots=True)
class Series:
    """The values of a query over time: pairs of Unix seconds and value, oldest first."""

    labels: Mapping[str, str]
    values: tuple[tuple[float, float], ...]


def server() -> Path:
    """Return the server: the one in PATH, or ours. Raises `PrometheusMissing`."""
    return _find("prometheus")


def promtool() -> Path:
    """Return promtool: the one in PATH, or ours. Raises `PrometheusMissing`."""
    return _find("promtool")


def _find(name: str) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    ours = cache / "springline" / "prometheus" / "usr" / "bin" / name
    found = shutil.which(name)
    if found is None and not ours.is_file():
        raise PrometheusMissing(f"there is no {name}: run make prometheus")
    return Path(found) if found else ours


class Prometheus(Started):
    """One server. As a context manager it is started, and closed at the end.

    `directory` holds everything it writes. `config` is a prometheus.yml; what it leaves open under
    `global` is one second.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        """Choose a port and write the configuration. Raises `PrometheusMissing`."""
        self._server = server()
        self.directory = directory.absolute()
        self._lease = ports.lease(1)
        [self.port] = self._lease.ports
        self._process: subprocess.Popen[bytes] | None = None
        self.directory.mkdir(parents=True, exist_ok=True)
        document = {**config, "global": _USUAL | dict(config.get("global", {}))}
        self._configuration.write_text(yaml.safe_dump(document, sort_keys=False))

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{LOOPBACK}:{self.port}"

    # Its life

    def start(self, timeout: float = 60.0) -> None:
        """Start, and wait until it answers queries. Idempotent. Raises `PrometheusFailed`."""
        if self._process is not None and self._process.poll() is None:
            return
        self._process = processes.spawn(
            [
                self._server,
                f"--config.file={self._configuration}",
                f"--storage.tsdb.path={self.directory / 'data'}",
                f"--web.listen-address={LOOPBACK}:{self.port}",
            ],
            env={"PATH": os.environ["PATH"], "HOME": str(self.directory)},
            output=self._log,
        )
        deadline = time.monotonic() + timeout
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise PrometheusFailed(self._last_words())
            time.sleep(_POLL_SECONDS)

    def close(self) -> None:
        """Stop it and give the port back. Idempotent."""
        if self._process is not None:
            processes.terminate(self._process, timeout=10)
        self._lease.release()

    # Asking

    def query(self, expression: str) -> list[Sample]:
        """Evaluate an expression now. Raises `PrometheusFailed` where it is refused."""
        data = self._ask("query", {"query": expression})
        if data["resultType"] == "scalar":
            return [Sample({}, float(data["result"][1]))]
        return [Sample(each["metric"], float(each["value"][1])) for each in data["result"]]

    def query_range(
        self, expression: str, *, start: float, end: float, step: float = 1.0
    ) -> list[Series]:
        """Evaluate an expression from `start` to `end`, in Unix seconds."""
        asked = {"query": expression, "start": start, "end": end, "step": step}
        return [
            Series(each["metric"], tuple((at, float(value)) for at, value in each["values"]))
            for each in self._ask("query_range", asked)["result"]
        ]

    def wait_for(self, expression: str, timeout: float = PATIENCE) -> list[Sample]:
        """Return the first result of an expression that is not empty.

        Raises `AssertionError` after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not (samples := self.query(expression)):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {timeout:g} s: {expression}")
            time.sleep(_POLL_SECONDS)
        return samples

    def alerts(self) -> list[dict[str, Any]]:
        """Return the alerts that are pending or firing, with their annotations."""
        alerts: list[dict[str, Any]] = self._ask("alerts", {})["alerts"]
        return alerts

    def _ask(self, what: str, query: Mapping[str, object]) -> dict[str, Any]:
        code, text = self._get(f"/api/v1/{what}?{urllib.parse.urlencode(query)}")
        if code != http.client.OK:
            raise PrometheusFailed(f"{code} for {what} {dict(query)}: {text}")
        data: dict[str, Any] = json.loads(text)["data"]
        return data

    def _get(self, path: str) -> tuple[int, str]:
        connection = http.client.HTTPConnection(LOOPBACK, self.port, timeout=30)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode()
        finally:
            connection.close()

    def _is_ready(self) -> bool:
        try:
            return self._get("/-/ready")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    # What it writes

    @property
    def _configuration(self) -> Path:
        return self.directory / "prometheus.yml"

    @property
    def _log(self) -> Path:
        return self.directory / "prometheus.log"

    def _last_words(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-_SHOWN_LINES:]
        return "\n".join(["Prometheus did not start; it wrote:", *lines])
