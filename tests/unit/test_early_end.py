"""A signal ends a program in an orderly way from its first instruction on."""

import asyncio
import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from springline import early_end
from support import ports
from support.springline_process import environment
from support.waiting import PATIENCE, eventually

# Milliseconds after the start, from before the interpreter is there to after everything is.
INSTANTS = (0, 3, 10, 30, 60, 100, 150, 250, 400, 700, 1200)

_BIN = Path(sys.executable).parent
PROGRAMS: Mapping[str, Sequence[str | Path]] = {
    "python -m springline": [sys.executable, "-m", "springline"],
    "springline": [_BIN / "springline"],
}
PLUGIN: Sequence[str | Path] = [_BIN / "kubectl-springline"]


@pytest.fixture(params=PROGRAMS)
def program(request: pytest.FixtureRequest) -> Sequence[str | Path]:
    """Each way to start it."""
    return PROGRAMS[request.param]


@pytest.fixture
def kubeconfig(tmp_path: Path) -> Path:
    """A cluster that does not answer."""
    path = tmp_path / "kubeconfig"
    cluster = {"server": "http://127.0.0.1:9"}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path.write_text(yaml.safe_dump(document))
    return path


def ask(kubeconfig: Path, script: str) -> None:
    """Have a script asked for the token."""
    document = yaml.safe_load(kubeconfig.read_text())
    document["users"][0]["user"]["exec"] = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": "sh",
        "args": ["-c", script],
        "interactiveMode": "Never",
    }
    kubeconfig.write_text(yaml.safe_dump(document))


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a broker that accepts and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def manifests(tmp_path: Path, silent: int) -> Path:
    """A connection to it."""
    folder = tmp_path / "manifests"
    folder.mkdir()
    broker = {
        "endpoints": [{"host": "127.0.0.1", "port": silent}],
        "sasl": {"allowInsecure": True},
        "connectTimeout": "60s",
    }
    connection = {
        "brokerRef": {"name": "rabbit"},
        "credentials": {"secretRef": {"name": "orders"}},
    }
    documents = [
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": "rabbit"},
            "spec": broker,
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders"},
            "stringData": {"username": "orders", "password": "hunter2hunter2"},
        },
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "BrokerConnection",
            "metadata": {"name": "orders"},
            "spec": connection,
        },
    ]
    (folder / "all.yaml").write_text(yaml.safe_dump_all(documents))
    return folder


def start(
    command: Sequence[str | Path], *, held_back: bool, stdin: int = subprocess.DEVNULL
) -> "subprocess.Popen[bytes]":
    """Start it, and hold signals back until it wants them, if asked for."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM] if held_back else [])
    try:
        return subprocess.Popen(
            command,
            env=environment(),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def listens(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a process has said what SIGTERM means."""
    return signals(process, "SigCgt")


def signals(process: "subprocess.Popen[bytes]", which: str) -> bool:
    """Whether SIGTERM is in one of a process's sets of signals."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
            if line.startswith(f"{which}:"):
                return bool(int(line.split()[1], 16) >> (signal.SIGTERM - 1) & 1)
    return False


async def ended(
    command: Sequence[str | Path], milliseconds: int, *, held_back: bool = True
) -> tuple[int, str]:
    """Start it, send SIGTERM at this time, and return exit code and output."""
    process = start(command, held_back=held_back)
    try:
        if not held_back:
            await eventually(lambda: listens(process), what="it listens to signals")
        # The instant is what the test is about; no state is expected there.
        await asyncio.sleep(milliseconds / 1000)
        process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    return process.returncode, output.decode()


@pytest.mark.parametrize("held_back", [True, False], ids=["from the start", "once it listens"])
async def test_run_ends_with_success_whenever_it_is_stopped(
    program: Sequence[str | Path], manifests: Path, held_back: bool
) -> None:
    for milliseconds in INSTANTS:
        command = [*program, "run", "--manifests", manifests]
        code, output = await ended(command, milliseconds, held_back=held_back)
        assert (milliseconds, code) == (milliseconds, 0), output
        assert "Traceback" not in output


@pytest.mark.parametrize("held_back", [True, False], ids=["from the start", "once it listens"])
async def test_operator_ends_with_success_whenever_it_is_stopped(
    program: Sequence[str | Path], kubeconfig: Path, held_back: bool
) -> None:
    with contextlib.closing(_Port()) as port:
        for milliseconds in INSTANTS:
            command = [*program, "operator", "--kubeconfig", kubeconfig, "--listen", port.address]
            code, output = await ended(command, milliseconds, held_back=held_back)
            assert (milliseconds, code) == (milliseconds, 0), output
            assert "Traceback" not in output


def test_signals_are_ignored_while_the_interpreter_ends() -> None:
    """A second SIGTERM, or the first to a program that ends anyway, is no failure.

    At its very end the interpreter gives back the defaults of all signals that it has a function
    for, and then one would end the process with -15.
    """
    code = """
import os, sys
from springline import early_end

class Last:
    def __del__(self, open=os.open, read=os.read, write=os.write):
        write(1, read(open("/proc/self/status", 0), 9999))

early_end.listen(lambda number: 99)
sys.springline_last = Last()
sys.exit(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), capture_output=True, check=False
    )
    assert (done.returncode, done.stderr.decode()) == (3, "")
    [line] = [each for each in done.stdout.decode().splitlines() if each.startswith("SigIgn:")]
    mask = int(line.split()[1], 16)
    assert all(mask >> (number - 1) & 1 for number in early_end.SIGNALS)


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(("springline", "--help"), id="help"),
        pytest.param(("springline", "check", "-h"), id="help of a command"),
        pytest.param(("kubectl_springline", "explain"), id="explain"),
    ],
)
def test_output_that_cannot_be_written_is_told_in_one_line(words: tuple[str, ...]) -> None:
    program, *rest = words
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", f"from springline import entry; entry.{program}()", *rest],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.stderr == "error: standard output cannot be written: No space left on device\n"
    assert done.returncode == 2


@pytest.mark.parametrize("closed", ["<&- >&- 2>&-", ">&-", "2>&-"])
async def test_run_holds_its_sessions_without_standard_streams(
    manifests: Path, tmp_path: Path, closed: str
) -> None:
    """As some supervisors start it. No connection gets one of their numbers."""
    status = tmp_path / "status"
    words: list[str | Path] = [sys.executable, "-m", "springline", "run", "--manifests", manifests]
    script = f'exec "$@" {closed}'
    process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
        ["sh", "-c", script, "sh", *words, "--status-dir", status],
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await eventually(
            lambda: process.poll() is not None or [*status.glob("BrokerConnection.*")],
            what="it runs",
        )
        assert process.poll() is None
        descriptors = Path(f"/proc/{process.pid}/fd")
        links = [str((descriptors / number).readlink()) for number in "012"]
        process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(process.wait, PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert links == ["/dev/null"] * 3
    assert process.returncode == 0


async def test_image_holds_signals_back_until_the_program_listens(kubeconfig: Path) -> None:
    """The first process of a container would never get one that comes before that."""
    process = start([*image_entry_point(), "operator", "--kubeconfig", kubeconfig], held_back=False)
    try:
        await eventually(lambda: signals(process, "SigBlk"), what="signals are held back")
        process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output.decode()


def image_entry_point() -> list[str]:
    """What the image starts, with this environment's programs."""
    text = (Path(__file__).resolve().parents[2] / "Dockerfile").read_text(encoding="utf-8")
    [line] = [each for each in text.splitlines() if each.startswith("ENTRYPOINT ")]
    words: list[str] = json.loads(line.removeprefix("ENTRYPOINT "))
    return [str(_BIN / "springline") if each == "springline" else each for each in words]


async def test_operator_that_waits_for_a_login_program_can_be_stopped(
    program: Sequence[str | Path], kubeconfig: Path, tmp_path: Path
) -> None:
    asked = tmp_path / "asked"
    ask(kubeconfig, f"touch {asked}; exec sleep 20")
    process = start([*program, "operator", "--kubeconfig", kubeconfig], held_back=False)
    try:
        await eventually(asked.exists, what="the program is asked")
        process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 0, output.decode()
    assert b"Traceback" not in output


@pytest.mark.parametrize("held_back", [True, False], ids=["from the start", "once it listens"])
async def test_check_that_is_stopped_has_no_answer(
    program: Sequence[str | Path], manifests: Path, held_back: bool
) -> None:
    """0 would say that all connections are Ready."""
    for milliseconds in INSTANTS:
        command = [*program, "check", "-f", manifests]
        code, output = await ended(command, milliseconds, held_back=held_back)
        assert (milliseconds, code) == (milliseconds, 128 + signal.SIGTERM), output
        assert output == ""


@pytest.mark.parametrize("held_back", [True, False], ids=["from the start", "once it listens"])
async def test_watch_of_the_plugin_ends_with_success(kubeconfig: Path, held_back: bool) -> None:
    for milliseconds in INSTANTS[:8]:
        command = [*PLUGIN, "watch", "--kubeconfig", kubeconfig]
        code, output = await ended(command, milliseconds, held_back=held_back)
        # Where nobody answers it may have said so and ended before.
        assert (milliseconds, code) in {(milliseconds, 0), (milliseconds, 3)}, output
        assert "Traceback" not in output


async def test_check_that_waits_for_manifests_can_be_stopped(
    program: Sequence[str | Path],
) -> None:
    """Standard input may be a terminal at which nobody types."""
    reading, writing = os.pipe()
    try:
        process = start([*program, "check", "-f", "-"], held_back=False, stdin=reading)
        try:
            threads = Path(f"/proc/{process.pid}/task")
            await eventually(lambda: len([*threads.iterdir()]) > 1, what="a thread that reads")
            process.send_signal(signal.SIGTERM)
            output, _ = await asyncio.to_thread(process.communicate, timeout=PATIENCE)
        finally:
            process.kill()
            process.wait()
    finally:
        os.close(reading)
        os.close(writing)
    assert (process.returncode, output) == (128 + signal.SIGTERM, b"")


def test_nothing_large_is_imported_before_signals_are_listened_to() -> None:
    """Whatever is imported before is a time in which a signal ends it without a word."""
    code = "import springline.entry, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-S", "-c", code], env=environment(), capture_output=True, check=True
    )
    large = {"asyncio", "click", "logging", "socket", "typing_extensions", "yaml"}
    assert not large & set(done.stdout.decode().split())


class _Port:
    """An address to listen at."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        self._lease = ports.lease(1)
        self.address = f"127.0.0.1:{self._lease.ports[0]}"

    def close(self) -> None:
        self._lease.release()
