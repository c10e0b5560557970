"""Requests to the API server: what comes back, and what goes wrong."""

import asyncio
import contextlib
import json
import logging
import traceback
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from springline.kube import client as module
from springline.kube.access import Access
from springline.kube.client import Client, RefusedError, RequestError, UnreachableError
from support import fake_apiserver
from support.fake_apiserver import (
    Deed,
    FakeAPIServer,
    answering,
    closing,
    hanging,
    refusing,
    streaming,
)
from support.waiting import eventually

TOKEN = "planted-token"
PASSWORD = "planted-password"
SECRETS = "/api/v1/namespaces/apps/secrets"
SECRET = f"{SECRETS}/rabbit"
BODY = b'{"status": {"state": "Connected"}}'
STATUS = "/apis/springline.dev/v1alpha1/namespaces/apps/brokerconnections/orders/status"


@pytest.fixture(autouse=True)
def _no_secret_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG)
    yield
    assert TOKEN not in caplog.text
    assert PASSWORD not in caplog.text


def told(error: BaseException) -> str:
    """Return everything that an error and its causes may show."""
    texts = ["".join(traceback.format_exception(error))]
    each: BaseException | None = error
    while each is not None:
        texts.append(f"{each!r} {each.args!r}")
        each = each.__cause__ or each.__context__
    return "\n".join(texts)


async def failure(request: Any) -> RequestError:
    """Return the error of a request. Nothing about it shows a secret."""
    with pytest.raises(RequestError) as caught:
        await request
    assert TOKEN not in told(caught.value)
    assert PASSWORD not in told(caught.value)
    return caught.value


async def refused(request: Any) -> RefusedError:
    error = await failure(request)
    assert isinstance(error, RefusedError)
    return error


async def unreachable(request: Any) -> str:
    error = await failure(request)
    assert isinstance(error, UnreachableError)
    assert str(error).startswith("the API server cannot be reached: ")
    return error.message


# --- a document that seldom changes


async def test_a_document_is_not_sent_again_while_it_is_the_same(
    server: FakeAPIServer, client: Client
) -> None:
    server.script.append(answering({"openapi": "3.0.0"}, headers={"Etag": '"one"'}))
    assert await client.get_unless("/openapi/v3", "") == ({"openapi": "3.0.0"}, '"one"')
    tags: list[str | None] = []

    async def unchanged(request: web.Request) -> web.StreamResponse:
        tags.append(request.headers.get("If-None-Match"))
        return web.Response(status=304)

    server.script.append(unchanged)
    assert await client.get_unless("/openapi/v3", '"one"') == (None, '"one"')
    assert tags == ['"one"']
    server.script.append(answering({"openapi": "3.0.1"}))
    assert await client.get_unless("/openapi/v3", '"one"') == ({"openapi": "3.0.1"}, "")


async def test_a_document_that_cannot_be_read_is_an_error(
    server: FakeAPIServer, client: Client
) -> None:
    server.script.append(refusing(403, "Forbidden", "no"))
    assert (await refused(client.get_unless("/openapi/v3", ""))).code == 403
    server.script.append(answering("not JSON"))
    assert await unreachable(client.get_unless("/openapi/v3", ""))


# --- a namespace that is being deleted


@pytest.mark.parametrize(
    ("details", "is_ending"),
    [
        pytest.param(
            {"causes": [{"reason": "NamespaceTerminating", "field": "metadata.namespace"}]},
            True,
            id="as the API server says it",
        ),
        pytest.param({"causes": [{"reason": "Other"}]}, False, id="another cause"),
        pytest.param({"causes": "NamespaceTerminating"}, False, id="no list"),
        pytest.param({"causes": ["NamespaceTerminating"]}, False, id="no causes"),
        pytest.param(None, False, id="no details"),
    ],
)
async def test_a_namespace_that_is_being_deleted_is_told_by_the_cause(
    server: FakeAPIServer, client: Client, details: Any, is_ending: bool
) -> None:
    """Not by the text, which is for people."""
    status = {
        "kind": "Status",
        "reason": "Forbidden",
        "message": "being terminated",
        "details": details,
    }
    server.script.append(answering(status, status=403))
    error = await refused(client.create("/api/v1/namespaces/apps/events", {}))
    assert error.is_of_ending_namespace is is_ending


# --- one object


async def test_change_is_merged_into_what_is_there(server: FakeAPIServer, client: Client) -> None:
    """As a merge patch, under the name of whoever makes it."""
    server.put("secrets", "apps", "rabbit")
    await client.merge(SECRET, {"metadata": {"labels": {"a": "b"}}}, manager="ann")
    [asked] = server.asked
    assert (asked.method, asked.query) == ("PATCH", {"fieldManager": "ann"})
    assert json.loads(asked.body) == {"metadata": {"labels": {"a": "b"}}}


async def test_object_is_read_with_our_token(server: FakeAPIServer, client: Client) -> None:
    server.token = TOKEN
    server.put("secrets", "apps", "rabbit", data={"password": "eA=="})
    document = await client.get(SECRET)
    assert document["data"] == {"password": "eA=="}
    [asked] = server.asked
    assert (asked.method, asked.accept, asked.token) == ("GET", "application/json", TOKEN)
    assert TOKEN not in repr(client)


async def test_refused_credentials_are_read_again_once(
    server: FakeAPIServer, tmp_path: Path
) -> None:
    """Tokens of ServiceAccounts are rotated in place."""
    server.put("secrets", "apps", "rabbit")
    server.token = "new-" + TOKEN
    async with fake_apiserver.client_of(server, tmp_path, token="old-" + TOKEN) as client:
        fake_apiserver.kubeconfig(server, tmp_path, token="new-" + TOKEN)
        assert (await client.get(SECRET))["kind"] == "Secret"
    assert [asked.token for asked in server.asked] == ["old-" + TOKEN, "new-" + TOKEN]


async def test_requests_refused_together_read_the_credentials_once(
    server: FakeAPIServer, tmp_path: Path
) -> None:
    server.put("secrets", "apps", "rabbit")
    server.token = "new-" + TOKEN
    access = Access(
        kubeconfig=str(fake_apiserver.kubeconfig(server, tmp_path, token="old-" + TOKEN))
    )
    await access.load()
    fake_apiserver.kubeconfig(server, tmp_path, token="new-" + TOKEN)
    together = asyncio.Barrier(10)

    async def refusing_together(request: web.Request) -> web.StreamResponse:
        await together.wait()
        return await refusing(401, "Unauthorized", "Unauthorized")(request)

    server.script.extend([refusing_together] * 10)
    async with Client(access) as client:
        await asyncio.gather(*(client.get(SECRET) for _ in range(10)))
    assert access.renewals == 1


async def test_credentials_that_stay_refused_are_an_error(
    server: FakeAPIServer, client: Client
) -> None:
    server.token = "another"
    error = await refused(client.get(SECRET))
    assert error.code == 401
    assert error.may_pass
    assert len(server.asked) == 2


async def test_credentials_that_cannot_be_read_again_are_an_error(
    server: FakeAPIServer, client: Client, tmp_path: Path
) -> None:
    server.token = "another"
    (tmp_path / "kubeconfig").write_text(f"token: {TOKEN}: {{")
    assert "it is no YAML" in await unreachable(client.get(SECRET))


@pytest.mark.parametrize(
    ("code", "reason", "may_pass"),
    [
        (403, "Forbidden", False),
        (404, "NotFound", False),
        (409, "Conflict", False),
        (410, "Expired", False),
        (422, "Invalid", False),
        (429, "TooManyRequests", True),
        (500, "InternalError", True),
        (503, "ServiceUnavailable", True),
        (413, "RequestEntityTooLarge", False),
    ],
)
async def test_refusal_is_told_with_code_and_reason(
    server: FakeAPIServer, client: Client, code: int, reason: str, may_pass: bool
) -> None:
    """Nothing is tried again here."""
    server.script.append(refusing(code, reason, "because"))
    error = await refused(client.get(SECRET))
    assert (error.code, error.reason, error.message) == (code, reason, "because")
    assert error.may_pass is may_pass
    assert error.retry_after is None
    assert str(error) == f"the API server answered {code} {reason}: because"
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (413, "Request entity too large: limit is 3145728"),
        (500, "etcdserver: request is too large"),
        (500, "rpc error: code = ResourceExhausted desc = trying to send message larger than max"),
    ],
)
async def test_too_large_is_no_outage(
    server: FakeAPIServer, client: Client, code: int, message: str
) -> None:
    """What etcd says comes with the code of a server that is in trouble."""
    server.script.append(refusing(code, "", message))
    error = await refused(client.get(SECRET))
    assert error.is_too_large
    assert not error.may_pass


@pytest.mark.parametrize(
    ("written", "seconds"), [("7", 7.0), ("", None), ("soon", None), ("-1", None), ("²", None)]
)
async def test_wait_that_is_asked_for_is_told(
    server: FakeAPIServer, client: Client, written: str, seconds: float | None
) -> None:
    server.script.append(refusing(429, "TooManyRequests", "slow down", retry_after=written))
    assert (await refused(client.get(SECRET))).retry_after == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param("<html>no</html>", "<html>no</html>", id="a page"),
        pytest.param("x" * 1000, "x" * 200, id="a long text"),
        pytest.param("[1]", "[1]", id="a list"),
        pytest.param("", "", id="nothing"),
        pytest.param({"code": "x", "message": None}, "", id="a Status of other types"),
    ],
)
async def test_error_of_somebody_in_between_is_told_as_far_as_it_goes(
    server: FakeAPIServer, client: Client, body: object, message: str
) -> None:
    server.script.append(answering(body, status=502))
    error = await refused(client.get(SECRET))
    assert (error.code, error.message) == (502, message)


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(f"{{{PASSWORD}", id="cut off"),
        pytest.param(f'["{PASSWORD}"]', id="a list"),
        pytest.param("", id="empty"),
        pytest.param("[" * 100_000, id="nested without end"),
    ],
)
async def test_answer_that_is_no_object_is_an_error_that_does_not_quote_it(
    server: FakeAPIServer, client: Client, body: str
) -> None:
    server.script.append(answering(body))
    message = await unreachable(client.get(SECRET))
    assert message == "the answer is no JSON object; is this an API server?"


async def test_answer_that_is_no_http_is_an_error_that_does_not_quote_it(
    server: FakeAPIServer, client: Client
) -> None:
    async def deed(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.write(f"SSH-2.0-{PASSWORD}\r\n\r\n".encode())
        return web.Response()

    server.script.append(deed)
    message = await unreachable(client.get(SECRET))
    assert message == "the answer is no HTTP; is this an API server?"


async def test_answer_that_is_no_text_is_an_error_that_does_not_quote_it(
    server: FakeAPIServer, client: Client
) -> None:
    async def deed(_: web.Request) -> web.StreamResponse:
        return web.Response(body=b'{"password": "' + PASSWORD.encode() + b'\xff"}')

    server.script.append(deed)
    assert "no JSON object" in await unreachable(client.get(SECRET))


async def test_answer_that_is_no_http_is_an_error(server: FakeAPIServer, client: Client) -> None:
    """What aiohttp raises then holds the headers of the request."""

    async def deed(request: web.Request) -> web.StreamResponse:
        assert isinstance(request.transport, asyncio.Transport)
        request.transport.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
        await asyncio.Event().wait()
        raise AssertionError("nobody sets it")

    server.script.append(deed)
    assert await unreachable(client.get(SECRET))


async def test_api_server_that_does_not_answer_is_given_up(
    server: FakeAPIServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REQUEST_SECONDS", 0.1)
    server.script.append(hanging)
    assert await unreachable(client.get(SECRET)) == "no answer in time"


async def test_answer_that_does_not_end_is_given_up(
    server: FakeAPIServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REQUEST_SECONDS", 0.1)
    server.script.append(streaming('{"kind": '))
    assert await unreachable(client.get(SECRET)) == "no answer in time"


async def test_connection_that_is_dropped_is_an_error(
    server: FakeAPIServer, client: Client
) -> None:
    # aiohttp tries a GET once more when a connection that it had kept is gone.
    server.script.extend([closing, closing])
    assert await unreachable(client.get(SECRET))


async def test_api_server_that_is_away_is_an_error(server: FakeAPIServer, client: Client) -> None:
    await server.stop()
    assert str(server.port) in await unreachable(client.get(SECRET))
    await server.start()
    server.put("secrets", "apps", "rabbit")
    assert (await client.get(SECRET))["kind"] == "Secret"


FORBIDDEN = refusing(403, "Forbidden", "secrets is forbidden")


async def test_being_forbidden_after_an_outage_is_a_part_of_it(
    server: FakeAPIServer, client: Client
) -> None:
    """An API server that has just started does not know its roles, and forbids everything."""
    await server.stop()
    await unreachable(client.get(SECRET))
    await server.start()
    server.script.extend([FORBIDDEN, FORBIDDEN])
    for _ in range(2):
        message = await unreachable(client.get(SECRET))
        assert message.startswith("it has just been away")
        assert "secrets is forbidden" in message


async def test_being_forbidden_long_after_an_outage_is_told(
    server: FakeAPIServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_SETTLING_SECONDS", -1.0)
    server.script.extend([closing, closing, FORBIDDEN])
    await unreachable(client.get(SECRET))
    assert (await refused(client.get(SECRET))).code == 403


async def test_being_forbidden_after_a_watch_ended_early_is_a_part_of_an_outage(
    server: FakeAPIServer, client: Client
) -> None:
    """So ends a watch of an API server that is stopped in order."""
    async with watching(client) as events:
        server.put("secrets", "apps", "rabbit")
        await anext(events)
        server.end_watches()
        with pytest.raises(StopAsyncIteration):
            await anext(events)
    server.script.append(FORBIDDEN)
    assert "just been away" in await unreachable(client.get(SECRET))


async def test_requests_wait_for_their_turn(server: FakeAPIServer, client: Client) -> None:
    """A thousand sessions that start together are not a thousand connections."""
    now, most = 0, 0

    async def deed(_: web.Request) -> web.StreamResponse:
        nonlocal now, most
        now += 1
        most = max(most, now)
        for _turn in range(20):
            await asyncio.sleep(0)
        now -= 1
        return web.json_response({})

    server.instead = lambda _: deed
    await asyncio.gather(*(client.get(SECRET) for _ in range(200)))
    assert most <= module._CONCURRENT


async def test_request_can_be_cancelled(server: FakeAPIServer, client: Client) -> None:
    server.script.append(hanging)
    request = asyncio.ensure_future(client.get(SECRET))
    await eventually(lambda: server.asked)
    request.cancel()
    await asyncio.wait({request})
    assert request.cancelled()


# --- writing


async def test_object_is_applied_in_our_name(server: FakeAPIServer, client: Client) -> None:
    server.script.append(answering({"kind": "BrokerConnection"}))
    answer = await client.apply(STATUS, BODY, manager="springline")
    assert json.loads(answer) == {"kind": "BrokerConnection"}
    [asked] = server.asked
    assert (asked.method, asked.path) == ("PATCH", STATUS)
    assert asked.query == {"fieldManager": "springline", "force": "true"}
    assert asked.body == BODY.decode()


async def test_object_is_replaced(server: FakeAPIServer, client: Client) -> None:
    server.script.append(answering({"kind": "Secret"}))
    document = {"metadata": {"resourceVersion": "7"}}
    assert await client.update(SECRET, document, fieldManager="springline") == {"kind": "Secret"}
    [asked] = server.asked
    assert (asked.method, asked.path) == ("PUT", SECRET)
    assert asked.query == {"fieldManager": "springline"}
    assert asked.body == '{"metadata": {"resourceVersion": "7"}}'


async def test_only_the_object_that_is_meant_is_deleted(
    server: FakeAPIServer, client: Client
) -> None:
    server.script.append(answering({"kind": "Status"}))
    await client.delete(SECRET, uid="u", version="7")
    [asked] = server.asked
    assert (asked.method, asked.path) == ("DELETE", SECRET)
    assert json.loads(asked.body)["preconditions"] == {"uid": "u", "resourceVersion": "7"}


# --- lists


async def test_list_is_of_metadata_only(server: FakeAPIServer, client: Client) -> None:
    server.put("secrets", "apps", "rabbit", data={"password": PASSWORD})
    server.put("secrets", "other", "rabbit")
    items, version = await client.list_metadata(SECRETS)
    [item] = items
    assert item["metadata"]["name"] == "rabbit"
    assert "data" not in item
    assert version == "102"
    assert server.asked[0].accept == (
        "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    )


async def test_list_comes_in_pages(
    server: FakeAPIServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PAGE", 2)
    for number in range(5):
        server.put("secrets", "apps", f"secret-{number}")
    items, _ = await client.list_metadata(SECRETS, labelSelector="")
    assert [item["metadata"]["name"] for item in items] == [f"secret-{n}" for n in range(5)]
    assert [asked.query.get("continue") for asked in server.asked] == [None, "2", "4"]


async def test_token_of_a_page_comes_back_as_it_was(server: FakeAPIServer, client: Client) -> None:
    token = "eyJ2IjoibWV0YSJ9+/=&?% é"
    server.script.append(
        answering({"metadata": {"resourceVersion": "7", "continue": token}, "items": []})
    )
    server.script.append(answering({"metadata": {"resourceVersion": "7"}}))
    await client.list(SECRETS)
    assert server.asked[1].query["continue"] == token


async def test_list_that_expires_between_two_pages_is_an_error(
    server: FakeAPIServer, client: Client
) -> None:
    server.script.append(
        answering({"metadata": {"resourceVersion": "7", "continue": "next"}, "items": []})
    )
    server.script.append(refusing(410, "Expired", "the continue token is too old"))
    assert (await refused(client.list_metadata(SECRETS))).code == 410


@pytest.mark.parametrize(
    "answer",
    [{}, {"items": []}, {"items": [], "metadata": []}, {"kind": "Secret", "metadata": {}}],
    ids=["nothing", "no version", "of other types", "an object"],
)
async def test_answer_that_is_no_list_is_not_taken_for_an_empty_one(
    server: FakeAPIServer, client: Client, answer: object
) -> None:
    """Otherwise everything would be gone."""
    server.script.append(answering(answer))
    message = await unreachable(client.list_metadata(SECRETS))
    assert message == "the answer is no list; is this an API server?"


@pytest.mark.parametrize("items", [None, [], [7, "x"]])
async def test_list_without_objects_is_empty(
    server: FakeAPIServer, client: Client, items: object
) -> None:
    server.script.append(answering({"metadata": {"resourceVersion": "7"}, "items": items}))
    assert await client.list_metadata(SECRETS) == ([], "7")


# --- watches


@contextlib.asynccontextmanager
async def watching(client: Client, *, since: str = "100") -> AsyncIterator[Any]:
    events = client.watch(SECRETS, since=since, seconds=300)
    async with contextlib.aclosing(events):
        yield events


async def test_watch_tells_what_happens(server: FakeAPIServer, client: Client) -> None:
    async with watching(client) as events:
        server.put("secrets", "apps", "rabbit", data={"password": PASSWORD})
        added = await anext(events)
        server.delete("secrets", "apps", "rabbit")
        deleted = await anext(events)
    assert (added["type"], deleted["type"]) == ("ADDED", "DELETED")
    assert added["object"]["metadata"]["name"] == "rabbit"
    assert "data" not in added["object"]
    [asked] = server.asked
    assert asked.query == {
        "watch": "true",
        "allowWatchBookmarks": "true",
        "resourceVersion": "100",
        "timeoutSeconds": "300",
    }
    assert asked.accept == "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"


async def test_watch_lets_go_of_its_connection_when_it_is_left(
    server: FakeAPIServer, client: Client
) -> None:
    async with watching(client) as events:
        server.put("secrets", "apps", "rabbit")
        await anext(events)
    await eventually(lambda: server.watching == 0)


async def test_watch_ends_when_the_api_server_ends_it(
    server: FakeAPIServer, client: Client
) -> None:
    async with watching(client) as events:
        server.put("secrets", "apps", "rabbit")
        assert await anext(events)
        server.end_watches()
        assert [event async for event in events] == []


async def test_error_in_the_stream_is_an_error(server: FakeAPIServer, client: Client) -> None:
    server.forget_history()
    async with watching(client) as events:
        error = await refused(anext(events))
    assert (error.code, error.reason) == (410, "Expired")


@pytest.mark.parametrize(
    "deed",
    [
        pytest.param(refusing(403, "Forbidden", "no"), id="forbidden"),
        pytest.param(refusing(500, "InternalError", "no"), id="broken"),
    ],
)
async def test_watch_that_is_refused_is_an_error(
    server: FakeAPIServer, client: Client, deed: Deed
) -> None:
    server.script.append(deed)
    async with watching(client) as events:
        assert (await refused(anext(events))).code in (403, 500)


@pytest.mark.parametrize(
    "line",
    [f"{PASSWORD}\n", "[1]\n", "\n", '{"type": "ADD'],
    ids=["no JSON", "a list", "an empty line", "cut off"],
)
async def test_line_that_is_no_event_is_an_error(
    server: FakeAPIServer, client: Client, line: str
) -> None:
    server.script.append(answering(line))
    async with watching(client) as events:
        assert "no JSON object" in await unreachable(anext(events))


async def test_error_in_the_stream_without_content_is_an_error(
    server: FakeAPIServer, client: Client
) -> None:
    server.script.append(answering('{"type": "ERROR", "object": "?"}\n'))
    async with watching(client) as events:
        assert (await refused(anext(events))).code == 0


async def test_watch_that_is_silent_for_too_long_is_dead(
    server: FakeAPIServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SILENCE_SECONDS", 0.1)
    async with watching(client) as events:
        assert await unreachable(anext(events)) == "no answer in time"
    assert server.asked[0].is_watch


async def test_watch_that_does_not_begin_is_given_up(
    server: FakeAPIServer, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_REQUEST_SECONDS", 0.1)
    server.script.append(hanging)
    async with watching(client) as events:
        assert await unreachable(anext(events)) == "no answer in time"


async def test_watch_that_breaks_is_an_error(server: FakeAPIServer, client: Client) -> None:
    async with watching(client) as events:
        server.put("secrets", "apps", "rabbit")
        assert await anext(events)
        server.break_watches()
        assert await unreachable(anext(events))


async def test_watches_do_not_take_the_turns_of_requests(
    server: FakeAPIServer, client: Client
) -> None:
    server.put("secrets", "apps", "rabbit")
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(module._CONCURRENT + 60):
            await anext(await stack.enter_async_context(watching(client)))
        assert (await client.get(SECRET))["kind"] == "Secret"


async def test_a_client_apart_waits_behind_no_other_requests(
    server: FakeAPIServer, client: Client
) -> None:
    """A sign of life must not be late because thousands of Secrets are read."""
    server.put("secrets", "apps", "rabbit")
    server.instead = lambda asked: hanging if asked.path == SECRET else None
    async with asyncio.TaskGroup() as tasks:
        reads = [tasks.create_task(client.get(SECRET)) for _ in range(module._CONCURRENT + 1)]
        await eventually(lambda: len(server.asked) == module._CONCURRENT, what="no turn is left")
        items, _ = await client.apart().list("/api/v1/secrets")
        assert len(items) == 1
        for each in reads:
            each.cancel()


async def test_a_client_apart_shares_what_is_known_of_outages(
    server: FakeAPIServer, client: Client
) -> None:
    """An API server that has just started forbids everything, and that is no lack of a right."""
    apart = client.apart()
    server.instead = lambda _: refusing(403, "Forbidden", "no")
    with pytest.raises(RefusedError):
        await apart.get(SECRET)
    server.instead = lambda _: closing
    with pytest.raises(UnreachableError):
        await client.get(SECRET)
    server.instead = lambda _: refusing(403, "Forbidden", "no")
    with pytest.raises(UnreachableError):
        await apart.get(SECRET)
