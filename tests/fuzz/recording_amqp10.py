"""Write the sessions of the AMQP 1.0 corpus anew: `python -m fuzz.recording_amqp10 NAME`.

Each is what a real RabbitMQ says to the engine, which does what the plan says. NAME is what the
files' names begin with: the broker's version, of which there may be several.
"""

import asyncio
import contextlib
import socket
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final
from unittest import mock

from proton import symbol

from fuzz import cases
from fuzz.observing import Observer
from fuzz.oracles import SECRET
from fuzz.targets import CORPUS, amqp10, amqp10_session
from springline.drivers.amqp10 import codec
from springline.drivers.amqp10.connection import Amqp10Connection
from springline.drivers.amqp10.driver import Amqp10Driver
from springline.drivers.amqp10.frames import AMQP_HEADER, HEADER_OCTETS, SASL, SASL_HEADER, framed
from springline.errors import SpringlineError
from support.rabbitmq import RabbitMQNode

__all__ = ["main"]

_QUIET_SECONDS: Final = 0.4
"""So long without an octet is the end of a part."""
_OPTIONS_3: Final = 0b0011
_OPTIONS_4: Final = 0b1111
_USER: Final = "fuzz"

_PLANS: Final[dict[str, tuple[str, ...]]] = {
    "sends": ("nothing", "begin", "send to", "send", "settle", "detach", "end", "close"),
    "receives": (
        *("nothing", "begin", "send to", "send", "receive from", "settle", "receive", "free"),
        *("end", "close"),
    ),
    "several": ("begin", "begin", "begin", "end", "begin", "end", "end"),
    "gives-up": ("begin", "send to", "free", "end", "begin", "receive from", "end", "close"),
    "beats": ("begin", "tick", "tick", "close"),
}
_DECLARE: Final = (
    'rabbit_amqqueue:declare({{resource,<<"/">>,queue,<<"{queue}">>}},'
    'true,false,[],none,<<"fuzz">>), ok.'
)
_FORCED: Final = ("nothing", "begin", "send to", "nothing")


class _Socket:
    """A connection that is logged in."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.sendall(SASL_HEADER)
        self._exactly(HEADER_OCTETS)
        self._frame()
        login = f"\0{_USER}\0{SECRET}".encode()
        self._socket.sendall(
            framed(codec.encode(codec.SASL_INIT, [symbol("PLAIN"), login]), type=SASL)
        )
        self._frame()

    def __enter__(self) -> "_Socket":
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _exactly(self, octets: int) -> bytes:
        found = b""
        while len(found) < octets:
            piece = self._socket.recv(octets - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found

    def _frame(self) -> bytes:
        size = int.from_bytes(self._exactly(4))
        return self._exactly(size - 4)

    def header(self) -> None:
        """Read the header of AMQP."""
        assert self._exactly(HEADER_OCTETS) == AMQP_HEADER

    def say(self, octets: bytes) -> None:
        """Send, unless the broker has gone."""
        if octets:
            try:
                self._socket.sendall(octets)
            except OSError:
                return

    def hear(self, first_seconds: float) -> bytes:
        """Return all that comes until it is quiet."""
        found = b""
        self._socket.settimeout(first_seconds)
        while True:
            try:
                piece = self._socket.recv(65536)
            except OSError:
                return found
            if not piece:
                return found
            found += piece
            self._socket.settimeout(_QUIET_SECONDS)


def _recorded(
    port: int, options: int, actions: Sequence[str], *, before_last: Callable[[], object] | None
) -> list[bytes]:
    client = amqp10.Client(options)
    said: list[bytes] = []
    with _Socket(port) as connection:
        connection.say(client.output())
        connection.header()
        client.engine.receive_header()
        for number, action in enumerate(actions, start=1):
            client.act(action)
            connection.say(client.output())
            if before_last is not None and number == len(actions):
                before_last()
            part = connection.hear(_QUIET_SECONDS if number > 1 else 2.0)
            client.engine.receive(part)
            connection.say(client.output())
            client.look()
            assert client.engine.fault is None
            said.append(part)
    return said


_SESSIONS: Final[dict[str, tuple[int, tuple[str, ...]]]] = {
    "probes": (0b1100, ("probe", "probe", "close")),
    "links": (0b1010, ("probe", "probe")),
    "virtual-host": (0b101001, ("probe", "renew", "probe", "abort")),
    "all": (0b1111, ("probe", "hurried probe", "renew", "probe", "close")),
}
_MOST_PARTS: Final = 18


async def _session(port: int, options: int, actions: Sequence[str]) -> list[bytes]:
    said: list[bytes] = []
    unchanged = asyncio.StreamReader.feed_data

    def feed_data(reader: asyncio.StreamReader, octets: bytes) -> None:
        said.append(bytes(octets))
        unchanged(reader, octets)

    with (
        mock.patch.object(asyncio.StreamReader, "feed_data", feed_data),
        amqp10_session.named_in_order(),
        contextlib.suppress(SpringlineError),
    ):
        connection = await Amqp10Driver().open(amqp10_session.request(options, port))
        assert isinstance(connection, Amqp10Connection)
        plan = bytes(amqp10_session.ACTIONS.index(each) for each in actions)
        await amqp10_session.converse(connection, plan, Observer())
    return [*said[:_MOST_PARTS], *([b"".join(said[_MOST_PARTS:])] if said[_MOST_PARTS:] else [])]


def _write_session(name: str, options: int, actions: Sequence[str], said: Sequence[bytes]) -> None:
    plan = bytes([0, options, *(amqp10_session.ACTIONS.index(each) for each in actions)])
    text = cases.written(f"{name}: the plan, and then what RabbitMQ says", [plan, *said])
    (CORPUS / "amqp10_session" / f"{name}.hex").write_text(text, encoding="ascii")
    print(f"session {name}: {[len(each) for each in said]}")


def _write(name: str, options: int, actions: Sequence[str], said: Sequence[bytes]) -> None:
    plan = bytes([options, *(amqp10.ACTIONS.index(each) for each in actions)])
    text = cases.written(f"{name}: the plan, and then what RabbitMQ says", [plan, *said])
    (CORPUS / "amqp10" / f"{name}.hex").write_text(text, encoding="ascii")
    print(f"{name}: {[len(each) for each in said]}")


def main(prefix: str) -> int:
    """Record all sessions."""
    for each in ("amqp10", "amqp10_session"):
        (CORPUS / each).mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        plugins = () if prefix.startswith("4") else ("rabbitmq_amqp1_0",)
        with RabbitMQNode(Path(folder), plugins=plugins) as node:
            options = _OPTIONS_4 if prefix.startswith("4") else _OPTIONS_3
            node.add_user(_USER, SECRET)
            node.set_permissions(_USER, "/")
            if options == _OPTIONS_4:  # 3.10 makes a queue itself, its own way
                for queue in (amqp10.QUEUE, amqp10_session.QUEUE):
                    node.eval(_DECLARE.format(queue=queue))
            for name, actions in _PLANS.items():
                said = _recorded(node.amqp_port, options, actions, before_last=None)
                _write(f"{prefix}-{name}", options, actions, said)
            for name, (of_4, actions) in _SESSIONS.items():
                how = of_4 if options == _OPTIONS_4 else of_4 & ~0b1000
                said = asyncio.run(_session(node.amqp_port, how, actions))
                _write_session(f"{prefix}-{name}", how, actions, said)
            administrated: dict[str, Callable[[], object]] = {
                "closed": lambda: node.close_all_connections(f"bye bye, {SECRET}"),
                "alarm": lambda: node.set_alarm("memory"),
                "deleted": lambda: node.delete_user(_USER),
            }
            for name, act in administrated.items():
                said = _recorded(node.amqp_port, options, _FORCED, before_last=act)
                _write(f"{prefix}-{name}", options, _FORCED, said)
                node.clear_alarm("memory")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
