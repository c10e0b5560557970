"""The HTTP connection object with real servers, behaviour by behaviour (R3).

hypercorn speaks both versions and says which requests reached it; nghttpd is nghttp2's own server.
What breaks the protocol on purpose is in `test_http_peers.py`.
"""

import asyncio
import json
from collections.abc import Iterator

import pytest

from springline.drivers.http.connection import Change, HttpConnection, Options, Version
from springline.drivers.http.engine import EndKind
from springline.drivers.http.errors import RetryRequestError
from springline.drivers.http.messages import Request, Response
from springline.errors import ConnectError
from support import scripted_http
from support.http_peers import HTTPPeerMissing
from support.hypercorn import Hypercorn
from support.nghttpd import HELLO, Nghttpd
from support.nginx import Nginx
from support.waiting import PATIENCE, eventually

VERSIONS = pytest.mark.parametrize("version", [Version.HTTP1, Version.HTTP2])


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hypercorn]:
    try:
        server = Hypercorn(tmp_path_factory.mktemp("hypercorn"))
    except HTTPPeerMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """One that keeps a connection for as long as it is asked."""
    try:
        server = Nginx(tmp_path_factory.mktemp("nginx"), keepalive_requests=1000)
    except HTTPPeerMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


@pytest.fixture(scope="module")
def nghttpd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nghttpd]:
    try:
        server = Nghttpd(tmp_path_factory.mktemp("nghttpd"))
    except HTTPPeerMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


async def call(client: HttpConnection, path: str, *, method: str = "GET") -> Response:
    return await client.call(Request(method=method, target=path), timeout=PATIENCE)


def calls(client: HttpConnection, *paths: str) -> list["asyncio.Task[Response]"]:
    """Make calls in this order."""
    return [asyncio.ensure_future(call(client, path)) for path in paths]


async def closed(client: HttpConnection) -> None:
    client.close()
    await client.wait_closed()


async def reached(web: Hypercorn) -> list[str]:
    """The requests that have reached the server, as another connection is told."""
    client = scripted_http.connection(web.port)
    answer = await call(client, "/seen")
    await closed(client)
    return [str(each) for each in json.loads(answer.body)]


# R3.1
@VERSIONS
async def test_a_connection_is_usable_at_once_or_waited_for(
    web: Hypercorn, version: Version
) -> None:
    early = scripted_http.connection(web.port, version=version)
    was_connected = early.is_connected
    assert (await call(early, "/")).status == 200
    assert (was_connected, early.is_connected) == (False, True)
    await closed(early)
    waited_for = await HttpConnection.connect(
        scripted_http.target(web.port), Options(name="test", version=version)
    )
    assert waited_for.is_connected
    await closed(waited_for)


# R3.2
@VERSIONS
async def test_without_persistence_one_request_is_answered_and_the_connection_ends(
    web: Hypercorn, version: Version
) -> None:
    client = scripted_http.connection(web.port, version=version, persistent=False)
    first, second = calls(client, "/", "/echo")
    assert (await first).status == 200
    with pytest.raises(RetryRequestError):
        await second
    await client.wait_closed()


# R3.2
@VERSIONS
async def test_without_a_word_the_first_answer_shows_that_more_may_follow(
    web: Hypercorn, version: Version
) -> None:
    """The rest are sent together: each is held until the last one has arrived."""
    client = scripted_http.connection(web.port, version=version, persistent=None)
    name = f"shown-{version}"
    assert (await call(client, "/")).status == 200
    held = calls(client, *[f"/held/{name}"] * 5)
    await asyncio.sleep(0)
    assert client.length == 5
    other = scripted_http.connection(web.port)
    assert (await call(other, f"/release/{name}")).status == 200
    assert [each.status for each in await asyncio.gather(*held)] == [200] * 5
    await closed(other)
    await closed(client)


# R3.3
async def test_fifty_pipelined_requests_are_answered_in_order(web: Hypercorn) -> None:
    client = scripted_http.connection(web.port, version=Version.HTTP1, persistent=True)
    pending = calls(client, *(f"/large/{number}" for number in range(1, 51)))
    await asyncio.sleep(0)
    assert client.length == 50
    answers = await asyncio.gather(*pending)
    assert [len(each.body) for each in answers] == list(range(1, 51))
    assert client.length == 0
    await closed(client)


# R3.3
async def test_fifty_requests_are_pipelined_to_another_implementation(nginx: Nginx) -> None:
    client = scripted_http.connection(nginx.port, version=Version.HTTP1, persistent=True)
    pending = calls(client, *["/", "/forbidden"] * 25)
    await asyncio.sleep(0)
    assert client.length == 50
    answers = await asyncio.gather(*pending)
    assert [each.status for each in answers] == [200, 403] * 25
    assert client.length == 0
    await closed(client)


# R3.3
async def test_a_hundred_multiplexed_requests_wait_for_none_of_each_other(web: Hypercorn) -> None:
    """The first is held until the last one has been answered."""
    client = scripted_http.connection(web.port, version=Version.HTTP2, persistent=True)
    [held, *others] = calls(
        client, "/held/hundred", *(f"/large/{number}" for number in range(1, 100))
    )
    answers = await asyncio.gather(*others)
    assert [len(each.body) for each in answers] == list(range(1, 100))
    assert client.length == 1
    assert not held.done()
    assert (await call(client, "/release/hundred")).status == 200
    assert (await held).status == 200
    await closed(client)


# R3.3
async def test_a_hundred_requests_are_multiplexed_to_another_implementation(
    nghttpd: Nghttpd,
) -> None:
    client = scripted_http.connection(nghttpd.port, version=Version.HTTP2, persistent=True)
    answers = await asyncio.gather(*calls(client, *["/"] * 100))
    assert [each.body for each in answers] == [HELLO] * 100
    await closed(client)


# R3.4
@VERSIONS
async def test_observers_learn_of_each_change_of_length_and_of_closing(
    web: Hypercorn, version: Version
) -> None:
    client = scripted_http.connection(web.port, version=version)
    seen: list[Change] = []
    client.notify(seen.append)
    await asyncio.gather(*calls(client, "/", "/"))
    await closed(client)
    await eventually(lambda: seen[-1].is_closed)
    assert [each.length for each in seen] == [1, 2, 1, 0, 0]
    assert [each.is_closed for each in seen] == [False] * 4 + [True]


# R3.5
# R3.11
@VERSIONS
async def test_a_shutdown_answers_what_is_queued_and_takes_nothing_more(
    web: Hypercorn, version: Version
) -> None:
    client = scripted_http.connection(web.port, version=version, persistent=None)
    pending = calls(client, "/slow/20", "/large/7", "/")
    await asyncio.sleep(0)
    client.shutdown()
    with pytest.raises(RetryRequestError):  # R3.9
        await call(client, "/")
    assert [each.status for each in await asyncio.gather(*pending)] == [200] * 3
    await client.wait_closed()
    assert client.end is not None
    assert client.end.kind is EndKind.DONE


# R3.6
@VERSIONS
async def test_closing_fails_what_is_outstanding_and_repeats_no_post(
    web: Hypercorn, version: Version
) -> None:
    client = scripted_http.connection(web.port, version=version)
    path = f"/held/never-{version}"
    sent = asyncio.ensure_future(call(client, path, method="POST"))

    async with asyncio.timeout(PATIENCE):
        while f"POST {path}" not in await reached(web):
            pass  # to ask takes its time
    await closed(client)
    with pytest.raises(RetryRequestError) as caught:
        await sent
    assert not caught.value.may_repeat
    assert (await reached(web)).count(f"POST {path}") == 1


# R3.7
# R3.8
@VERSIONS
async def test_it_is_finalised_once_when_the_server_ends_it(
    tmp_path_factory: pytest.TempPathFactory, version: Version
) -> None:
    order: list[str] = []
    with Hypercorn(tmp_path_factory.mktemp("ending"), graceful_seconds=0.1) as server:
        client = scripted_http.connection(
            server.port, version=version, finalise=lambda: order.append("finalised")
        )
        seen = [client.is_closed]
        assert (await call(client, "/")).status == 200
        seen.append(client.is_closed)
        [held] = calls(client, "/held/for-good")
        await asyncio.sleep(0)
        server.kill()
        with pytest.raises((RetryRequestError, ConnectError)):
            await held
        order.append("failed")
        await client.wait_closed()
        seen.append(client.is_closed)
    assert order == ["finalised", "failed"]
    assert seen == [False, False, True]


# R3.10
@VERSIONS
async def test_a_body_of_unknown_length_arrives_whole_on_a_new_connection_and_later(
    web: Hypercorn, version: Version
) -> None:
    """First with a length, for which it is read; in chunks when the server has shown itself."""
    client = scripted_http.connection(web.port, version=version)
    for _ in range(2):
        pieces = iter([b"abc", b"", b"def"])
        request = Request(method="POST", target="/echo", body=pieces)
        assert (await client.call(request, timeout=PATIENCE)).body == b"abcdef"
    await closed(client)
