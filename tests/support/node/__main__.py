"""Bring the node up, run a command on it, and take it down: `python -m support.node -- COMMAND…`.

The command finds the node's kubeconfig in SPRINGLINE_TEST_KUBECONFIG. Its exit code is ours; where
there can be no node, one line says why and the code is 0, because a machine is no defect.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from support.node import isolation
from support.node.machine import Machine, NodeFailed
from support.node.programs import NodeMissing, Programs

__all__: list[str] = []

_END_SECONDS = 60.0
_INSIDE = "--inside"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m support.node", description=__doc__)
    parser.add_argument("--image", action="append", default=[], type=Path, metavar="ARCHIVE")
    parser.add_argument("--identified", action="store_true", help="an authority with identifiers")
    parser.add_argument(_INSIDE, nargs=2, metavar=("DIRECTORY", "CGROUP"), help=argparse.SUPPRESS)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    if options.inside:
        directory, cgroup = options.inside
        return _as_first_process(lambda: _inside(Path(directory), cgroup, options))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return _outside(options)
    except NodeMissing as error:
        print(f"The tests in real pods did not run: {error}.")
        return 0


def _outside(options: argparse.Namespace) -> int:
    """Make what the namespaces do not hold, and wait for their end."""
    Programs.find()
    with tempfile.TemporaryDirectory(prefix="node.", ignore_cleanup_errors=True) as directory:
        with isolation.cgroup() as cgroup:
            own = [sys.executable, "-m", "support.node", _INSIDE, directory, cgroup]
            for image in options.image:
                own += ["--image", str(image)]
            if options.identified:
                own.append("--identified")
            process = subprocess.Popen(isolation.isolated([*own, "--", *options.command]))
            code = _waited(process)
        if os.environ.get("KEEP"):
            kept = Path(tempfile.gettempdir()) / "node.kept"
            shutil.rmtree(kept, ignore_errors=True)
            kept.mkdir()
            for log in Path(directory).glob("*.log"):
                shutil.copy(log, kept)
            print(f"The node's logs are in {kept}.")
    return code


def _waited(process: "subprocess.Popen[bytes]") -> int:
    """Return the exit code. The first Ctrl-C gives the node time to end, the second does not."""
    try:
        return process.wait()
    except KeyboardInterrupt:
        # A terminal has sent it to the node, too.
        with contextlib.suppress(KeyboardInterrupt, subprocess.TimeoutExpired):
            return process.wait(_END_SECONDS)
        raise
    finally:
        # Whatever ends us ends the node.
        process.kill()
        process.wait()


def _as_first_process(run: "Callable[[], int]") -> int:
    """Run in a child, and take care of what is left to the first process of a namespace.

    Containers' helpers become its children when their parents end.
    """
    child = os.fork()
    if child == 0:
        code = 1
        try:
            code = run()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: os.kill(child, number))
    while True:
        ended, status = os.wait()
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def _inside(directory: Path, cgroup: str, options: argparse.Namespace) -> int:
    """Run the command on the node."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()
    try:
        with Machine(
            directory, cgroup=cgroup, images=options.image, identified=options.identified
        ) as machine:
            print(f"The node is up after {time.monotonic() - began:.0f} s.", flush=True)
            environment = {**os.environ, "SPRINGLINE_TEST_KUBECONFIG": str(machine.kubeconfig)}
            return subprocess.run(options.command, env=environment, check=False).returncode
    except NodeMissing as error:
        print(f"The tests in real pods did not run: {error}.")
        return 0
    except NodeFailed as error:
        print(f"The node did not start: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
