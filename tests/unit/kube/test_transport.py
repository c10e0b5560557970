"""How requests leave, and over what."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from springline import __version__
from springline.kube.access import Access
from springline.kube.transport import Transport
from support import fake_apiserver
from support.fake_apiserver import Asked, Deed, FakeAPIServer
from support.waiting import eventually

TOKEN = "planted-token-0123456789"


@contextlib.asynccontextmanager
async def reaching(
    server: FakeAPIServer, directory: Path, *, token: str = TOKEN, url: str = ""
) -> AsyncIterator[Transport]:
    """Return what sends requests to the server."""
    path = fake_apiserver.kubeconfig(server, directory, token=token, server=url or server.url)
    access = Access(kubeconfig=str(path))
    await access.load()
    transport = Transport(access)
    try:
        yield transport
    finally:
        await transport.close()
        await transport.close()  # idempotent


async def test_a_request_says_who_asks_and_what(server: FakeAPIServer, tmp_path: Path) -> None:
    headers: list[dict[str, str]] = []

    async def noted(request: web.Request) -> web.StreamResponse:
        headers.append(dict(request.headers))
        return web.json_response({"path": request.path_qs})

    server.instead = lambda _: noted
    async with reaching(server, tmp_path, url=f"{server.url}/behind/it") as transport:
        response = await transport.send(
            "PATCH",
            "/apis/one",
            params={"fieldManager": "a b&c", "force": "true"},
            headers={"Accept": "application/json", "Content-Type": "application/x"},
            body=b"{}",
        )
        answer = await response.json()
    assert answer == {"path": "/behind/it/apis/one?fieldManager=a%20b%26c&force=true"}
    [given] = headers
    assert given["Authorization"] == f"Bearer {TOKEN}"
    assert given["User-Agent"] == f"springline/{__version__}"
    assert given["Accept"] == "application/json"
    assert given["Content-Type"] == "application/x"


async def test_without_a_token_none_is_sent(server: FakeAPIServer, tmp_path: Path) -> None:
    async with reaching(server, tmp_path, token="") as transport:
        response = await transport.send("GET", "/api/v1/secrets", params={}, headers={})
        await response.read()
    assert [each.token for each in server.asked] == [""]


async def test_what_an_answer_would_have_kept_is_not_sent_back(
    server: FakeAPIServer, tmp_path: Path
) -> None:
    """As with kubectl: no API server sets cookies, and to look for them takes time."""
    cookies: list[str | None] = []

    async def setting(request: web.Request) -> web.StreamResponse:
        cookies.append(request.headers.get("Cookie"))
        return web.Response(headers={"Set-Cookie": "one=1"})

    server.instead = lambda _: setting
    async with reaching(server, tmp_path) as transport:
        for _ in range(2):
            response = await transport.send("GET", "/api", params={}, headers={})
            await response.read()
    assert cookies == [None, None]


@pytest.mark.parametrize("count", [120])
async def test_watches_do_not_use_up_the_connections(
    server: FakeAPIServer, tmp_path: Path, count: int
) -> None:
    """Each holds one for good; there is no limit that many of them could reach."""

    def streaming(asked: Asked) -> Deed | None:
        return fake_apiserver.streaming("\n") if asked.path == "/watch" else None

    server.instead = streaming
    async with reaching(server, tmp_path) as transport:
        held = [await transport.send("GET", "/watch", params={}, headers={}) for _ in range(count)]
        await eventually(lambda: len(server.asked_for("/watch")) == count)
        response = await transport.send("GET", "/api/v1/secrets", params={}, headers={})
        await response.read()
        assert response.status == 200
        for each in held:
            each.close()
