"""A server of HTTP that is reached by a session for a while, and has its own ways meanwhile.

It answers well, then as one of `WAYS` has it, and then well again; status must show all of that.
"""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Final

from chaos.world import World, condition
from support import ports
from support.ports import LOOPBACK
from support.running import API

__all__ = ["WAYS", "meet"]

_numbers = itertools.count()
_REQUESTS: Final = 4
"""So many requests are made on connections that carry one each."""
_SECONDS: Final = 30.0

_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
_REFUSED: Final = (
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
)
_ANSWERS: Final = {
    "well": _OK + b"\r\n{}",
    "throttles": b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "is-away": b"HTTP/1.1 503 Later\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    "hangs-up": _OK + b"Connection: close\r\n\r\n{}",
    "cuts": _OK + b"\r\n{",
}
_LAST: Final = ("hangs-up", "cuts")
"""After these the connection is closed."""

Shown = Callable[[Mapping[str, Any]], bool]


def _is_up(status: Mapping[str, Any]) -> bool:
    return condition(status, "Ready")[0] == "True" and condition(status, "Blocked")[0] == "False"


def _is_throttled(status: Mapping[str, Any]) -> bool:
    is_connected = condition(status, "Connected")[0] == "True"
    return is_connected and condition(status, "Blocked") == ("True", "Throttled")


def _is_lost(status: Mapping[str, Any]) -> bool:
    return condition(status, "Ready")[0] != "True" and bool(status.get("lastClose"))


WAYS: Final[Mapping[str, tuple[str, Shown]]] = {
    "throttles": ("blocked", _is_throttled),
    "is-away": ("blocked", _is_throttled),
    "hangs-up": ("up", _is_up),
    "cuts": ("lost", _is_lost),
}
"""What becomes of the session, in a word, and how status shows that."""


class _Server:
    """Answers whoever shows a credential in its way, and anybody else with 401."""

    def __init__(self) -> None:
        self.way = "well"
        self.requests = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one client."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with contextlib.suppress(OSError, EOFError):
                while await self._answered(reader, writer):
                    pass
        except asyncio.CancelledError:
            pass  # the server ends; nobody waits for this task
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _answered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        if b"\r\nauthorization: " not in head.lower():
            writer.write(_REFUSED)
            return True
        way = self.way
        self.requests += 1
        writer.write(_ANSWERS[way])
        if way in _LAST:
            # In order, so that the answer arrives.
            writer.close()
            await writer.wait_closed()
        return way not in _LAST

    async def end(self) -> None:
        """End what is left."""
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))


@contextlib.asynccontextmanager
async def _serving() -> AsyncIterator[tuple[_Server, int]]:
    lease = ports.lease(1)
    [port] = lease.ports
    served = _Server()
    server = await asyncio.start_server(served.serve, LOOPBACK, port)
    try:
        yield served, port
    finally:
        server.close()
        await served.end()
        lease.release()


async def meet(world: World, way: str) -> None:
    """Declare a session with such a server for a while, and complain of what status does not show.

    `way` is one of `WAYS`.
    """
    await world.springline()
    async with _serving() as (server, port):
        # A name of its own, so that nothing that is still shown of another one counts.
        name = f"web-{next(_numbers)}"
        broker, connection = _documents(world, name, port)
        await world.put(broker)
        await world.put(connection)
        await world.must_become("up", [name], _is_up)
        server.way = way
        word, shown = WAYS[way]
        if way == "hangs-up":
            # It was up before, and still has to be after one request on each connection.
            seen = server.requests
            await world.until(lambda: _has_had(server, seen + _REQUESTS), _SECONDS)
            if (await world.statuses()).get(name, {}).get("lastClose"):
                world.complaints.append("a connection that carries one request is taken for lost")
        await world.must_become(word, [name], shown)
        server.way = "well"
        await world.must_become("up again", [name], _is_up)
        await world.remove(connection)
        await world.remove(broker)


async def _has_had(server: _Server, requests: int) -> bool:
    return server.requests >= requests


def _documents(world: World, name: str, port: int) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the Broker and the BrokerConnection, which logs in with what a Secret has just now."""
    metadata = {"name": name, "namespace": world.declared.namespace}
    broker = {
        "apiVersion": API,
        "kind": "Broker",
        "metadata": metadata,
        "spec": {
            **world.declared.broker("console")["spec"],
            "endpoints": [{"host": LOOPBACK, "port": port}],
        },
    }
    connection = {
        "apiVersion": API,
        "kind": "BrokerConnection",
        "metadata": metadata,
        "spec": {
            "brokerRef": {"name": name},
            "credentials": {"secretRef": {"name": "ann-login"}},
            "probe": {"interval": "1s", "timeout": "3s"},
            "http": {"path": "/"},
        },
    }
    return broker, connection
