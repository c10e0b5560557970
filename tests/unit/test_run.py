"""`springline run` as a process: what it says of itself, to people, to programs and to probes."""

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest

import springline
from support import ports, waiting
from support.listening import Port

SOURCES: Final = Path(springline.__file__).parents[1]
CONNECTION: Final = """\
apiVersion: springline.dev/v1alpha1
kind: BrokerConnection
metadata: {name: NAME}
spec:
  brokerRef: {name: rabbit}
  credentials: {secretRef: {name: login}}
"""


def a_connection(name: str = "orders") -> str:
    return CONNECTION.replace("NAME", name)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "manifests"
    path.mkdir()
    return path


class Run:
    """A process, and the lines that it has written so far."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.lines: list[str] = []

    async def said(self, text: str) -> str:
        """Wait for a line with this text, and return it."""
        await waiting.eventually(
            lambda: any(text in line for line in self.lines), what=f"a line with {text!r}"
        )
        return next(line for line in self.lines if text in line)

    def read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))


def start(*options: str | Path, encoding: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, "-m", "springline", "run", *map(str, options)],
        env={**os.environ, "PYTHONPATH": str(SOURCES), "PYTHONIOENCODING": encoding},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@contextlib.asynccontextmanager
async def running(
    *options: str | Path, encoding: str = "utf-8", by: signal.Signals = signal.SIGTERM
) -> AsyncIterator[Run]:
    """Start it, and stop it with a signal at the end, which is a success without a complaint."""
    process = start(*options, encoding=encoding)
    run = Run(process)
    reading = asyncio.ensure_future(asyncio.to_thread(run.read))
    try:
        yield run
        process.send_signal(by)
        await asyncio.wait_for(asyncio.to_thread(process.wait), 30)
    finally:
        process.kill()
        await reading
        _, complaint = process.communicate()
    assert (process.returncode, complaint) == (0, b"")


# --- what people read


async def test_first_line_says_what_is_watched(folder: Path) -> None:
    for number in range(3):
        (folder / f"{number}.yaml").write_text(a_connection(f"orders-{number}"))
    async with running("-f", folder) as run:
        await run.said("BrokerNotFound")
    assert re.fullmatch(rf"\S+Z  watching {re.escape(str(folder))}: 3 connections", run.lines[0])


async def test_run_without_manifests_says_so_and_waits_for_some(folder: Path) -> None:
    async with running("--manifests", folder, by=signal.SIGINT) as run:
        first = await run.said("watching")
        assert first.endswith(": no connections")
        (folder / "a.yaml").write_text(a_connection())
        await run.said("BrokerNotFound")


async def test_problem_is_told_with_its_time_when_it_comes_and_when_it_is_solved(
    folder: Path,
) -> None:
    path = folder / "a.yaml"
    path.write_text("kind: [")
    async with running("-f", folder) as run:
        come = await run.said(f"problem: {path}:1:8: is not valid YAML")
        path.write_text(a_connection())
        gone = await run.said(f"solved: {path}:1:8: is not valid YAML")
    for line in (come, gone):
        assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  ", line)


async def test_output_that_the_locale_cannot_express_is_escaped(folder: Path) -> None:
    (folder / "a.yaml").write_text(a_connection("größe"), encoding="utf-8")
    async with running("-f", folder, encoding="ascii") as run:
        await run.said("gr\\xf6\\xdfe")


# --- what programs read


async def test_every_line_of_json_is_an_object(folder: Path) -> None:
    (folder / "a.yaml").write_text(a_connection())
    (folder / "b.yaml").write_text("kind: [")
    async with running("-f", folder, "--log-format", "json") as run:
        await run.said("default/orders")
        await run.said("b.yaml")
    lines = [json.loads(line) for line in run.lines]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert lines[0]["message"] == f"watching {folder}: 1 connection"
    [problem] = [line for line in lines if line["message"] == "problem"]
    assert problem["level"] == "warning"
    assert problem["detail"].startswith(f"{folder}/b.yaml:1:8: is not valid YAML")
    assert {line.get("reason") for line in lines} >= {"BrokerNotFound"}


# --- what probes and Prometheus ask


@pytest.fixture
def port() -> Iterator[Port]:
    lease = ports.lease(1)
    yield Port(lease.ports[0])
    lease.release()


async def test_health_readiness_and_metrics_are_served(folder: Path, port: Port) -> None:
    (folder / "a.yaml").write_text(a_connection())
    async with running("-f", folder, "--listen", port.address) as run:
        await run.said("BrokerNotFound")
        async with asyncio.timeout(60):
            assert await port.until("/readyz", 200) == "ok"
        assert await port.ask("/healthz") == (200, "ok")
        code, metrics = await port.ask("/metrics")
    assert code == 200
    assert re.search(r"^springline_session_ready\{.*name=\"orders\".*\} 0", metrics, re.MULTILINE)
    assert "springline_build_info" in metrics


async def test_run_stays_ready_without_its_directory(folder: Path, port: Port) -> None:
    """Its sessions outlive a volume that goes away."""
    link = folder.parent / "volume"
    link.symlink_to(folder)
    async with running("-f", link, "--listen", port.address) as run:
        await run.said("watching")
        async with asyncio.timeout(60):
            assert await port.until("/readyz", 200) == "ok"
            link.unlink()
            await run.said("problem")
            assert await port.until("/readyz", 200) == "ok"


def test_address_that_is_taken_is_told_and_is_exit_code_2(folder: Path) -> None:
    with socket.create_server((ports.LOOPBACK, 0)) as taken:
        address = f"{ports.LOOPBACK}:{taken.getsockname()[1]}"
        done = subprocess.run(
            [*(sys.executable, "-m", "springline", "run", "-f", folder), "--listen", address],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: cannot listen on \S+: something listens there .*\n", done.stderr)
