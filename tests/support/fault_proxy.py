"""A proxy in front of a real API server that answers some requests otherwise, and counts them all.

What lies between an operator and its API server in a real cluster: a load balancer, a priority
queue, a webhook. It speaks HTTPS with a certificate of its own, and passes everything that a test
does not pick, watches included.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import aiohttp
import trustme
import yaml
from aiohttp import web

from support import ports
from support.apiserver import APIServer
from support.fake_apiserver import Asked, Deed, refusing
from support.ports import LOOPBACK

__all__ = ["FaultProxy", "cutting", "is_write", "proxying"]

# Those of one connection, which the proxy has with either side on its own.
_OF_ONE_HOP = frozenset(
    {"host", "connection", "transfer-encoding", "content-length", "content-encoding"}
)


class FaultProxy:
    """Passes requests to `server`, but for those that `instead` picks."""

    def __init__(self, server: APIServer, directory: Path) -> None:
        """Lease a port; nothing listens yet."""
        self.asked: list[Asked] = []
        self.instead: Callable[[Asked], Deed | None] = lambda _: None
        """What is done with a request in place of passing it."""
        self.revoked: set[str] = set()
        """Tokens that are no longer taken."""
        self._watches: list[tuple[str, web.Request]] = []
        self._server = server
        self._lease = ports.lease(1)
        [self._port] = self._lease.ports
        self._authority = directory / "proxy-ca.pem"
        self._context = self._serving_context()
        self._session: aiohttp.ClientSession | None = None

    def kubeconfig(self, **user: str) -> str:
        """Return the API server's kubeconfig, changed to go by here."""
        document = yaml.safe_load(self._server.kubeconfig(**user))
        [cluster] = document["clusters"]
        cluster["cluster"] = {
            "server": f"https://{LOOPBACK}:{self._port}",
            "certificate-authority": str(self._authority),
        }
        return yaml.safe_dump(document)

    def writes(self, name: str) -> int:
        """Count the requests so far that would write the status of an object."""
        return sum(is_write(each, name) for each in self.asked)

    def revoke(self, token: str) -> None:
        """Take a token no longer, and end what was begun with it."""
        self.revoked.add(token)
        self.break_watches()

    def break_watches(self, plural: str = "") -> None:
        """Reset the connection of each watch, or of those of one resource."""
        for path, request in self._watches:
            if path.endswith(plural) and request.transport is not None:
                request.transport.abort()

    def _serving_context(self) -> ssl.SSLContext:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(str(self._authority))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(LOOPBACK).configure_cert(context)
        return context

    def close(self) -> None:
        """Give the port back. Idempotent."""
        self._lease.release()

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve within the block."""
        app = web.Application(client_max_size=16 * 1024**2)
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        trust = ssl.create_default_context(cafile=str(self._server.certificate))
        connector = aiohttp.TCPConnector(ssl=trust, limit=0)
        async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
            self._session = session
            await runner.setup()
            try:
                site = web.TCPSite(runner, LOOPBACK, self._port, ssl_context=self._context)
                await site.start()
                yield
            finally:
                await runner.cleanup()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            accept=request.headers.get("Accept", ""),
            token=request.headers.get("Authorization", "").removeprefix("Bearer "),
            body=body.decode(errors="replace"),
        )
        self.asked.append(asked)
        if asked.token in self.revoked:
            return await refusing(401, "Unauthorized", "Unauthorized")(request)
        if (deed := self.instead(asked)) is not None:
            return await deed(request)
        if not asked.is_watch:
            return await self.passing(request)
        watch = (asked.path, request)
        self._watches.append(watch)
        try:
            return await self.passing(request)
        finally:
            self._watches.remove(watch)

    async def passing(self, request: web.Request) -> web.StreamResponse:
        """Pass a request on, and its answer back as it comes."""
        assert self._session is not None
        async with self._session.request(
            request.method,
            f"{self._server.url}{request.path_qs}",
            headers={k: v for k, v in request.headers.items() if k.lower() not in _OF_ONE_HOP},
            data=await request.read() or None,
            timeout=aiohttp.ClientTimeout(total=None),
        ) as answer:
            response = web.StreamResponse(status=answer.status)
            for key, value in answer.headers.items():
                if key.lower() not in _OF_ONE_HOP - {"content-encoding"}:
                    response.headers.add(key, value)
            await response.prepare(request)
            async for chunk in answer.content.iter_any():
                await response.write(chunk)
            await response.write_eof()
            return response


def is_write(asked: Asked, name: str) -> bool:
    """Whether a request would write the status of an object."""
    return asked.method == "PATCH" and asked.path.endswith(f"/{name}/status")


async def cutting(request: web.Request) -> web.StreamResponse:
    """Begin an answer and drop the connection in its midst."""
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b'{"kind": "BrokerConn')
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()
    return response


@contextlib.asynccontextmanager
async def proxying(server: APIServer, directory: Path) -> AsyncIterator[FaultProxy]:
    """Serve on a port of our own."""
    proxy = FaultProxy(server, directory)
    try:
        async with proxy.serving():
            yield proxy
    finally:
        proxy.close()
