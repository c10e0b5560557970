"""The whole AMQP 1.0 driver, without a socket, and a peer that says what the case says.

The first part of a case is the plan: how the peer ends, what is declared, and what is done with a
connection that is open, an octet each. What the further parts are, `wire` says.
"""

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Final
from unittest import mock

from fuzz import amqp10_mutations, oracles, stepped_loop
from fuzz.cases import Case
from fuzz.observing import Observer
from fuzz.stepped_loop import SteppedLoop
from fuzz.targets import Target
from fuzz.wire import ENDS, Peer
from springline.core.values import Endpoint, OpenRequest
from springline.drivers.amqp10 import probe, renewal
from springline.drivers.amqp10.connection import Amqp10Connection
from springline.drivers.amqp10.driver import Amqp10Driver
from springline.drivers.amqp10.parameters import (
    Amqp10Parameters,
    LinkParameters,
    ProbeParameters,
    SourceParameters,
    TargetParameters,
)
from springline.drivers.amqp10.probe_target import Amqp10ProbeTarget
from springline.drivers.amqp10.terms import Role
from springline.drivers.shared import dialling
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import ConnectError, SpringlineError
from support import opening, ports

__all__ = ["ACTIONS", "QUEUE", "TARGET", "converse", "named_in_order", "request"]

ACTIONS: Final = ("probe", "hurried probe", "renew", "wait", "close", "abort")
"""What an octet of the plan stands for, by its remainder."""

QUEUE: Final = "probes"
_MOST_ACTIONS: Final = 8
_NEXT_SECRET: Final = f"{oracles.SECRET}/next"


def request(octet: int, port: int = 5672) -> OpenRequest[Amqp10Parameters]:
    """Return what is opened, with the secret that must not come out; an octet says how."""
    address = f"/queues/{QUEUE}" if octet & 8 else f"/queue/{QUEUE}"
    links = (
        LinkParameters(
            name="out", role=Role.SENDER, target=TargetParameters(address=address), keep=True
        ),
        LinkParameters(name="in", role=Role.RECEIVER, source=SourceParameters(address=address)),
    )
    return OpenRequest(
        endpoint=Endpoint("localhost", port),
        address=ports.LOOPBACK,
        tls=None,
        credential=(
            opening.token(oracles.SECRET, "fuzz")
            if octet & 16
            else opening.password("fuzz", oracles.SECRET)
        ),
        parameters=Amqp10Parameters(
            virtual_host="/" if octet & 1 else "",
            container_id="fuzz",
            heartbeat_seconds=10 if octet & 32 else 0,
            links=links if octet & 2 else (),
            probe=ProbeParameters(address=address, receive=True) if octet & 4 else None,
            sasl=SaslPolicy(mechanisms=("PLAIN", "ANONYMOUS"), allow_insecure=True),
            locales=("de-AT",),
            connection_name="springline/fuzz",
        ),
        timeout=30.0,
    )


@contextlib.contextmanager
def named_in_order() -> Iterator[None]:
    """Have what is named at random be named as in the record."""
    numbers = itertools.count(1)
    named = SimpleNamespace(uuid4=lambda: uuid.UUID(int=next(numbers)))
    with mock.patch.object(probe, "uuid", named), mock.patch.object(renewal, "uuid", named):
        yield


async def converse(connection: Amqp10Connection, plan: bytes, observer: Observer) -> None:
    """Do what the plan says, and close; keep the texts of errors."""
    connection.observe(observer)
    for octet in plan[:_MOST_ACTIONS]:
        try:
            await _act(connection, ACTIONS[octet % len(ACTIONS)])
        except (SpringlineError, TimeoutError) as error:
            observer.texts += [str(error), repr(error)]
    observer.texts += [repr(connection.info), repr(connection.info.negotiated.as_status())]
    observer.texts += [connection.cannot_renew]
    with contextlib.suppress(SpringlineError):
        await connection.close(text="the case is over")
    async with asyncio.timeout(60):
        await observer.over.wait()
        await connection._wire.wait_over()


async def _act(connection: Amqp10Connection, action: str) -> None:
    match action:
        case "probe" | "hurried probe":
            await connection.probe(
                Amqp10ProbeTarget(), lifetime=60.0, timeout=5.0 if action == "probe" else 0.1
            )
        case "renew":
            await connection.renew(opening.token(_NEXT_SECRET, "fuzz"), timeout=5.0)
        case "close":
            await connection.close(text="a plan's", condition="amqp:internal-error", timeout=3.0)
        case "abort":
            connection.abort()
        case _:
            await asyncio.sleep(35)


async def _session(case: Case, loop: SteppedLoop) -> None:
    plan = (case[0] or b"\0").ljust(2, b"\0")
    peer = Peer(loop, ENDS[plan[0] % len(ENDS)], case[1:])
    try:
        with mock.patch.object(dialling, "dial", peer.dial), named_in_order():
            await _client(plan, peer)
    finally:
        peer.drop()


async def _client(plan: bytes, peer: Peer) -> None:
    observer = Observer()
    try:
        connection = await Amqp10Driver().open(request(plan[1]))
    except ConnectError as error:
        observer.texts += [str(error), repr(error)]
    else:
        assert isinstance(connection, Amqp10Connection)
        try:
            await converse(connection, plan[2:], observer)
        except TimeoutError:
            raise AssertionError("the end of the connection is not told") from None
        assert len(observer.closes) == 1, "the end is told more than once"
        assert not connection.is_open
        assert connection.blocked is None
    for _ in range(8):  # what has been closed is lost in one of the next turns
        await asyncio.sleep(0)
    assert all(each.is_lost for each in peer.transports), "a transport is left open"
    oracles.check_texts(observer.texts, longest=16 * 1024, what="what is said of the connection")


def run(case: Case) -> None:
    """Do one session."""
    loop = SteppedLoop()
    stepped_loop.run(_session(case or (b"",), loop), loop)


TARGET = Target(name="amqp10_session", run=run, share=1, mutations=amqp10_mutations.ALL)
