"""How long a person waits for `kubectl springline`, beside kubectl itself.

Each command is a process of its own, on a cluster with a number of connections that nobody looks
after. The figure is the median of several runs that take turns, so that what else the machine does
is in all of them.
"""

import statistics
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.rows import Row
from support import tools
from support.apiserver import APIServer
from support.definitions import Definitions
from support.plugin import SCRIPTS, Plugin

__all__ = ["COUNT", "measure", "measured"]

COUNT = 100
_RUNS = 15
_NAMESPACE = "default"
_PATH = f"/apis/springline.dev/v1alpha1/namespaces/{_NAMESPACE}/brokerconnections"
_CREATED = 201


@dataclass(frozen=True, slots=True)
class _Command:
    """What is measured, and what it is measured beside."""

    what: str
    words: Sequence[str | Path]


def measured(directory: Path) -> list[Row]:
    """Start an API server, declare connections, and measure.

    Raises `APIServerMissing` or `ToolMissing` where there is no cluster to be had.
    """
    with APIServer(directory / "apiserver", controllers=False) as server:
        Definitions(server).install()
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(server.kubeconfig())
        _declare(server, COUNT)
        return measure(Plugin(directory / "plugin", kubeconfig), COUNT, runs=_RUNS)


def measure(plugin: Plugin, count: int, *, runs: int) -> list[Row]:
    """Run the commands by turns, so often each; there are `count` connections."""
    ours, kubectl = SCRIPTS / "kubectl-springline", tools.kubectl()
    beside = _Command("kubectl get", [kubectl, "get", "brokerconnections"])
    commands = [
        beside,
        _Command("kubectl springline status", [ours, "status"]),
        _Command("kubectl springline explain", [ours, "explain", "Rejected"]),
    ]
    environment = plugin.environment()
    took: dict[str, list[float]] = {each.what: [] for each in commands}
    for each in commands:  # once before: what is cached by whoever comes first
        _run(each, environment)
    for _ in range(runs):
        for each in commands:
            took[each.what].append(_run(each, environment))
    medians = {what: statistics.median(times) for what, times in took.items()}
    reaches = {"kubectl springline explain": "≤ 0.3 s"}
    return [
        Row(
            what=each.what,
            count=count,
            unit="s",
            ours=medians[each.what],
            bare=medians[beside.what],
            reach=reaches.get(each.what, ""),
        )
        for each in commands[1:]
    ]


def _run(command: _Command, environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run(
        [str(word) for word in command.words],
        env=environment,
        capture_output=True,
        check=True,
        timeout=60.0,
    )
    return time.perf_counter() - started


def _declare(server: APIServer, count: int) -> None:
    for number in range(count):
        document = {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "BrokerConnection",
            "metadata": {"name": f"connection-{number}"},
            "spec": {
                "brokerRef": {"name": "rabbit"},
                "credentials": {"secretRef": {"name": "orders"}},
            },
        }
        answer = server.request("POST", _PATH, document)
        assert answer.code == _CREATED, answer.message
