"""The AMQP 0-9-1 driver, whole but for the socket, and a peer that says what the case says.

The first part of a case is the plan: how the peer ends, and what the client does with a connection
that is open, an octet each. What the further parts are, `wire` says.
"""

import asyncio
import contextlib
from collections.abc import Sequence
from random import Random
from unittest import mock

from pamqp import commands as spec
from pamqp.frame import marshal

from fuzz import oracles, stepped_loop
from fuzz.cases import Case
from fuzz.mutations import mutated
from fuzz.observing import Observer
from fuzz.stepped_loop import SteppedLoop
from fuzz.targets import Target
from fuzz.wire import ENDS, Peer
from springline.core.values import OpenRequest
from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.drivers.amqp091.parameters import Amqp091Parameters
from springline.drivers.shared import dialling
from springline.errors import ConnectError, SpringlineError
from support import opening

__all__ = ["ACTIONS", "TARGET", "converse", "request"]

ACTIONS = ("probe", "probe own queue", "renew", "wait", "close", "abort")
"""What an octet of the plan stands for, by its remainder."""

_MOST_ACTIONS = 8
_NEXT_SECRET = f"{oracles.SECRET}/next"


def request(port: int = 5672) -> OpenRequest[Amqp091Parameters]:
    """Return what is opened, with the secret that must not come out."""
    return opening.request(port, credential=opening.password("fuzz", oracles.SECRET))


async def converse(connection: Amqp091Connection, plan: bytes, observer: Observer) -> None:
    """Do what the plan says, and close; keep the texts of errors."""
    connection.observe(observer)
    for octet in plan[:_MOST_ACTIONS]:
        try:
            await _act(connection, ACTIONS[octet % len(ACTIONS)])
        except (SpringlineError, TimeoutError) as error:
            observer.texts += [str(error), repr(error)]
    with contextlib.suppress(SpringlineError):
        await connection.close(text="the case is over")
    observer.texts.append(repr(connection.info))
    async with asyncio.timeout(60):
        await observer.over.wait()


async def _act(connection: Amqp091Connection, action: str) -> None:
    match action:
        case "probe" | "probe own queue":
            await opening.probe(
                connection,
                exchange="",
                routing_key="springline.probe",
                own_queue=action != "probe",
                lifetime=60.0,
                timeout=5.0,
            )
        case "renew":
            await connection.renew(opening.password("fuzz", _NEXT_SECRET), timeout=5.0)
        case "close":
            await connection.close(text="a plan's", timeout=3.0)
        case "abort":
            connection.abort()
        case _:
            await asyncio.sleep(35)


async def _session(case: Case, loop: SteppedLoop) -> None:
    plan = case[0] or b"\0"
    peer = Peer(loop, ENDS[plan[0] % len(ENDS)], case[1:])
    try:
        await _client(plan[1:], peer)
    finally:
        peer.drop()


async def _client(plan: bytes, peer: Peer) -> None:
    observer = Observer()
    with mock.patch.object(dialling, "dial", peer.dial):
        try:
            connection = await Amqp091Driver().open(request())
        except ConnectError as error:
            observer.texts += [str(error), repr(error)]
        else:
            try:
                await converse(connection, plan, observer)
            except TimeoutError:
                raise AssertionError("the end of the connection is not told") from None
            assert len(observer.closes) == 1, "the end is told more than once"
            assert not connection.is_open
    for _ in range(8):  # what has been closed is lost in one of the next turns
        await asyncio.sleep(0)
    assert all(each.is_lost for each in peer.transports), "the transport is left open"
    oracles.check_texts(observer.texts, what="what is said of the connection")


def run(case: Case) -> None:
    """Do one session."""
    loop = SteppedLoop()
    stepped_loop.run(_session(case or (b"",), loop), loop)


# --- mutations that know frames


_FRAME_OVERHEAD = 8
_END = b"\xce"
_LENGTHS = (0, 1, 4, 255, 4088, 16 * 1024 - 8, 16 * 1024 - 7, 128 * 1024, 2**31 - 1, 2**32 - 1)


def _frames(octets: bytes) -> list[bytes]:
    """Take octets apart by the lengths they name; the last piece may be none."""
    found: list[bytes] = []
    while octets:
        length = int.from_bytes(octets[3:7]) + _FRAME_OVERHEAD
        found.append(octets[:length])
        octets = octets[length:]
    return found


def _with_payload(frame: bytes, payload: bytes) -> bytes:
    return frame[:3] + len(payload).to_bytes(4) + payload + _END


def _any_frame() -> list[bytes]:
    made: list[bytes] = []
    for kind in spec.INDEX_MAPPING.values():
        with contextlib.suppress(Exception):  # those that cannot be made without arguments
            made.append(marshal(kind(), 0))
    return made


_ANY = _any_frame()


def _change_frames(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    """Repeat, leave out, exchange or put in whole frames."""
    found = _frames(part) or [b""]
    at = rng.randrange(len(found))
    match rng.randrange(5):
        case 0:
            found[at:at] = [found[at]] * rng.choice((1, 2, 40, 2500))
        case 1:
            del found[at]
        case 2:
            found.insert(at, rng.choice(_frames(rng.choice(others)) or [b""]))
        case 3:
            found.insert(at, rng.choice(_ANY))
        case _:
            rng.shuffle(found)
    return b"".join(found)


def _change_payload(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    """Change what is in a frame, and keep the frame whole."""
    found = _frames(part) or [b""]
    at = rng.randrange(len(found))
    payload = found[at][7:-1]
    keep = 4 if rng.random() < 0.8 else 0
    [changed] = mutated(rng, (payload[keep:],), [(each[11:],) for each in others])
    found[at] = _with_payload(found[at], payload[:keep] + changed)
    return b"".join(found)


def _change_header(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    """Change type, channel, length, class or method of a frame."""
    found = _frames(part) or [b""]
    at = rng.randrange(len(found))
    frame = bytearray(found[at].ljust(12, b"\0"))
    match rng.randrange(5):
        case 0:
            frame[0] = rng.choice((0, 1, 2, 3, 4, 8, 65, 255))
        case 1:
            frame[1:3] = rng.choice((0, 1, 2, 2047, 65535)).to_bytes(2)
        case 2:
            frame[3:7] = rng.choice(_LENGTHS).to_bytes(4)
        case 3:
            frame[7:9] = rng.choice((10, 20, 40, 50, 60, 85, 90, 0)).to_bytes(2)
        case _:
            frame[9:11] = rng.choice(
                (10, 11, 20, 21, 30, 40, 41, 50, 51, 60, 61, 70, 71, 80)
            ).to_bytes(2)
    found[at] = bytes(frame)
    return b"".join(found)


TARGET = Target(
    name="amqp091",
    run=run,
    share=8,
    mutations=(_change_frames, _change_payload, _change_payload, _change_header),
)
