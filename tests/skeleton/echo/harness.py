"""The harness of Echo: its driver, and a scripted hub."""

import asyncio
import contextlib
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from springline.adapters import adapters
from springline.api import documents, v1alpha1
from springline.core import desired, ports
from springline.core.desired import SessionSpec
from springline.core.state import Failure
from springline.core.values import Block, Credential, Endpoint, OpenRequest
from springline.drivers.echo.driver import EchoDriver
from springline.drivers.echo.parameters import EchoParameters
from springline.drivers.echo.probe_target import EchoProbeTarget
from springline.drivers.shared.sasl import SaslPolicy
from springline.reasons import Reason
from support import opening
from support.harness import Harness, Peer
from support.ports import LOOPBACK

__all__ = ["HARNESS", "SECRET", "Hub", "declared", "resolved", "serving"]

MECHANISM: Final = "CHANT"
_ACCEPT_TURNS: Final = 8
SECRET: Final = "pl4nted-s3cret"


def _line(verb: str, **values: Any) -> bytes:
    return json.dumps({"say": verb, **values}).encode() + b"\n"


class Hub:
    """A hub on loopback. It checks no password, and echoes nothing while it holds."""

    def __init__(self) -> None:
        self.rejects = False
        self.answers = True
        self.answers_renewals = "yes"
        self.secrets: list[str] = []
        self.said_goodbye = False
        self.port = 0
        self.entered: list[dict[str, Any]] = []
        """What each client said when it entered, in order."""
        self._writer: asyncio.StreamWriter | None = None
        self._silent = asyncio.Event()
        self._clients: set[asyncio.Task[None]] = set()

    def request(self, **changes: Any) -> OpenRequest[Any]:
        """Return a request that reaches it."""
        return OpenRequest(
            endpoint=Endpoint("localhost", self.port),
            address=LOOPBACK,
            tls=None,
            credential=changes.get("credential") or opening.password(),
            parameters=EchoParameters(
                hub="orders",
                heartbeat_seconds=changes.get("heartbeat_seconds", 60),
                longest_line=4096,
                sasl=SaslPolicy(mechanisms=(MECHANISM,), allow_insecure=True),
                connection_name="springline/orders/main",
            ),
            timeout=changes.get("timeout", 10.0),
        )

    def block(self, reason: str) -> None:
        """Hold what the last client sends."""
        self._say("hold", text=reason)

    def unblock(self) -> None:
        """Take the hold back."""
        self._say("go on")

    def close(self, text: str) -> None:
        """Close the last client's connection."""
        self._say("close", text=text)

    def drop(self) -> None:
        """Reset it."""
        assert self._writer is not None
        connection = self._writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def fall_silent(self) -> None:
        """Read and send nothing more."""
        self._silent.set()

    def accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a client."""
        self._writer = writer
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._clients.add(task)

    async def end(self) -> None:
        """Leave all clients."""
        for each in self._clients:
            each.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    def _say(self, verb: str, **values: Any) -> None:
        assert self._writer is not None
        self._writer.write(_line(verb, **values))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.answers:
                writer.write(_line("hello", product="Echo", version="1.0", mechanisms=[MECHANISM]))
            while line := await self._next(reader):
                said = json.loads(line)
                if said["say"] in ("close", "closed"):
                    self.said_goodbye = said["say"] == "close"
                    break
                writer.write(self._answer(said))
        except ConnectionError:
            pass
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _answer(self, said: dict[str, Any]) -> bytes:
        match said["say"]:
            case "login" if self.rejects:
                return _line("no", why="nobody knows you")
            case "login":
                return _line("yes")
            case "enter":
                self.entered.append(said)
                return _line("entered", beat=said["beat"], longest=said["longest"])
            case verb:
                return _line(verb)

    async def _next(self, reader: asyncio.StreamReader) -> bytes:
        """Return the next line, nothing at the end; wait for ever once it has fallen silent."""
        reading = asyncio.ensure_future(reader.readline())
        silent = asyncio.ensure_future(self._silent.wait())
        try:
            await asyncio.wait({reading, silent}, return_when=asyncio.FIRST_COMPLETED)
            if silent.done():
                await asyncio.Event().wait()
            return await reading
        finally:
            reading.cancel()
            silent.cancel()


@contextlib.asynccontextmanager
async def serving() -> AsyncIterator[Hub]:
    """Run a hub for the length of a block."""
    hub = Hub()
    server = await asyncio.start_server(hub.accepted, LOOPBACK, 0)
    hub.port = server.sockets[0].getsockname()[1]
    try:
        yield hub
    finally:
        # A client that has just been accepted becomes a transport in one of the next turns; asyncio
        # forgets its socket if the server closes in between.
        for _ in range(_ACCEPT_TURNS):
            await asyncio.sleep(0)
        server.close()
        await hub.end()


def declared(port: int, *, protocol: str = "echo", **spec: Any) -> list[dict[str, Any]]:
    """Return what a user declares for a hub at a port of this machine."""
    return [
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": "hub"},
            "spec": {
                "protocol": protocol,
                "endpoints": [{"host": "127.0.0.1", "port": port}],
                "sasl": {"allowInsecure": True},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders"},
            "stringData": {"username": "ann", "password": SECRET},
        },
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "BrokerConnection",
            "metadata": {"name": "orders"},
            "spec": {
                "brokerRef": {"name": "hub"},
                "virtualHost": "orders",
                "frameMax": 8192,
                "credentials": {"secretRef": {"name": "orders"}},
                **spec,
            },
        },
    ]


def resolved(*, port: int, protocol: str = "echo", **spec: Any) -> SessionSpec | Failure:
    """Return what the session that is declared so is to do."""
    broker, _, connection = map(documents.parse, declared(port, protocol=protocol, **spec))
    assert isinstance(broker, v1alpha1.Broker)
    assert isinstance(connection, v1alpha1.BrokerConnection)
    return desired.session_spec(
        connection,
        generation=1,
        adapters=adapters(),
        find_broker=lambda _: broker.spec,
        namespace_labels={},
    )


class _EchoHarness:
    """The Echo driver."""

    renews = False
    confirms_renewals = False
    closes_as = Reason.CONNECTION_FORCED

    def __init__(self) -> None:
        self.driver: ports.Driver = EchoDriver()
        self.probes: Sequence[Any] = [EchoProbeTarget()]

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[Peer]:
        async with serving() as hub:
            yield hub

    def credential(self, secret: str) -> Credential:
        return opening.password("ann", secret)

    def shown_block(self, alarm: str) -> Block:
        """Return what the hub has said."""
        return opening.block(alarm)

    async def ask(self, connection: ports.Connection) -> None:
        """All is told without being asked for."""


HARNESS: Final[Callable[[], Harness]] = _EchoHarness
"""What the table of protocols finds."""
