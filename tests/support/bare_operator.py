"""The operator as a process with nothing but a kubeconfig, as one runs it outside of a cluster.

With the rights and options of the chart it is `operator_process`.
"""

import contextlib
import http.client
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from support import ports, processes, springline_process
from support.ports import LOOPBACK
from support.waiting import eventually

__all__ = ["BareOperator", "running"]

_DEADLINE = 60.0


class BareOperator:
    """A process that has been started."""

    def __init__(self, process: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
        self._process = process
        self._port = port
        self._output = output

    @property
    def output(self) -> str:
        """Everything written so far."""
        return self._output.read_text(encoding="utf-8", errors="replace")

    async def until_ready(self) -> None:
        """Wait until it has taken in everything that is declared."""

        def is_ready() -> bool:
            assert self._process.poll() is None, self.output
            connection = http.client.HTTPConnection(LOOPBACK, self._port, timeout=10)
            with contextlib.suppress(OSError), contextlib.closing(connection):
                connection.request("GET", "/readyz")
                return connection.getresponse().status == http.client.OK
            return False

        try:
            await eventually(is_ready, timeout=_DEADLINE, what="it is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None

    def stop(self) -> None:
        """Ask it to stop and wait; that it says that it failed fails the test. Idempotent."""
        self._process.terminate()
        code = self._process.wait(_DEADLINE)
        assert code == 0, f"it ended with {code}\n{self.output}"


@contextlib.contextmanager
def running(
    directory: Path,
    kubeconfig: Path,
    *,
    program: Sequence[str] = (sys.executable, "-m", "springline"),
) -> Iterator[BareOperator]:
    """Run it until the end of the block, where it is stopped in order."""
    lease = ports.lease(1)
    [port] = lease.ports
    output = directory / "output.log"
    process = processes.spawn(
        [
            *program,
            *("operator", "--kubeconfig", kubeconfig, "--listen", f"{LOOPBACK}:{port}"),
            *springline_process.ALLOW_LOOPBACK,
        ],
        env=springline_process.environment(),
        output=output,
    )
    operator = BareOperator(process, port, output)
    try:
        yield operator
        operator.stop()
    finally:
        process.kill()
        process.wait()
        lease.release()
