"""What the hypercorn of the tests answers: a small ASGI application.

| path | answer |
|---|---|
| `/` | 200, a JSON object with the method and the version of HTTP |
| `/echo` | 200, the request's own content |
| `/large/OCTETS` | 200, so many zeros |
| `/slow/MILLISECONDS` | 200, so late |
| `/held/NAME` | 200, but not before `/release/NAME` was asked for, in whatever order |
| `/status/CODE` | that status; with `?retry_after=…` in the query, it is the Retry-After |
| `/private` | 200 if the Authorization is a line of the file that `PRIVATE` names, else 401; |
| | then a token is said to be an `invalid_token` |
| `/breaks` | 200 and half of its content, then the application fails: over HTTP/1.1 the |
| | connection is closed, over HTTP/2 the stream never ends |
| `/seen` | 200, a JSON array of the requests so far, such as `POST /echo`, but for these |
| anything else | 404 |
"""

import asyncio
import json
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

__all__ = ["HALF", "PRIVATE", "application"]

PRIVATE = "HTTP_APP_PRIVATE"
"""Of the environment."""

HALF = b"half of it"
"""What `/breaks` sends."""

_PIECE = 64 * 1024

_seen: list[str] = []
_released: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


class _BrokenError(Exception):
    """The failure of `/breaks`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Request:
    """A request, and the way to answer it."""

    scope: Mapping[str, Any]
    # What follows the first part of the path.
    argument: str
    receive: Callable[[], Awaitable[dict[str, Any]]]
    send: Callable[[dict[str, Any]], Awaitable[None]]

    async def content(self) -> bytes:
        """Return what it brings."""
        content = bytearray()
        while True:
            message = await self.receive()
            content += message.get("body", b"")
            if not message.get("more_body", False):
                return bytes(content)

    def header(self, name: bytes) -> bytes:
        """Return the first value of a field; empty without one."""
        return next((value for each, value in self.scope["headers"] if each == name), b"")

    async def begin(
        self, length: int, *, status: int = 200, retry_after: str = "", challenge: str = ""
    ) -> None:
        """Send the head of the answer."""
        headers = [(b"content-length", str(length).encode())]
        if retry_after:
            headers.append((b"retry-after", retry_after.encode()))
        if challenge:
            headers.append((b"www-authenticate", challenge.encode()))
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def go_on(self, piece: bytes, *, ends: bool = False) -> None:
        """Send a part of the content, the last one where it ends."""
        await self.send({"type": "http.response.body", "body": piece, "more_body": not ends})

    async def answer(
        self,
        content: bytes = b"",
        *,
        status: int = 200,
        retry_after: str = "",
        challenge: str = "",
    ) -> None:
        """Send a whole answer."""
        await self.begin(len(content), status=status, retry_after=retry_after, challenge=challenge)
        await self.go_on(content, ends=True)


async def _about(request: _Request) -> None:
    about = {"method": request.scope["method"], "version": request.scope["http_version"]}
    await request.answer(json.dumps(about).encode())


async def _echo(request: _Request) -> None:
    await request.answer(await request.content())


async def _large(request: _Request) -> None:
    left = int(request.argument)
    await request.begin(left)
    while left > 0:
        piece = min(left, _PIECE)
        left -= piece
        await request.go_on(bytes(piece), ends=left == 0)


async def _slow(request: _Request) -> None:
    await asyncio.sleep(int(request.argument) / 1000)
    await request.answer()


async def _held(request: _Request) -> None:
    await _released[request.argument].wait()
    await request.answer()


async def _release(request: _Request) -> None:
    _released[request.argument].set()
    await request.answer()


async def _status(request: _Request) -> None:
    query = parse_qs(request.scope["query_string"].decode())
    [retry_after] = query.get("retry_after", [""])
    await request.answer(status=int(request.argument), retry_after=retry_after)


def _let_in() -> list[bytes]:
    return Path(os.environ[PRIVATE]).read_bytes().splitlines()


async def _private(request: _Request) -> None:
    shown = request.header(b"authorization")
    if shown and shown in _let_in():
        await request.answer()
        return
    challenge = 'Basic realm="tests", Bearer realm="tests"'
    if shown.startswith(b"Bearer "):
        challenge = f'{challenge}, error="invalid_token"'
    await request.answer(status=401, challenge=challenge)


async def _breaks(request: _Request) -> None:
    await request.begin(len(HALF) * 2)
    await request.go_on(HALF)
    raise _BrokenError


async def _tell_seen(request: _Request) -> None:
    await request.answer(json.dumps(_seen).encode())


_HANDLERS: Mapping[str, Callable[[_Request], Awaitable[None]]] = {
    "": _about,
    "echo": _echo,
    "large": _large,
    "slow": _slow,
    "held": _held,
    "release": _release,
    "status": _status,
    "private": _private,
    "breaks": _breaks,
    "seen": _tell_seen,
}


async def application(
    scope: Mapping[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        # hypercorn goes on without what it calls the lifespan.
        raise ValueError(scope["type"])
    what, _, argument = scope["path"].lstrip("/").partition("/")
    if what != "seen":
        _seen.append(f"{scope['method']} {scope['path']}")
    request = _Request(scope=scope, argument=argument, receive=receive, send=send)
    if what in _HANDLERS:
        await _HANDLERS[what](request)
    else:
        await request.answer(status=404)
