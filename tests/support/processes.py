"""Start servers that cannot outlive the Python process that started them.

It does not know what the servers are, nor how to ask them to stop nicely beyond SIGTERM.

How a server is tied to us: the kernel kills it when its parent dies (`PR_SET_PDEATHSIG`), which
works even after SIGKILL, where an `atexit` handler or a `finally` would not run. Two traps come
with it:

- The call has to be made in the child. A `preexec_fn` is unsafe in a program with threads (and
  warned about from Python 3.12), so a Python one-liner makes the call and becomes the server by
  `exec`. The setting survives every further `exec`, so it reaches the Erlang VM through RabbitMQ's
  shell scripts, as long as those `exec` too and do not fork.
- "Parent" means the *thread* that started the child. A worker of `asyncio.to_thread` ends with its
  event loop and would take the server along, so one daemon thread, which lives as long as the
  process, starts them all.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

__all__ = ["freeze", "spawn", "terminate"]

_FREEZE_SECONDS = 30.0

# argv: our pid, then the command. The check closes the race with a parent that died before prctl.
_TIE_TO_PARENT = """
import ctypes, os, signal, sys
PR_SET_PDEATHSIG = 1
if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
    sys.exit("prctl(PR_SET_PDEATHSIG): " + os.strerror(ctypes.get_errno()))
if os.getppid() != int(sys.argv[1]):
    sys.exit("the process that asked for this one is gone")
for number in (signal.SIGINT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execvpe(sys.argv[2], sys.argv[2:], os.environ)
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """One process to start, and where its starter waits for it."""

    command: list[str]
    env: dict[str, str]
    output: Path
    started: "Future[subprocess.Popen[bytes]]"


_orders: queue.SimpleQueue[_Order] = queue.SimpleQueue()
_starter_lock = threading.Lock()
_starter: threading.Thread | None = None


def spawn(
    command: Sequence[str | Path], *, env: Mapping[str, str], output: Path
) -> subprocess.Popen[bytes]:
    """Start `command` in a session of its own, its output appended to a file.

    The pid is the command's own. The environment is exactly `env`. A session of its own keeps
    Ctrl-C in a terminal from reaching the server before the caller has decided how to stop it.
    Signals do what they usually do, also where we ignore some: nohup and a shell's `&` have us so.
    """
    order = _Order(
        command=[sys.executable, "-I", "-S", "-c", _TIE_TO_PARENT, str(os.getpid())]
        + [str(part) for part in command],
        env=dict(env),
        output=output,
        started=Future(),
    )
    _ensure_starter()
    _orders.put(order)
    return order.started.result()


def freeze(process: subprocess.Popen[bytes]) -> None:
    """Stop a process where it is, until SIGCONT. It does nothing any more when this returns.

    The kernel stops one thread after the other, and on a busy machine one that is at work goes on
    for a while.
    """
    process.send_signal(signal.SIGSTOP)
    deadline = time.monotonic() + _FREEZE_SECONDS
    while not _is_frozen(process.pid):
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {process.pid} has not stopped")
        time.sleep(0.001)


def _is_frozen(pid: int) -> bool:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            state = (thread / "stat").read_text(encoding="ascii", errors="replace")
            # The name stands in brackets, and may hold anything.
            if state.rpartition(")")[2].split()[0] not in ("T", "t", "Z", "X"):
                return False
    return True


def terminate(process: subprocess.Popen[bytes], *, timeout: float) -> None:
    """Stop a process with SIGTERM, after `timeout` seconds with SIGKILL. Idempotent."""
    process.terminate()
    try:
        process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _ensure_starter() -> None:
    global _starter  # noqa: PLW0603 - the thread has to be one for the whole process
    with _starter_lock:
        # A forked child inherits the variable but not the thread.
        if _starter is None or not _starter.is_alive():
            _starter = threading.Thread(target=_start_ordered, name="process-starter", daemon=True)
            _starter.start()


def _start_ordered() -> None:
    while True:
        order = _orders.get()
        try:
            with order.output.open("ab") as output:
                process = subprocess.Popen(
                    order.command,
                    env=order.env,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                )
        except (OSError, ValueError) as error:
            order.started.set_exception(error)
        else:
            order.started.set_result(process)
