"""Ctrl-C ends a run, and everything that it has started, whenever it comes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import chaos
from support.rabbitmq import find_server
from support.waiting import eventually

_TESTS = Path(chaos.__file__).parents[1]
_INTERRUPTED = 130

Started = Callable[..., "subprocess.Popen[bytes]"]


def _stat(pid: int) -> list[str]:
    """Return what the kernel says of a process after its name; empty where there is none."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return []
    return text.rsplit(")", 1)[1].split()


class _Family:
    """The processes that one has started, and those that they have, as long as it looks."""

    def __init__(self, root: int) -> None:
        self._root = root
        self._seen: dict[int, str] = {}

    def look(self) -> list[str]:
        """Look, and return the command lines of those that there are."""
        stats = {int(each.name): _stat(int(each.name)) for each in Path("/proc").glob("[0-9]*")}
        family, found = {self._root}, 1
        while found:
            more = {pid for pid, stat in stats.items() if stat and int(stat[1]) in family} - family
            family |= more
            found = len(more)
        family -= {self._root}
        self._seen |= {pid: stats[pid][19] for pid in family}
        return [_command(pid) for pid in family]

    def left(self) -> list[str]:
        """Return the command lines of all that were seen and still live."""
        return [
            f"{pid} {_command(pid)}"
            for pid, began in self._seen.items()
            if (stat := _stat(pid)) and stat[19] == began and stat[0] not in "ZX"
        ]


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Started]:
    """Start `python -m chaos`; what has not ended at the end is killed."""
    if find_server() is None:
        pytest.skip("there is no RabbitMQ")
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(
            [sys.executable, "-m", "chaos", *options],
            env={**os.environ, "PYTHONPATH": str(_TESTS), "TMPDIR": str(tmp_path)},
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    "last",
    [
        pytest.param("epmd", id="while the broker starts"),
        pytest.param("subject.py", id="while Springline starts"),
    ],
)
async def test_ctrl_c_stops_everything_that_has_been_started(
    run: Started, tmp_path: Path, last: str
) -> None:
    """No process is left, and no directory, also where a server was just being started."""
    process = run("--part", "A", "--seed", "interrupted", "--sequences", "1")
    family = _Family(process.pid)
    await eventually(lambda: any(last in each for each in family.look()), what=f"{last} is there")
    process.send_signal(signal.SIGINT)

    def has_ended() -> bool:
        family.look()
        return process.poll() is not None

    await eventually(has_ended, what="it has ended")
    assert process.returncode == _INTERRUPTED
    await eventually(lambda: not family.left(), what="all that it started has ended")
    left = [each for each in os.listdir(tmp_path) if each.startswith("springline-chaos-")]  # noqa: PTH208
    assert not left
