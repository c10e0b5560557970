"""Brokers that flood whoever connects, within bounds of their own; in a process of their own, too.

A flood ends after some seconds or some bytes, whichever comes first, so that the machine is not
what gives way. `apart` runs several in another process: what they cost is then not counted as what
their victim costs.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path

import pamqp.frame
from pamqp import commands as spec
from pamqp.heartbeat import Heartbeat

from support import fake_peer, ports, processes
from support.fake_peer import Talk
from support.waiting import eventually

__all__ = ["SCRIPTS", "SECONDS", "Apart", "apart"]

SECONDS = 12.0
"""How long one flood lasts: longer than two heartbeats of the sessions beside it."""

_MOST_BYTES = 24 * 1024**2
_PIECE = 16384
_LISTENING = "listening"
_TESTS = Path(__file__).resolve().parents[1]


async def _said(talk: Talk, octets: bytes) -> None:
    """Say the same again and again."""
    octets *= max(_PIECE // len(octets), 1)
    deadline = time.monotonic() + SECONDS
    left = _MOST_BYTES
    while left > 0 and time.monotonic() < deadline:
        talk.raw(octets)
        await talk.writer.drain()
        left -= len(octets)
    await talk.until_gone()


async def _heartbeats(talk: Talk) -> None:
    await talk.handshake()
    await _said(talk, pamqp.frame.marshal(Heartbeat(), 0))


async def _blocks(talk: Talk) -> None:
    await talk.handshake()
    both = (spec.Connection.Blocked("low on memory"), spec.Connection.Unblocked())
    await _said(talk, b"".join(pamqp.frame.marshal(each, 0) for each in both))


async def _large_frame(talk: Talk) -> None:
    """Agree on no limit, announce a frame that never ends, and begin it."""
    await talk.greet()
    await talk.log_in()
    await talk.tune(frame_max=0)
    talk.send(spec.Connection.OpenOk())
    talk.raw(b"\x03\x00\x01" + (2**31 - 1).to_bytes(4))
    await _said(talk, b"x" * _PIECE)


async def _closes(talk: Talk) -> None:
    """Close whatever is opened, at once."""
    await talk.handshake()
    talk.send(spec.Connection.Close(320, "CONNECTION_FORCED - for fun", 0, 0))
    await talk.until_gone()


async def _garbage(talk: Talk) -> None:
    await _said(talk, bytes(range(256)))


SCRIPTS: Mapping[str, Callable[[Talk], Awaitable[None]]] = {
    "heartbeats": _heartbeats,
    "blocks": _blocks,
    "large-frame": _large_frame,
    "closes": _closes,
    "garbage": _garbage,
}


class Apart:
    """Hostile brokers in a process of their own."""

    def __init__(self, scripts: Mapping[int, str], output: Path) -> None:
        self.scripts = scripts
        """By the port of each."""
        self._output = output

    @property
    def met(self) -> Counter[int]:
        """How many connections each port has accepted so far."""
        lines = self._output.read_text(encoding="utf-8").splitlines()
        return Counter(int(each) for each in lines if each.isdecimal())


@contextlib.asynccontextmanager
async def apart(directory: Path, *, each: int) -> AsyncIterator[Apart]:
    """Run so many brokers of each script; yield when all of them listen."""
    lease = ports.lease(each * len(SCRIPTS))
    scripts = dict(zip(lease.ports, [name for name in SCRIPTS for _ in range(each)], strict=True))
    output = directory / "hostile.log"
    process = processes.spawn(
        [sys.executable, "-m", __name__, *(f"{port}:{name}" for port, name in scripts.items())],
        env={**os.environ, "PYTHONPATH": str(_TESTS), "PYTHONUNBUFFERED": "1"},
        output=output,
    )

    def listens() -> bool:
        said = output.read_text(encoding="utf-8") if output.exists() else ""
        assert process.poll() is None, said
        return _LISTENING in said

    try:
        await eventually(listens, what="the hostile brokers listen")
        yield Apart(scripts, output)
        assert process.poll() is None, output.read_text(encoding="utf-8")
    finally:
        process.kill()
        process.wait()
        lease.release()


async def _serve(scripts: Mapping[int, str]) -> None:
    """Serve until SIGTERM, and print the port of each connection."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)

    def counted(port: int, name: str) -> fake_peer.Script:
        async def script(talk: Talk) -> None:
            print(port)
            with contextlib.suppress(AssertionError):  # the client has said goodbye instead
                await SCRIPTS[name](talk)

        return script

    async with contextlib.AsyncExitStack() as stack:
        for port, name in scripts.items():
            await stack.enter_async_context(fake_peer.serving(counted(port, name), port=port))
        print(_LISTENING)
        await stopped.wait()


def main(arguments: Sequence[str]) -> None:
    """Serve what the arguments name."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}", description=__doc__)
    parser.add_argument("scripts", nargs="+", metavar="PORT:SCRIPT")
    given = parser.parse_args(arguments)
    pairs = [each.split(":") for each in given.scripts]
    asyncio.run(_serve({int(port): name for port, name in pairs}))


if __name__ == "__main__":
    main(sys.argv[1:])
