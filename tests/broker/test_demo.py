"""`make demo`, as a stranger sees it: what it shows, and that it leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.rabbitmq import find_server

pytestmark = [pytest.mark.broker, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
WALKTHROUGH = REPOSITORY / "examples" / "demo" / "walkthrough.py"
STEPS = ("1/5", "2/5", "3/5", "4/5", "5/5")
MOST_SECONDS = 120


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The running walkthrough; its temporary files go to `tmp_path`."""
    if find_server() is None:
        pytest.skip("RabbitMQ is not installed; tests/support/install-rabbitmq.sh installs it")
    environment = os.environ | {
        "PYTHONPATH": str(REPOSITORY / "tests"),
        "PYTHONIOENCODING": "utf-8",
        "TMPDIR": str(tmp_path),
    }
    with subprocess.Popen(
        [sys.executable, WALKTHROUGH],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
    ) as process:
        try:
            yield process
        finally:
            # No orderly end here: what it started is tied to it and dies with it.
            process.kill()


def test_demo_shows_what_it_promises(demo: subprocess.Popen[str], tmp_path: Path) -> None:
    """Every step comes out, in order, in Springline's own words and in the table."""
    shown, _ = demo.communicate(timeout=MOST_SECONDS)
    assert demo.returncode == 0, shown
    assert "\033" not in shown  # colours are for terminals
    assert [line.split()[0] for line in shown.splitlines() if line.startswith(STEPS)] == [*STEPS]
    refused, blocked, corrected, restarted, ended = parts(shown)
    assert row(refused, "orders") == ["orders", "True", "False", "Connected", "Connected"]
    assert row(refused, "billing") == ["billing", "False", "Unknown", "Rejected", "AccessRefused"]
    assert "403 ACCESS_REFUSED" in refused
    assert row(blocked, "audit") == ["audit", "True", "True", "Connected", "LowOnMemory"]
    assert "Unblocked" in blocked
    assert row(corrected, "billing") == ["billing", "True", "False", "Connected", "Connected"]
    assert row(restarted, "orders")[3] == "Waiting"
    assert restarted.count("Connected             connected to RabbitMQ") == 3
    assert ended.count("closing AMQP connection") == 3
    assert "The broker has 0 connections, and its log none that ended unexpectedly." in ended
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_interrupted_demo_leaves_nothing(
    demo: subprocess.Popen[str], tmp_path: Path, number: signal.Signals
) -> None:
    """Broker and Springline are stopped, and the temporary directory is gone."""
    assert demo.stdout is not None
    for line in demo.stdout:
        if "AccessRefused" in line:
            break
    (directory,) = tmp_path.iterdir()
    assert len(processes_of(directory)) >= 2  # the broker and Springline
    demo.send_signal(number)
    demo.communicate(timeout=MOST_SECONDS)
    assert demo.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []
    assert processes_of(directory) == []


def parts(shown: str) -> list[str]:
    """Return what each of the steps shows."""
    found: list[list[str]] = []
    for line in shown.splitlines():
        if line.startswith(STEPS):
            found.append([])
        if found:
            found[-1].append(line)
    return ["\n".join(lines) for lines in found]


def row(part: str, name: str) -> list[str]:
    """Return the first row of a connection in the tables, without its message."""
    return next(line.split()[:5] for line in part.splitlines() if line.startswith(f"  {name} "))


def processes_of(directory: Path) -> list[str]:
    """Return the command lines that name the directory; one that has just ended may take a moment.

    RabbitMQ's helpers, such as the one that watches the disk, end once the server is gone.
    """
    deadline = time.monotonic() + 5
    while True:
        found = [
            line.decode(errors="replace").replace("\0", " ")
            for line in map(_command_line, Path("/proc").glob("[0-9]*"))
            if os.fsencode(directory) in line
        ]
        if not found or directory.exists() or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _command_line(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:
        return b""  # it has ended
