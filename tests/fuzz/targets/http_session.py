"""The HTTP driver: a session over one connection after the other, and a server that is scripted.

The first part of a case is the plan: how the server ends, what is declared, and what is done with a
session that is open, an octet each. What the further parts are, `wire` says.
"""

import asyncio
import contextlib
from types import SimpleNamespace
from unittest import mock

from fuzz import http_mutations, oracles, stepped_loop
from fuzz.cases import Case
from fuzz.observing import Observer
from fuzz.stepped_loop import SteppedLoop
from fuzz.targets import Target
from fuzz.wire import ENDS, Peer
from springline.core.values import OpenRequest
from springline.drivers.http import client
from springline.drivers.http.client import HttpClient
from springline.drivers.http.connection import Version
from springline.drivers.http.driver import HttpDriver
from springline.drivers.http.parameters import BlockedWhen, HttpParameters
from springline.drivers.http.probe_target import HttpProbeTarget
from springline.drivers.shared import dialling
from springline.errors import ConnectError, SpringlineError
from support import http_opening, opening

__all__ = ["ACTIONS", "TARGET", "act", "converse", "request"]

ACTIONS = ("probe", "hurried probe", "renew", "wait", "close", "abort")
"""What an octet of the plan stands for, by its remainder."""

_VERSIONS = (Version.HTTP1, Version.HTTP2)
_PERSISTENT = (None, True, False)
_MOST_ACTIONS = 8
_NEXT_SECRET = f"{oracles.SECRET}/next"
_TOKEN = oracles.SECRET.replace("=", "/")  # else it would be none (RFC 6750 §2.1)
_NOW = 1_800_000_000.0
"""A Retry-After may be compared with the wall clock, which is to say the same in each run."""


def request(octet: int, port: int = 80) -> OpenRequest[HttpParameters]:
    """Return what is opened, with the secret that must not come out; an octet says how."""
    rest, version = divmod(octet, len(_VERSIONS))
    rest, persistent = divmod(rest, len(_PERSISTENT))
    credential = opening.password("fuzz", oracles.SECRET)
    return http_opening.request(
        port,
        credential=opening.token(_TOKEN) if rest & 2 else credential,
        version=_VERSIONS[version],
        persistent=_PERSISTENT[persistent],
        heartbeat_seconds=10,
        target=f"/private?key={oracles.SECRET}" if rest & 4 else "/api/whoami",
        blocked_when=(
            BlockedWhen(target="/api/health/checks/alarms", statuses=frozenset({503}))
            if rest & 1
            else None
        ),
    )


async def converse(connection: HttpClient, plan: bytes, observer: Observer) -> None:
    """Do what the plan says, and close; keep the texts of errors."""
    connection.observe(observer)
    for octet in plan[:_MOST_ACTIONS]:
        try:
            await act(connection, ACTIONS[octet % len(ACTIONS)])
        except (SpringlineError, TimeoutError) as error:
            observer.texts += [str(error), repr(error)]
    observer.texts += [repr(connection.info), repr(connection.info.negotiated.as_status())]
    with contextlib.suppress(SpringlineError):
        await connection.close(text="the case is over")
    async with asyncio.timeout(60):
        await observer.over.wait()
        await connection.wait_gone()


async def act(connection: HttpClient, action: str) -> None:
    """Do one of the actions."""
    match action:
        case "probe" | "hurried probe":
            await connection.probe(HttpProbeTarget(), timeout=5.0 if action == "probe" else 0.1)
        case "renew":
            await connection.renew(opening.password("fuzz", _NEXT_SECRET), timeout=5.0)
        case "close":
            await connection.close(text="a plan's", timeout=3.0)
        case "abort":
            connection.abort()
        case _:
            await asyncio.sleep(35)


async def _session(case: Case, loop: SteppedLoop) -> None:
    plan = (case[0] or b"\0").ljust(2, b"\0")
    peer = Peer(loop, ENDS[plan[0] % len(ENDS)], case[1:])
    clock = SimpleNamespace(time=lambda: _NOW)
    try:
        with (
            mock.patch.object(dialling, "dial", peer.dial),
            mock.patch.object(client, "time", clock),
        ):
            await _client(plan, peer)
    finally:
        peer.drop()


async def _client(plan: bytes, peer: Peer) -> None:
    observer = Observer()
    try:
        connection = await HttpDriver().open(request(plan[1]))
    except ConnectError as error:
        observer.texts += [str(error), repr(error)]
    else:
        try:
            await converse(connection, plan[2:], observer)
        except TimeoutError:
            raise AssertionError("the end of the session is not told") from None
        assert len(observer.closes) == 1, "the end is told more than once"
        assert not connection.is_open
        assert connection.blocked is None
    for _ in range(8):  # what has been closed is lost in one of the next turns
        await asyncio.sleep(0)
    assert all(each.is_lost for each in peer.transports), "a transport is left open"
    oracles.check_texts(observer.texts, what="what is said of the session")


def run(case: Case) -> None:
    """Do one session."""
    loop = SteppedLoop()
    stepped_loop.run(_session(case or (b"",), loop), loop)


TARGET = Target(name="http_session", run=run, share=2, mutations=http_mutations.ALL)
