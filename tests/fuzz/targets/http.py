"""One connection of HTTP, whole but for the socket, and a peer that says what the case says.

The first part of a case is the plan: how the peer ends, how the connection is used, and what is
done with it, an octet each. What the further parts are, `wire` says.
"""

import asyncio
import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from fuzz import http_mutations, oracles, stepped_loop
from fuzz.cases import Case
from fuzz.stepped_loop import SteppedLoop
from fuzz.targets import Target
from fuzz.wire import ENDS, Peer
from springline.drivers.http import bounds
from springline.drivers.http.connection import Change, HttpConnection, Options, Version
from springline.drivers.http.errors import RetryRequestError
from springline.drivers.http.http2 import Http2
from springline.drivers.http.messages import Headers, Request, Response
from springline.drivers.shared import dialling
from springline.errors import ConnectError, NotOpenError
from support import opening

__all__ = ["ACTIONS", "PATHS", "TARGET", "Conversed", "converse", "options"]

ACTIONS = (
    *("get", "several", "post", "pieces", "head", "hurry", "cancel", "answers", "wait"),
    *("shutdown", "close", "abort"),
)
"""What an octet of the plan stands for, by its remainder."""

PATHS = {"get": "/", "several": "/private", "post": "/echo", "pieces": "/echo", "head": "/"}
"""What is asked for; anything else as `get`."""

_VERSIONS = (Version.HTTP1, Version.HTTP2)
_PERSISTENT = (True, None, False)
_FIELDS: Headers = ((b"authorization", b"Bearer " + oracles.SECRET.encode()), (b"accept", b"*/*"))
_MOST_ACTIONS = 8
_SEVERAL = 4
_SECONDS = 20.0
_HURRY_SECONDS = 0.5
_MOST_HEADER_OCTETS = bounds.MAX_HEADER_OCTETS + bounds.READ_OCTETS
"""A head that is complete when it is first looked at may be longer than one that is not."""


def options(octet: int) -> Options:
    """Return how a connection is used; an octet says it."""
    rest, version = divmod(octet, len(_VERSIONS))
    rest, persistent = divmod(rest, len(_PERSISTENT))
    return Options(
        name="fuzz",
        version=_VERSIONS[version],
        persistent=_PERSISTENT[persistent],
        half_close=bool(rest & 1),
        heartbeat_seconds=10 if rest & 2 else 0,
    )


class Conversed:
    """What has come of a connection, as far as it is known."""

    def __init__(self, paths: dict[str, str]) -> None:
        self._paths = paths
        self.calls: list[asyncio.Task[None]] = []
        self.changes: list[Change] = []
        self.finalised = 0
        self.texts: list[str] = []

    def finalise(self) -> None:
        """Count it."""
        self.finalised += 1

    def call(self, connection: HttpConnection, action: str) -> asyncio.Task[None]:
        """Make one of the calls, without waiting for what comes of it."""
        body: Any = b""
        if action == "post":
            body = b"x" * 3000
        elif action == "pieces":
            body = _pieces()
        request = Request(
            method={"post": "POST", "pieces": "PUT", "head": "HEAD"}.get(action, "GET"),
            target=f"{self._paths.get(action, self._paths['get'])}?key={oracles.SECRET}",
            headers=_FIELDS,
            body=body,
        )
        seconds = _HURRY_SECONDS if action == "hurry" else _SECONDS
        call = asyncio.create_task(self._made(connection, request, seconds), name="fuzz/call")
        self.calls.append(call)
        return call

    async def _made(self, connection: HttpConnection, request: Request, seconds: float) -> None:
        try:
            response = await connection.call(request, timeout=seconds)
        except (RetryRequestError, TimeoutError, ConnectError) as error:
            self.texts += [str(error), repr(error)]
            return
        _check(response)
        self.texts += [repr(response), repr(request)]


def _pieces() -> Iterator[bytes]:
    for _ in range(4):
        yield b"y" * 5000


def _check(response: Response) -> None:
    octets = sum(len(name) + len(value) for name, value in response.headers)
    assert octets <= _MOST_HEADER_OCTETS, f"an answer has {octets} octets of header fields"
    assert len(response.headers) <= bounds.MAX_HEADERS
    assert len(response.body) <= bounds.MAX_BODY
    assert 100 <= response.status <= 999
    assert response.version in ("1.0", "1.1", "2")


async def converse(connection: HttpConnection, plan: bytes, conversed: Conversed) -> None:
    """Do what the plan says, await the answers, and close."""
    for octet in plan[:_MOST_ACTIONS]:
        await _act(connection, ACTIONS[octet % len(ACTIONS)], conversed)
    if conversed.calls:
        await asyncio.wait(conversed.calls)
    connection.close()
    await connection.wait_closed()


async def _act(connection: HttpConnection, action: str, conversed: Conversed) -> None:
    match action:
        case "several":
            for _ in range(_SEVERAL):
                conversed.call(connection, action)
            await asyncio.sleep(0)  # each of them is made
        case "cancel":
            call = conversed.call(connection, action)
            await asyncio.sleep(1)  # as long as something is said
            call.cancel()
        case "answers":
            if conversed.calls:
                await asyncio.wait(conversed.calls)
        case "wait":
            await asyncio.sleep(35)
        case "shutdown":
            connection.shutdown()
        case "close":
            connection.close("a plan's")
        case "abort":
            connection.abort()
        case _:
            await asyncio.wait([conversed.call(connection, action)])


def _look_at(connection: HttpConnection) -> None:
    """Raise `AssertionError` for what is kept and should not be."""
    assert connection.length >= 0
    engine = connection._engine
    if isinstance(engine, Http2) and connection.end is None:
        pending = len(engine._splitter.pending)
        assert pending < bounds.MAX_FRAME + 9, f"{pending} octets of a frame are kept"
        settings = len(engine._h2.remote_settings)
        assert settings <= bounds.MAX_SETTINGS, f"{settings} settings are kept"


async def _session(case: Case, loop: SteppedLoop) -> None:
    plan = (case[0] or b"\0").ljust(2, b"\0")
    peer = Peer(loop, ENDS[plan[0] % len(ENDS)], case[1:])
    try:
        with mock.patch.object(dialling, "dial", peer.dial):
            await _client(plan, peer)
    finally:
        peer.drop()


async def _client(plan: bytes, peer: Peer) -> None:
    conversed = Conversed(PATHS)
    connection = HttpConnection.create(
        opening.request(80, timeout=30.0), options(plan[1]), finalise=conversed.finalise
    )
    connection.notify(conversed.changes.append)
    peer.look = functools.partial(_look_at, connection)
    await converse(connection, plan[2:], conversed)
    for _ in range(8):  # what has been closed is lost in one of the next turns
        await asyncio.sleep(0)
    assert all(each.is_lost for each in peer.transports), "the transport is left open"
    for call in conversed.calls:
        if not call.cancelled():
            call.result()  # raises what no call may raise
    assert conversed.finalised == 1, f"it is finalised {conversed.finalised} times"
    _check_end(connection)
    _check_changes(conversed.changes)
    _check_sent(peer, conversed)
    conversed.texts += [repr(connection.end), str(connection.concurrent_streams)]
    try:
        await connection.connected()
    except NotOpenError:
        pass
    except ConnectError as error:
        conversed.texts += [str(error), repr(error)]
    oracles.check_texts(conversed.texts, what="what is said of the connection")


def _check_end(connection: HttpConnection) -> None:
    assert connection.is_closed
    assert connection.end is not None
    assert connection.length == 0, f"{connection.length} calls are left"
    conversation = connection._conversation
    assert not conversation._octets, "octets are counted of calls that are over"
    assert not connection._futures, "somebody still waits for an answer"
    assert not connection._timers, "a timer is left of a call that is over"
    assert connection._beat is None, "the heart of a closed connection beats"


def _check_changes(changes: Sequence[Change]) -> None:
    assert changes, "nobody was told of the end"
    assert changes[-1] == Change(0, is_closed=True), f"the last change is {changes[-1]}"
    for before, after in itertools.pairwise(changes):
        assert before != after, "the same was told twice"
        assert after.is_closed or not before.is_closed, "it is open again"
        assert after.length >= 0


def _check_sent(peer: Peer, conversed: Conversed) -> None:
    """Raise `AssertionError` for a request that was sent again: nothing here repeats one."""
    sent = sum(each.written.count(b" HTTP/1.1\r\n") for each in peer.transports)
    assert sent <= len(conversed.calls), f"{sent} requests for {len(conversed.calls)} calls"
    assert len(peer.transports) <= 1, "it has dialled twice"


def run(case: Case) -> None:
    """Do one connection."""
    loop = SteppedLoop()
    stepped_loop.run(_session(case or (b"",), loop), loop)


TARGET = Target(name="http", run=run, share=3, mutations=http_mutations.ALL)
