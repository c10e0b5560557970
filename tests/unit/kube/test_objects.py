"""Secrets and ConfigMaps: read when asked for, and changes noticed."""

import asyncio
import base64
import contextlib
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from random import Random

import pytest
from aiohttp import web

from springline import errors
from springline.api.meta import Identity
from springline.clock import SystemClock
from springline.core import ports
from springline.core.backoff import Retry
from springline.kube import objects, watching
from springline.kube.client import Client
from springline.kube.objects import ObjectReader, ObjectWatch
from support.fake_apiserver import (
    Deed,
    FakeAPIServer,
    answering,
    closing,
    hanging,
    refusing,
)
from support.hasty_clock import HastyClock
from support.waiting import eventually

PASSWORD = "planted-password"
ENCODED = base64.b64encode(PASSWORD.encode()).decode()
OLDER = base64.b64encode(b"older").decode()
NEWER = base64.b64encode(b"newer").decode()

SECRET = Identity("Secret", "apps", "rabbit")
CONFIG_MAP = Identity("ConfigMap", "apps", "rabbit")
PATH = "/api/v1/namespaces/apps/secrets/rabbit"
ALLOWED = {"springline.dev/allowed": "true"}


@pytest.fixture(autouse=True)
def _no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert PASSWORD not in caplog.text
    assert ENCODED not in caplog.text


@pytest.fixture
def clock() -> HastyClock:
    return HastyClock()


@pytest.fixture
def is_read() -> set[Identity]:
    """What declared connections refer to."""
    return {SECRET, CONFIG_MAP}


@pytest.fixture
def reader(client: Client, clock: HastyClock, is_read: set[Identity]) -> ObjectReader:
    return ObjectReader(client, clock, is_read=is_read.__contains__)


def put(server: FakeAPIServer, value: str = ENCODED) -> str:
    """Put the Secret in place, without labels."""
    return server.put("secrets", "apps", "rabbit", data={"password": value})


async def value(reader: ObjectReader, identity: Identity = SECRET) -> bytes | None:
    found = await reader.read(identity)
    assert found is not None
    return found.get("password")


async def refusal(reader: ObjectReader, identity: Identity = SECRET) -> errors.ObjectReadError:
    """Return why the object is not handed over. Nothing about it shows a value."""
    with pytest.raises(errors.ObjectReadError) as caught:
        await reader.read(identity)
    shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert PASSWORD not in shown
    assert ENCODED not in shown
    assert caught.value.identity == identity
    return caught.value


# --- what no broker ever gets


FOREIGN = (
    "kubernetes.io/service-account-token",
    "bootstrap.kubernetes.io/token",
    "kubernetes.io/dockerconfigjson",
    "kubernetes.io/dockercfg",
    "kubernetes.io/ssh-auth",
    "helm.sh/release.v1",
)


@pytest.mark.parametrize("kind", FOREIGN)
async def test_secret_of_a_type_for_something_else_is_not_handed_over(
    server: FakeAPIServer, reader: ObjectReader, kind: str
) -> None:
    version = server.put("secrets", "apps", "rabbit", data={"password": ENCODED}, type=kind)
    error = await refusal(reader)
    assert isinstance(error, errors.ObjectNotAllowedError)
    assert f"may not be used: its type {kind} says that it holds " in str(error)
    assert not reader.noticed(SECRET, version), "it is no news to the watch"
    version = server.put("secrets", "apps", "rabbit", data={"password": ENCODED}, type="Opaque")
    assert reader.noticed(SECRET, version)
    assert await value(reader) == PASSWORD.encode()


@pytest.mark.parametrize(
    "kind", ["Opaque", "kubernetes.io/basic-auth", "kubernetes.io/tls", "example.com/own"]
)
async def test_secret_of_any_other_type_is(
    server: FakeAPIServer, reader: ObjectReader, kind: str
) -> None:
    server.put("secrets", "apps", "rabbit", data={"password": ENCODED}, type=kind)
    assert await value(reader) == PASSWORD.encode()


# --- what an object says


async def test_secret_is_decoded(server: FakeAPIServer, reader: ObjectReader) -> None:
    version = server.put("secrets", "apps", "rabbit", data={"password": ENCODED, "empty": ""})
    found = await reader.read(SECRET)
    assert found is not None
    assert found.version == version
    assert found.get("password") == PASSWORD.encode()
    assert found.get("empty") == b""
    assert found.get("other") is None


async def test_config_map_has_text_and_bytes(server: FakeAPIServer, reader: ObjectReader) -> None:
    server.put(
        "configmaps",
        "apps",
        "rabbit",
        data={"ca.crt": "Zürich", "half": "\ud800"},
        binaryData={"ca.der": base64.b64encode(b"\0\xff").decode()},
    )
    found = await reader.read(CONFIG_MAP)
    assert found is not None
    assert found.get("ca.crt") == "Zürich".encode()
    assert found.get("ca.der") == b"\0\xff"
    assert found.get("half") == b"\xed\xa0\x80"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param({"password": "?"}, id="no base64"),
        pytest.param({"password": "eA="}, id="base64 cut off"),
        pytest.param({"password": "é"}, id="no ASCII"),
        pytest.param({"password": None}, id="null"),
        pytest.param({"password": 7}, id="a number"),
        pytest.param(None, id="no data"),
        pytest.param([ENCODED], id="a list"),
    ],
)
async def test_value_that_cannot_be_decoded_is_not_there(
    server: FakeAPIServer, reader: ObjectReader, data: object
) -> None:
    server.put("secrets", "apps", "rabbit", data=data)
    assert await value(reader) is None


async def test_nothing_shows_a_value(server: FakeAPIServer, reader: ObjectReader) -> None:
    put(server)
    found = await reader.read(SECRET)
    for shown in (repr(found), str(found), repr(reader), repr(reader._entries)):
        assert PASSWORD not in shown
        assert ENCODED not in shown


async def test_absent_object_is_none(server: FakeAPIServer, reader: ObjectReader) -> None:
    assert await reader.read(SECRET) is None
    assert len(server.asked) == 1


# --- how often it is asked for


async def test_burst_is_one_request(server: FakeAPIServer, reader: ObjectReader) -> None:
    put(server)
    assert set(await asyncio.gather(*(value(reader) for _ in range(1000)))) == {PASSWORD.encode()}
    await value(reader)
    assert len(server.asked) == 1


async def test_burst_at_an_absent_object_is_one_request(
    server: FakeAPIServer, reader: ObjectReader
) -> None:
    assert set(await asyncio.gather(*(reader.read(SECRET) for _ in range(1000)))) == {None}
    assert len(server.asked) == 1


async def test_burst_at_a_server_that_refuses_is_one_request(
    server: FakeAPIServer, reader: ObjectReader
) -> None:
    server.script.append(refusing(500, "InternalError", "no"))
    together = await asyncio.gather(*(refusal(reader) for _ in range(100)))
    assert len(server.asked) == 1
    assert len({id(error) for error in together}) == 100  # or their tracebacks would grow


async def test_value_is_used_again_for_a_second(
    server: FakeAPIServer, reader: ObjectReader, clock: HastyClock
) -> None:
    put(server, OLDER)
    assert await value(reader) == b"older"
    put(server, NEWER)
    clock.now_monotonic += 0.9
    assert await value(reader) == b"older"
    clock.now_monotonic += 0.2
    assert await value(reader) == b"newer"


async def test_objects_are_read_beside_each_other(
    server: FakeAPIServer, reader: ObjectReader
) -> None:
    put(server)
    server.instead = lambda asked: hanging if "/configmaps/" in asked.path else None
    slow = asyncio.ensure_future(reader.read(CONFIG_MAP))
    await eventually(lambda: server.asked)
    assert await value(reader) == PASSWORD.encode()
    slow.cancel()
    await asyncio.wait({slow})


class Gate:
    """Answers with the object as it was when the request came, when it is opened."""

    def __init__(self, server: FakeAPIServer) -> None:
        self._server = server
        self.opened = asyncio.Event()

    async def deed(self, _: web.Request) -> web.StreamResponse:
        document = self._server._objects["secrets", "apps", "rabbit"]
        await self.opened.wait()
        return web.json_response(document)


async def test_read_after_a_noticed_change_is_never_given_an_older_answer(
    server: FakeAPIServer, reader: ObjectReader
) -> None:
    """Not even that of a request that is still on its way, nor later when it has arrived."""
    put(server, OLDER)
    gate = Gate(server)
    server.script.append(gate.deed)
    early = asyncio.ensure_future(value(reader))
    await eventually(lambda: server.asked)
    version = put(server, NEWER)
    assert reader.noticed(SECRET, version)
    assert await value(reader) == b"newer"
    gate.opened.set()
    assert await early == b"older"
    assert await value(reader) == b"newer"
    assert not reader.noticed(SECRET, version)


async def test_reader_that_is_cancelled_does_not_take_the_others_along(
    server: FakeAPIServer, reader: ObjectReader
) -> None:
    put(server)
    server.script.append(hanging)
    first = asyncio.ensure_future(value(reader))
    await eventually(lambda: server.asked)
    second = asyncio.ensure_future(value(reader))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == PASSWORD.encode()
    await asyncio.wait({first})
    assert len(server.asked) == 2


# --- without the API server


OUTAGES = [
    pytest.param(closing, id="drops connections"),
    pytest.param(refusing(500, "InternalError", "no"), id="fails"),
    pytest.param(refusing(503, "ServiceUnavailable", "no"), id="is overloaded"),
    pytest.param(refusing(429, "TooManyRequests", "no"), id="has enough"),
    pytest.param(answering("<html>"), id="is a web site"),
    pytest.param(answering({"status": "ok"}), id="is something else"),
    pytest.param(answering("no backend", status=404), id="is missing behind a proxy"),
]


@pytest.mark.parametrize("deed", OUTAGES)
async def test_last_value_serves_during_an_outage(
    server: FakeAPIServer, reader: ObjectReader, clock: HastyClock, deed: Deed
) -> None:
    """A broker may restart meanwhile, and its sessions have to log in."""
    put(server)
    await value(reader)
    server.instead = lambda _: deed
    for _ in range(3):
        clock.now_monotonic += 60
        assert await value(reader) == PASSWORD.encode()


@pytest.mark.parametrize("deed", OUTAGES)
async def test_without_a_last_value_an_outage_is_an_error(
    server: FakeAPIServer, reader: ObjectReader, deed: Deed
) -> None:
    server.instead = lambda _: deed
    error = await refusal(reader)
    assert isinstance(error, errors.ObjectUnavailableError)
    assert str(error).startswith('Secret "rabbit" in namespace "apps" cannot be read: the API')


async def test_last_value_does_not_keep_anybody_waiting(
    server: FakeAPIServer,
    reader: ObjectReader,
    clock: HastyClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A session's own limit is shorter than that of a request."""
    monkeypatch.setattr(objects, "_IMPATIENT_SECONDS", 0.1)
    put(server)
    await value(reader)
    server.instead = lambda _: hanging
    clock.now_monotonic += 60
    assert await value(reader) == PASSWORD.encode()


async def test_end_of_an_outage_is_noticed(
    server: FakeAPIServer, reader: ObjectReader, clock: HastyClock
) -> None:
    put(server, OLDER)
    await value(reader)
    server.instead = lambda _: closing
    clock.now_monotonic += 60
    assert await value(reader) == b"older"
    server.instead = lambda _: None
    put(server, NEWER)
    assert await value(reader) == b"newer"


async def test_value_that_changed_does_not_serve(
    server: FakeAPIServer, reader: ObjectReader
) -> None:
    put(server)
    await value(reader)
    assert reader.noticed(SECRET, "999")
    server.instead = lambda _: closing
    assert isinstance(await refusal(reader), errors.ObjectUnavailableError)


async def test_deleted_object_is_forgotten(
    server: FakeAPIServer, reader: ObjectReader, clock: HastyClock
) -> None:
    put(server)
    await value(reader)
    server.delete("secrets", "apps", "rabbit")
    clock.now_monotonic += 60
    assert await reader.read(SECRET) is None
    server.instead = lambda _: closing
    clock.now_monotonic += 60
    assert isinstance(await refusal(reader), errors.ObjectUnavailableError)


async def test_what_nobody_refers_to_any_more_is_forgotten(
    server: FakeAPIServer, reader: ObjectReader, is_read: set[Identity]
) -> None:
    put(server)
    await value(reader)
    reader.prune()
    assert reader.objects_in_use() == [SECRET]
    is_read.discard(SECRET)
    reader.prune()
    assert reader.objects_in_use() == []
    server.instead = lambda _: closing
    assert isinstance(await refusal(reader), errors.ObjectUnavailableError)


# --- permissions


async def test_missing_permission_is_named(server: FakeAPIServer, reader: ObjectReader) -> None:
    server.instead = lambda _: refusing(403, "Forbidden", "secrets is forbidden")
    error = await refusal(reader)
    assert isinstance(error, errors.ObjectUnavailableError)
    assert str(error) == (
        'Secret "rabbit" in namespace "apps" cannot be read: Springline lacks the permission to '
        'get secrets in namespace "apps"; bind a role that allows it'
    )


async def test_permission_that_was_taken_away_is_respected(
    server: FakeAPIServer, reader: ObjectReader, clock: HastyClock
) -> None:
    put(server)
    await value(reader)
    server.instead = lambda _: refusing(403, "Forbidden", "secrets is forbidden")
    clock.now_monotonic += 60
    await refusal(reader)


@pytest.fixture
def strict(client: Client, clock: HastyClock, is_read: set[Identity]) -> ObjectReader:
    return ObjectReader(client, clock, is_read=is_read.__contains__, require_label=True)


async def test_labelled_secret_is_handed_over(server: FakeAPIServer, strict: ObjectReader) -> None:
    server.put("secrets", "apps", "rabbit", labels=ALLOWED, data={"password": ENCODED})
    assert await value(strict) == PASSWORD.encode()


@pytest.mark.parametrize("labels", [{}, {"springline.dev/allowed": "True"}, {"other": "true"}])
async def test_other_secrets_are_not_where_the_label_is_required(
    server: FakeAPIServer, strict: ObjectReader, labels: dict[str, str]
) -> None:
    server.put("secrets", "apps", "rabbit", labels=labels, data={"password": ENCODED})
    error = await refusal(strict)
    assert isinstance(error, errors.ObjectNotAllowedError)
    assert str(error) == (
        'Secret "rabbit" in namespace "apps" may not be used: it is not labelled for it; set its '
        'label springline.dev/allowed to "true"'
    )


async def test_config_maps_need_no_label(server: FakeAPIServer, strict: ObjectReader) -> None:
    server.put("configmaps", "apps", "rabbit", data={"password": "x"})
    assert await value(strict, CONFIG_MAP) == b"x"


async def test_label_that_was_taken_away_is_respected_during_an_outage(
    server: FakeAPIServer, strict: ObjectReader, clock: HastyClock
) -> None:
    server.put("secrets", "apps", "rabbit", labels=ALLOWED, data={"password": ENCODED})
    await value(strict)
    put(server)
    clock.now_monotonic += 60
    assert isinstance(await refusal(strict), errors.ObjectNotAllowedError)
    server.instead = lambda _: closing
    assert isinstance(await refusal(strict), errors.ObjectUnavailableError)


# --- changes


def test_watch_that_has_not_begun_has_no_contact(client: Client, reader: ObjectReader) -> None:
    rng = Random(1)  # noqa: S311  # nothing is drawn
    watch = ObjectWatch(client, HastyClock(), rng, reader, on_change=lambda _: None)
    assert watch.last_contact is None
    assert not watch.is_synced


async def test_contact_is_that_of_the_watch_that_waits_longest(
    client: Client, reader: ObjectReader
) -> None:
    rng = Random(1)  # noqa: S311  # nothing is drawn
    watch = ObjectWatch(client, HastyClock(), rng, reader, on_change=lambda _: None)
    first, second = watch.watches
    first.last_contact = 7.0
    assert watch.last_contact is None
    second.last_contact = 5.0
    assert watch.last_contact == 5.0


@contextlib.asynccontextmanager
async def followed(
    client: Client,
    reader: ObjectReader,
    *,
    namespaces: tuple[str, ...] = (),
    on_gap: "list[str] | None" = None,
) -> AsyncIterator[list[Identity]]:
    """Run a watch that has seen what there is; yields what it tells."""
    told: list[Identity] = []
    gaps = on_gap if on_gap is not None else []
    watch = ObjectWatch(
        client,
        SystemClock(),
        Random(1),  # noqa: S311  # draws must be the same every time
        reader,
        on_change=told.append,
        on_gap=lambda: gaps.append("gap"),
        namespaces=namespaces,
    )
    task = asyncio.ensure_future(watch.run())
    try:
        await eventually(lambda: watch.is_synced)
        yield told
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_SPACING_SECONDS", 0.01)
    monkeypatch.setattr(watching, "_RETRY", Retry(delay=0.01, max_delay=0.05, jitter=0.0))


async def test_change_is_told_and_read(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    put(server, OLDER)
    async with followed(client, reader) as told:
        assert await value(reader) == b"older"
        put(server, NEWER)
        await eventually(lambda: told)
        assert told == [SECRET]
        assert await value(reader) == b"newer"


async def test_object_that_appears_or_goes_is_told(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    async with followed(client, reader) as told:
        assert await reader.read(SECRET) is None
        put(server)
        await eventually(lambda: len(told) == 1)
        assert await value(reader) == PASSWORD.encode()
        server.delete("secrets", "apps", "rabbit")
        await eventually(lambda: len(told) == 2)
        assert await reader.read(SECRET) is None


@pytest.mark.parametrize("change", ["changed", "deleted", "created"])
async def test_change_that_one_has_read_before_the_watch_saw_it_is_told_to_the_others(
    server: FakeAPIServer, client: Client, reader: ObjectReader, clock: HastyClock, change: str
) -> None:
    """They have what it was before, and would keep it for good."""
    if change != "created":
        put(server, OLDER)
    before = await reader.read(SECRET)
    if change == "deleted":
        server.delete("secrets", "apps", "rabbit")
    else:
        put(server, NEWER)
    clock.now_monotonic += 60
    assert (await reader.read(SECRET) is None) is (before is not None and change == "deleted")
    async with followed(client, reader) as told:
        assert told == [SECRET]


async def test_config_maps_are_followed_too(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    async with followed(client, reader) as told:
        assert await reader.read(CONFIG_MAP) is None
        server.put("configmaps", "apps", "rabbit")
        await eventually(lambda: told == [CONFIG_MAP])


async def test_what_was_read_before_the_watch_saw_it_is_no_change(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    async with followed(client, reader) as told:
        put(server)
        await value(reader)
        server.put("configmaps", "apps", "rabbit")
        await eventually(lambda: CONFIG_MAP in told)
        server.put("secrets", "apps", "last")
    assert told.count(SECRET) <= 1  # the watch may have been faster


async def test_only_what_is_read_is_told_and_remembered(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    async with followed(client, reader) as told:
        for number in range(20):
            server.put("secrets", "apps", f"other-{number}")
        put(server)
        await eventually(lambda: told)
    assert told == [SECRET]
    assert reader.objects_in_use() == [SECRET]


async def test_start_of_the_watch_is_no_change(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    """Sessions that were declared before it are not sent to read everything twice."""
    put(server)
    await value(reader)
    async with followed(client, reader) as told:
        pass
    assert told == []


async def test_change_between_a_read_and_the_first_list_is_told(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    put(server, OLDER)
    assert await value(reader) == b"older"
    put(server, NEWER)
    async with followed(client, reader) as told:
        assert told == [SECRET]
        assert await value(reader) == b"newer"


async def test_change_while_the_first_read_is_on_its_way_is_told(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    put(server, OLDER)
    gate = Gate(server)
    server.script.append(gate.deed)
    early = asyncio.ensure_future(value(reader))
    await eventually(lambda: server.asked)
    put(server, NEWER)
    async with followed(client, reader) as told:
        assert told == [SECRET]
        gate.opened.set()
        assert await early == b"older"
        assert await value(reader) == b"newer"


@pytest.mark.parametrize("change", ["changed", "deleted", "created"])
async def test_change_during_an_outage_is_told_after_it(
    server: FakeAPIServer, client: Client, reader: ObjectReader, change: str
) -> None:
    if change != "created":
        put(server, OLDER)
    gaps: list[str] = []
    async with followed(client, reader, on_gap=gaps) as told:
        await reader.read(SECRET)
        await eventually(lambda: server.watching == 2)
        await server.stop()
        if change == "deleted":
            server.delete("secrets", "apps", "rabbit")
        else:
            put(server, NEWER)
        server.forget_history()
        await eventually(lambda: len(gaps) == 2)
        await server.start()
        await eventually(lambda: told == [SECRET])


async def test_outage_without_a_change_tells_nothing(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    put(server)
    gaps: list[str] = []
    async with followed(client, reader, on_gap=gaps) as told:
        await value(reader)
        await eventually(lambda: server.watching == 2)
        await server.stop()
        await eventually(lambda: len(gaps) == 2)
        await server.start()
        await eventually(lambda: server.watching == 2)
        server.put("configmaps", "apps", "rabbit")
        await eventually(lambda: told == [CONFIG_MAP])


async def test_object_that_could_not_be_read_is_told_when_the_api_server_is_back(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    """Whoever asked in vain need not wait for its own next attempt."""
    put(server)
    async with followed(client, reader) as told:
        await eventually(lambda: server.watching == 2)
        await server.stop()
        assert isinstance(await refusal(reader), errors.ObjectUnavailableError)
        await server.start()
        await eventually(lambda: told == [SECRET])


async def test_label_that_comes_and_goes_is_told(
    server: FakeAPIServer, client: Client, strict: ObjectReader
) -> None:
    """With labels required, an object without one is not there."""
    put(server)
    async with followed(client, strict) as told:
        assert isinstance(await refusal(strict), errors.ObjectNotAllowedError)
        server.put("secrets", "apps", "rabbit", labels=ALLOWED, data={"password": ENCODED})
        await eventually(lambda: len(told) == 1)
        assert await value(strict) == PASSWORD.encode()
        put(server)
        await eventually(lambda: len(told) == 2)
        assert isinstance(await refusal(strict), errors.ObjectNotAllowedError)
    lists = server.asked_for("/api/v1/secrets") + server.asked_for("/api/v1/secrets", watch=True)
    assert {each.query.get("labelSelector") for each in lists} == {"springline.dev/allowed=true"}
    [config_maps] = server.asked_for("/api/v1/configmaps")
    assert "labelSelector" not in config_maps.query


async def test_only_the_given_namespaces_are_watched(
    server: FakeAPIServer, client: Client, reader: ObjectReader
) -> None:
    put(server)
    async with followed(client, reader, namespaces=("apps", "other")) as told:
        await value(reader)
        put(server, NEWER)
        await eventually(lambda: told == [SECRET])
        await eventually(lambda: server.watching == 4)
    assert {asked.path for asked in server.asked if asked.query} == {
        f"/api/v1/namespaces/{namespace}/{plural}"
        for namespace in ("apps", "other")
        for plural in ("secrets", "configmaps")
    }


async def test_list_of_one_namespace_says_nothing_of_another(
    server: FakeAPIServer, client: Client, reader: ObjectReader, is_read: set[Identity]
) -> None:
    elsewhere = Identity("Secret", "other", "rabbit")
    is_read.add(elsewhere)
    server.put("secrets", "other", "rabbit")
    put(server)
    await value(reader)
    await reader.read(elsewhere)
    async with followed(client, reader, namespaces=("apps", "other")) as told:
        assert told == []


async def test_reader_is_pruned_while_watching(
    server: FakeAPIServer,
    client: Client,
    reader: ObjectReader,
    is_read: set[Identity],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(objects, "_PRUNE_SECONDS", 0.01)
    put(server)
    async with followed(client, reader):
        await value(reader)
        is_read.clear()
        await eventually(lambda: not reader.objects_in_use())


def test_reader_is_what_the_core_asks_for(reader: ObjectReader) -> None:
    _: ports.ObjectReader = reader
