"""The HTTP side of the process: is it alive, is it ready, and how does it go?

`/healthz` says no only where a restart would help, `/readyz` where others should wait for it; both
answer like a Kubernetes API server's. Nothing is decided here: checks and metrics are given.
"""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Self, cast

from aiohttp import hdrs, web

from springline.connection_limits import Guests, Limits
from springline.errors import SpringlineError
from springline.metrics import Collector

__all__ = ["Check", "Health", "ListenAddress", "ListenError", "serve"]

logger = logging.getLogger(__name__)

_STOP_SECONDS = 2.0

_KEEP_SECONDS = 75.0
"""How long a connection is kept for its next question, which has to be there by then."""

Check = Callable[[], str | None]
"""Returns None, or a sentence that says what is wrong. Must return at once."""


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """Where to listen, shown as `host:port`; an empty host is every address of the machine."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `HOST:PORT`, `[IPv6]:PORT` or `:PORT`. Raises `ValueError` with a sentence."""
        host, colon, port = text.strip().rpartition(":")
        if not colon:
            raise ValueError(f'"{text}" has no port; write HOST:PORT, for example 0.0.0.0:8080')
        if host.startswith("[") and host.endswith("]"):
            host = host[1:-1]
            if not _is_ipv6(host):
                raise ValueError(f'"{host}" is no IPv6 address, and only those stand in brackets')
        elif ":" in host:
            raise ValueError(f'"{text}" is ambiguous; write an IPv6 address as [ADDRESS]:PORT')
        if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
            raise ValueError(f'"{port}" is no port; it is a number from 1 to 65535')
        return cls(host, int(port))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


class ListenError(SpringlineError):
    """The address cannot be listened on."""

    def __init__(self, address: ListenAddress, message: str) -> None:
        super().__init__(address, message)
        self.address = address
        self.message = message

    def __str__(self) -> str:
        return f"cannot listen on {self.address}: {self.message}"


class Health:
    """Named checks of a process."""

    def __init__(
        self,
        *,
        live: Mapping[str, Check] | None = None,
        ready: Mapping[str, Check] | None = None,
    ) -> None:
        """`live` are the checks that a restart would help, `ready` those that time would."""
        self.live: dict[str, Check] = dict(live or {})
        self.ready: dict[str, Check] = dict(ready or {})


@contextlib.asynccontextmanager
async def serve(
    address: ListenAddress,
    health: Health,
    metrics: Collector | None,
    *,
    limits: Limits = Limits(),  # noqa: B008 - frozen
    dropped: Callable[[str], None] = lambda _: None,
) -> AsyncIterator[None]:
    """Serve within the block; requests under way may finish for a moment at its end.

    Without `metrics` there is no `/metrics`. `dropped` is told why, whenever a connection does not
    keep to the limits. Raises `ListenError`.
    """
    guests = Guests(limits, dropped)
    runner = web.AppRunner(
        _application(health, metrics, guests),
        access_log=None,
        shutdown_timeout=_STOP_SECONDS,
        keepalive_timeout=_KEEP_SECONDS,
    )
    await runner.setup()
    try:
        handler = cast("web.Server", runner.server)  # which there is from setup on
        try:
            listening = await asyncio.get_running_loop().create_server(
                lambda: guests.admit(handler()), address.host or None, address.port
            )
        except OSError as error:
            raise ListenError(address, _told(error)) from error
        except UnicodeError as error:  # of a label that is empty, or longer than 63 characters
            raise ListenError(address, "that is no name of a host") from error
        try:
            yield
        finally:
            listening.close()
    finally:
        await runner.cleanup()


def _told(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "something listens there already; stop it, or choose another address"
    if isinstance(error, socket.gaierror) or error.errno is None:
        return error.strerror or str(error)
    return os.strerror(error.errno).lower()  # asyncio's own text says where once more


def _application(health: Health, metrics: Collector | None, guests: Guests) -> web.Application:
    @web.middleware
    async def noted(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        guests.asked(request.transport)
        return await handler(request)

    application = web.Application(middlewares=[noted, _guarded])
    application.on_response_prepare.append(_say_less)
    application.router.add_get("/healthz", _Checks(health.live).answer)
    application.router.add_get("/readyz", _Checks(health.ready).answer)
    if metrics is not None:
        application.router.add_get("/metrics", _Scrapes(metrics).answer)
    return application


@web.middleware
async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPException:
        raise
    except Exception:  # the top of a task: a defect of a check fails the request, not the server
        logger.exception("request failed unexpectedly", extra={"path": request.path})
        return web.Response(status=500, text="an internal error; see Springline's log\n")


async def _say_less(_: web.Request, response: web.StreamResponse) -> None:
    """Say nothing of the libraries and their versions, which nobody needs who has no bad plans."""
    response.headers.pop(hdrs.SERVER, None)


class _Checks:
    """Answers whether checks pass: with one word if all do, with those that fail otherwise."""

    def __init__(self, checks: Mapping[str, Check]) -> None:
        self._checks = checks

    async def answer(self, request: web.Request) -> web.Response:
        results = {name: check() for name, check in self._checks.items()}
        failing = {name: problem for name, problem in results.items() if problem is not None}
        is_verbose = "verbose" in request.query
        if not failing and not is_verbose:
            return web.Response(text="ok")
        lines = [
            f"[+]{name} ok" if problem is None else f"[-]{name}: {problem}"
            for name, problem in (results if is_verbose else failing).items()
        ]
        lines.append(f"{request.path[1:]} check {'failed' if failing else 'passed'}")
        return web.Response(status=503 if failing else 200, text="\n".join([*lines, ""]))


class _Scrapes:
    """Answers scrapes one after the other, however many come at once."""

    def __init__(self, metrics: Collector) -> None:
        self._metrics = metrics
        self._turn = asyncio.Lock()

    async def answer(self, request: web.Request) -> web.Response:
        accept = ",".join(request.headers.getall(hdrs.ACCEPT, []))
        async with self._turn:
            snapshot = self._metrics.collect()
            # Series of thousands of sessions take longer to make than the loop has time for.
            body, content_type = await asyncio.to_thread(snapshot.render, accept)
        return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})
