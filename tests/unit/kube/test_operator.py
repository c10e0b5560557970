"""kopf, embedded: what it shows, what it leaves alone, and what outlives its end."""

import asyncio
import contextlib
import itertools
import json
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from springline import shutdown
from springline.api.meta import Identity
from springline.clock import SystemClock
from springline.kube import client, embedding
from springline.kube import operator as module
from springline.kube.access import Access
from springline.kube.client import Client
from springline.kube.operator import Operator
from springline.kube.own_writes import OwnWrites
from springline.kube.readable import Readable
from support import fake_apiserver
from support.discovery import discovering, saying
from support.fake_apiserver import Asked, Deed, FakeAPIServer, refusing
from support.waiting import eventually

TOKEN = "planted-token-0123456789"
ORDERS = Identity("BrokerConnection", "apps", "orders")
RABBIT = Identity("Broker", "apps", "rabbit")
KINDS = {"brokers": "Broker", "brokerconnections": "BrokerConnection"}
CONNECTIONS = "/apis/springline.dev/v1alpha1/brokerconnections"


def put(server: FakeAPIServer, identity: Identity, **content: Any) -> str:
    """Create or replace an object, and return its version."""
    plural = next(plural for plural, kind in KINDS.items() if kind == identity.kind)
    return server.put(
        plural,
        identity.namespace,
        identity.name,
        kind=identity.kind,
        apiVersion="springline.dev/v1alpha1",
        **content,
    )


class Watcher:
    """Remembers what it is shown, as `kube.declarations.Shown`, and what else it is told."""

    operator: Operator
    """What shows it, once that runs."""

    def __init__(self) -> None:
        self.there: dict[Identity, Mapping[str, Any]] = {}
        self.told: list[tuple[str, Identity]] = []
        self.gaps = 0
        self.starts = 0
        self.defect: Exception | None = None
        self.statuses: list[Any] = []
        """Every status that a watch has shown."""
        self.status_defect: Exception | None = None
        self.own_writes = OwnWrites()

    def appeared(self, document: Mapping[str, Any]) -> None:
        metadata = document["metadata"]
        assert document["apiVersion"] == "springline.dev/v1alpha1"
        identity = Identity(document["kind"], metadata["namespace"], metadata["name"])
        self.told.append(("appeared", identity))
        if self.defect is not None:
            raise self.defect
        self.there[identity] = document

    def status_shown(self, document: Mapping[str, Any]) -> None:
        self.statuses.append(document.get("status"))
        if self.status_defect is not None:
            raise self.status_defect

    def vanished(self, identity: Identity, *, uid: str) -> None:
        self.told.append(("vanished", identity))
        assert uid == self.there[identity]["metadata"]["uid"]
        del self.there[identity]

    def __contains__(self, identity: Identity) -> bool:
        return identity in self.there

    def gap(self) -> None:
        self.gaps += 1

    def started(self) -> None:
        self.starts += 1

    def is_there(self, *identities: Identity) -> Callable[[], bool]:
        return lambda: self.there.keys() == set(identities)


@pytest.fixture
def watcher() -> Watcher:
    return Watcher()


@pytest.fixture(autouse=True)
def _secrets_stay_secret(
    server: FakeAPIServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Every server says what it serves; no log has the token; restarts are quick."""
    server.instead = discovering
    monkeypatch.setattr(module, "_RESTART_SECONDS", (0.05,))
    caplog.set_level(logging.DEBUG)
    yield
    assert TOKEN not in caplog.text


@contextlib.asynccontextmanager
async def watching(
    server: FakeAPIServer,
    watcher: Watcher,
    directory: Path,
    *,
    namespaces: tuple[str, ...] = (),
    token: str = TOKEN,
    url: str = "",
    after_start: Callable[[], None] = lambda: None,
) -> AsyncIterator[asyncio.Task[None]]:
    """Run kopf, with signals as they are."""
    path = fake_apiserver.kubeconfig(server, directory, token=token, server=url or server.url)
    access = Access(kubeconfig=str(path))
    await access.load()

    def started() -> None:
        watcher.started()
        after_start()

    kinds = ["Broker", "BrokerConnection"]
    async with Client(access) as client:
        operator = Operator(
            access,
            watcher,
            SystemClock(),
            kinds=kinds,
            readable=Readable(client, kinds=kinds, namespaces=namespaces),
            on_gap=watcher.gap,
            own_writes=watcher.own_writes,
            after_start=started,
        )
        watcher.operator = operator
        async with _until_cancelled(operator) as task:
            yield task


@contextlib.asynccontextmanager
async def _until_cancelled(operator: Operator) -> AsyncIterator[asyncio.Task[None]]:
    with shutdown.on_signal(asyncio.Event()):
        task = asyncio.get_running_loop().create_task(operator.run(), name="operator")
        try:
            yield task
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task


def is_watching(server: FakeAPIServer, count: int = 2) -> Callable[[], bool]:
    return lambda: server.watching == count


def watches_asked_for(server: FakeAPIServer) -> int:
    return sum(each.is_watch for each in server.asked)


def fail(server: FakeAPIServer, code: int) -> None:
    """End the watch of connections with an error."""
    line = json.dumps({"type": "ERROR", "object": {"kind": "Status", "code": code}}) + "\n"
    for each in server._watchers:
        if each.plural == "brokerconnections":
            each.changes.put_nowait(line)


def started_again(watcher: Watcher, starts: int) -> Callable[[], bool]:
    return lambda: watcher.starts == starts + 1


# --- what it shows


async def test_what_there_is_and_what_changes_is_shown(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    put(server, RABBIT, spec={"locale": {}})
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(RABBIT))
        put(server, ORDERS, spec={"virtualHost": "one"})
        await eventually(watcher.is_there(RABBIT, ORDERS))
        put(server, ORDERS, spec={"virtualHost": "two"})
        await eventually(lambda: watcher.there[ORDERS]["spec"] == {"virtualHost": "two"})
        assert watcher.there[RABBIT]["spec"] == {"locale": {}}
        assert watcher.gaps == 0


async def test_a_deletion_is_shown_with_its_uid(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        server.delete("brokerconnections", "apps", "orders")
        await eventually(watcher.is_there())
        assert watcher.told[-1] == ("vanished", ORDERS)


async def test_nothing_is_ever_written_to_anybodys_object(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    """Neither finalizers nor annotations, whatever becomes of the object."""
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        put(server, ORDERS, spec={"virtualHost": "two"})
        await eventually(lambda: len(watcher.told) == 2)
        watcher.defect = ZeroDivisionError("a defect")
        put(server, ORDERS, spec={"virtualHost": "three"})
        await eventually(lambda: len(watcher.told) == 3)
        watcher.defect = None
        server.delete("brokerconnections", "apps", "orders")
        await eventually(watcher.is_there())
    assert {asked.method for asked in server.asked} == {"GET"}


async def test_only_the_given_namespaces_are_watched(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    elsewhere = ORDERS._replace(namespace="elsewhere")
    put(server, ORDERS)
    put(server, elsewhere)
    tools = ORDERS._replace(namespace="tools")
    put(server, tools)
    async with watching(server, watcher, tmp_path, namespaces=("apps", "tools")):
        await eventually(watcher.is_there(ORDERS, tools))
        await eventually(is_watching(server, 4))
    assert not server.asked_for(CONNECTIONS)
    assert not server.asked_for("/api/v1/namespaces")


async def test_namespace_that_cannot_be_read_does_not_keep_the_others_waiting(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Role goes with its namespace; when it is there again, the namespace is looked after."""
    monkeypatch.setattr(module, "_LOOK_AGAIN_SECONDS", 0.05)
    forbidden = {"apps"}

    def without_roles(asked: Asked) -> Deed | None:
        if any(f"/namespaces/{namespace}/" in asked.path for namespace in forbidden):
            return refusing(403, "Forbidden", "no Role")
        return discovering(asked)

    server.instead = without_roles
    tools = ORDERS._replace(namespace="tools")
    put(server, ORDERS)
    put(server, tools)
    async with watching(server, watcher, tmp_path, namespaces=("apps", "tools")):
        await eventually(watcher.is_there(tools))
        assert watcher.starts == 1
        forbidden.clear()
        await eventually(watcher.is_there(ORDERS, tools))
        assert watcher.starts == 2


async def test_a_handler_that_fails_does_not_end_the_watch(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    watcher.defect = ZeroDivisionError("a defect")
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(lambda: watcher.told == [("appeared", ORDERS)])
        watcher.defect = None
        put(server, RABBIT)
        await eventually(watcher.is_there(RABBIT))
        assert watcher.starts == 1


# --- gaps


async def test_watches_that_end_at_once_are_no_flood(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind something that answers every watch and ends it: kopf itself does not pause."""
    monkeypatch.setattr(embedding, "_LEAST_WATCH_SECONDS", 0.3)
    started: list[float] = []

    async def nothing(_: web.Request) -> web.StreamResponse:
        return web.Response()

    def ending(asked: Asked) -> Deed | None:
        if asked.is_watch and asked.path == CONNECTIONS:
            started.append(asyncio.get_running_loop().time())
            return nothing
        return discovering(asked)

    server.instead = ending
    async with watching(server, watcher, tmp_path):
        await eventually(lambda: len(started) >= 5)
    pauses = [later - earlier for earlier, later in itertools.pairwise(started)]
    # A watch that came late makes the pause after it look shorter; without pauses it would be none.
    assert min(pauses) > 0.1


async def test_every_status_is_shown_and_handlers_are_not_asked_about_it(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """In the order of the watch, also where something in it fails."""
    metadata = {
        "name": ORDERS.name,
        "namespace": ORDERS.namespace,
        "uid": "one",
        "resourceVersion": "1",
        "generation": 1,
    }
    put(server, ORDERS, metadata=metadata, status={"state": "0"})
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        watcher.status_defect = ValueError("a defect")
        for number in range(1, 6):
            put(server, ORDERS, metadata=metadata, status={"state": str(number)})
        await eventually(lambda: len(watcher.statuses) == 5)
        put(server, RABBIT)
        await eventually(watcher.is_there(ORDERS, RABBIT))
    assert watcher.statuses == [*({"state": str(number)} for number in range(1, 6)), None]
    # The first of them may be news to whoever was shown a list.
    assert watcher.told.count(("appeared", ORDERS)) <= 2
    assert "a defect" in caplog.text


async def test_what_our_own_writes_have_made_is_not_shown_and_everything_else_is(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    """Also the same status once more, which somebody else has written, and the same object anew."""
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        uid = watcher.there[ORDERS]["metadata"]["uid"]
        watcher.own_writes.record(uid, put(server, ORDERS, status={"state": "ours"}))
        put(server, ORDERS, status={"state": "ours"})
        put(server, ORDERS, status={"state": "theirs"})
        await eventually(lambda: len(watcher.statuses) == 2)
        assert watcher.statuses == [{"state": "ours"}, {"state": "theirs"}]
        assert not watcher.own_writes
        watcher.own_writes.record(uid, "1")
        server.delete("brokerconnections", "apps", "orders")
        await eventually(watcher.is_there())
        put(server, ORDERS)
        await eventually(watcher.is_there(ORDERS))


async def test_a_watch_goes_on_behind_what_our_own_writes_have_made(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    """Or it would be shown again, all of it at once, and a version may be too old by then."""
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        uid = watcher.there[ORDERS]["metadata"]["uid"]
        last = ""
        for number in range(3):
            last = put(server, ORDERS, status={"state": str(number)})
            watcher.own_writes.record(uid, last)
            await eventually(lambda: not watcher.own_writes)
        asked = len(server.asked_for(CONNECTIONS, watch=True))
        server.end_watches()
        await eventually(lambda: len(server.asked_for(CONNECTIONS, watch=True)) > asked)
        assert server.asked_for(CONNECTIONS, watch=True)[-1].query["resourceVersion"] == last
        put(server, RABBIT)
        await eventually(watcher.is_there(ORDERS, RABBIT))
    assert watcher.statuses == [None]  # of the broker
    assert watcher.gaps == 0


async def test_what_a_watch_shows_again_after_it_broke_is_taken_in_again(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        server.break_watches()
        await eventually(lambda: server.watching == 0)
        put(server, ORDERS, spec={"virtualHost": "two"})
        await eventually(lambda: watcher.there[ORDERS].get("spec") == {"virtualHost": "two"})
        assert watcher.starts == 1


async def test_a_watch_that_ends_in_the_middle_of_a_line_is_begun_again(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        server.say('{"type":"MODIFIED","object":{"kind":"BrokerConn')
        server.end_watches()
        await eventually(started_again(watcher, 1))
        put(server, RABBIT)
        await eventually(watcher.is_there(ORDERS, RABBIT))


async def test_hundreds_of_objects_in_a_list_leave_others_their_turn(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    """They are handed on as they are read, and each may take a while to be taken in."""
    for number in range(200):
        put(server, ORDERS._replace(name=f"orders-{number}"))
    turns = 0

    async def others() -> None:
        nonlocal turns
        while len(watcher.there) < 200:
            turns += bool(watcher.there)
            await asyncio.sleep(0)

    async with watching(server, watcher, tmp_path), asyncio.timeout(10):
        await others()
    assert turns >= 10


async def test_an_ordinary_end_of_a_watch_is_no_gap(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        server.end_watches()
        await eventually(lambda: len(server.asked_for(CONNECTIONS, watch=True)) > 1)
        put(server, RABBIT)
        await eventually(watcher.is_there(ORDERS, RABBIT))
        assert len(server.asked_for(CONNECTIONS)) == 1
        assert watcher.gaps == 0


async def test_nothing_to_say_is_neither_a_gap_nor_a_list(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server ends each watch in time, so that one that is dead is told from it."""
    monkeypatch.setattr(client, "WATCH_SECONDS", 1.0)
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(lambda: len(server.asked_for(CONNECTIONS, watch=True)) > 2)
        put(server, RABBIT)
        await eventually(watcher.is_there(ORDERS, RABBIT))
        assert len(server.asked_for(CONNECTIONS)) == 1
        assert watcher.gaps == 0
        assert watcher.starts == 1


async def test_a_watch_that_is_silent_for_too_long_is_asked_for_again(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead connection does not say so. Where it was is known, so nothing is listed again."""
    monkeypatch.setattr(client, "SILENCE_SECONDS", 0.5)
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(lambda: len(server.asked_for(CONNECTIONS, watch=True)) > 2)
        put(server, RABBIT)
        await eventually(watcher.is_there(ORDERS, RABBIT))
        assert len(server.asked_for(CONNECTIONS)) == 1


async def test_watches_end_sooner_than_silence_counts_as_death(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    async with watching(server, watcher, tmp_path):
        [asked] = await eventually(lambda: server.asked_for(CONNECTIONS, watch=True))
    assert float(asked.query["timeoutSeconds"]) < client.SILENCE_SECONDS


async def test_a_version_that_is_too_old_is_a_gap(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    put(server, ORDERS)
    put(server, RABBIT)
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS, RABBIT))
        await eventually(is_watching(server))
        fail(server, 410)
        await eventually(lambda: watcher.gaps >= 1)
        await eventually(lambda: len(server.asked_for(CONNECTIONS, watch=True)) == 2)
        assert watcher.starts == 1


# --- its end


async def test_its_failure_ends_nothing_but_itself(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its own runner would end every task that was started after it."""
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path) as operator:
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        session = asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="session")
        try:
            fail(server, 500)
            await eventually(lambda: watcher.starts == 2, what="kopf is started again")
            put(server, RABBIT)
            await eventually(watcher.is_there(ORDERS, RABBIT))
            await eventually(is_watching(server), what="no watch is left behind")
            assert not session.done()
            assert not operator.done()
            assert watcher.gaps >= 1
            assert "watching failed; starting it again" in caplog.messages
        finally:
            session.cancel()


async def test_an_api_server_that_is_away_at_the_start_is_waited_for(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    put(server, ORDERS)
    server.instead = lambda _: refusing(403, "Forbidden", "not yet")
    async with watching(server, watcher, tmp_path):
        await eventually(lambda: len(server.asked) >= 2)
        server.instead = discovering
        await eventually(watcher.is_there(ORDERS))


async def test_cancelled_at_any_moment_it_leaves_nothing_behind(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    """What is left behind, the fixtures find."""
    for rounds in range(12):
        async with watching(server, watcher, tmp_path):
            for _ in range(rounds):
                await asyncio.sleep(0)
    async with watching(server, watcher, tmp_path):
        await eventually(is_watching(server))


async def test_its_logins_do_not_end_it_while_credentials_cannot_be_read(
    server: FakeAPIServer,
    watcher: Watcher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_LOGIN_RETRY_SECONDS", 0.05)
    put(server, ORDERS)
    server.token = TOKEN
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        (tmp_path / "kubeconfig").write_text("{")
        server.token = f"second-{TOKEN}"
        before = watches_asked_for(server)
        server.break_watches()
        # The first one that is refused takes the login from the other, which may not get to ask.
        await eventually(lambda: watches_asked_for(server) > before)
        fake_apiserver.kubeconfig(server, tmp_path, token=server.token)
        put(server, RABBIT)
        await eventually(watcher.is_there(ORDERS, RABBIT))


async def test_it_goes_through_the_proxy_that_the_environment_names(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the other client does."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.url)
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    put(server, ORDERS)
    async with watching(server, watcher, tmp_path, url="http://cluster.example"):
        await eventually(watcher.is_there(ORDERS))


# --- credentials


async def test_credentials_that_are_refused_are_read_again(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    put(server, ORDERS)
    server.token = TOKEN
    async with watching(server, watcher, tmp_path):
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        server.token = f"second-{TOKEN}"
        fake_apiserver.kubeconfig(server, tmp_path, token=server.token)
        server.break_watches()
        put(server, RABBIT)
        await eventually(watcher.is_there(ORDERS, RABBIT))
        assert watcher.starts == 1


async def test_credentials_that_stay_refused_are_tried_for_ever(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever does not know them now may do so when it has restarted. That is no defect."""
    put(server, ORDERS)
    server.token = "another"
    async with watching(server, watcher, tmp_path):
        await eventually(lambda: watcher.starts >= 2)
        server.token = TOKEN
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        server.token = "another"
        server.break_watches()
        await eventually(lambda: watcher.starts >= 4)
    assert {
        each.__dict__["error"]
        for each in caplog.records
        if each.message == "watching failed; starting it again"
    } == {"the API server does not accept the credentials"}
    assert not [each for each in caplog.records if each.exc_info]


async def test_watching_what_is_forbidden_is_no_defect(
    server: FakeAPIServer,
    watcher: Watcher,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_ERROR_BACKOFFS", (0.05,))
    body = {"kind": "Status", "code": 403, "reason": "Forbidden", "message": "you may not"}
    server.instead = lambda asked: (
        saying(body, status=403) if asked.path == CONNECTIONS else discovering(asked)
    )
    async with watching(server, watcher, tmp_path):
        await eventually(lambda: watcher.starts >= 3)
    assert {
        each.__dict__["error"]
        for each in caplog.records
        if each.message == "watching failed; starting it again"
    } == {"the API server answered 403: you may not"}
    assert not [each for each in caplog.records if each.exc_info]


async def test_winding_down_it_is_not_started_again(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """What an uninstalled operator may no longer do, it need not try, nor speak of."""
    put(server, ORDERS)
    server.token = TOKEN
    async with watching(server, watcher, tmp_path) as operator:
        await eventually(watcher.is_there(ORDERS))
        await eventually(is_watching(server))
        watcher.operator.wind_down()
        server.token = "another"
        server.break_watches()
        await eventually(lambda: not embedding._running(), what="kopf has ended")
        assert not operator.done()
    assert watcher.starts == 1
    assert "watching failed; starting it again" not in caplog.messages


# --- signals and events


async def test_after_each_start_the_signals_are_ours(
    server: FakeAPIServer, watcher: Watcher, tmp_path: Path
) -> None:
    stopping = asyncio.Event()
    put(server, ORDERS)
    async with watching(
        server, watcher, tmp_path, after_start=lambda: shutdown.listen(stopping)
    ) as operator:
        for starts in (1, 2):
            await eventually(started_again(watcher, starts - 1))
            await eventually(is_watching(server))
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                stopping.clear()
                os.kill(os.getpid(), number)
                await eventually(stopping.is_set)
            assert not operator.done()
            await eventually(is_watching(server))
            fail(server, 500)
            await eventually(started_again(watcher, starts))
