"""What the hypercorn of the tests answers: a small ASGI application.

| path | answer |
|---|---|
| `/` | 200, a JSON object with the method and the version of HTTP |
| `/echo` | 200, the request's own content |
| `/large/OCTETS` | 200, so many zeros |
| `/slow/MILLISECONDS` | 200, so late |
| `/held/NAME` | 200, but not before `/release/NAME` was asked for, in whatever order |
| `/status/CODE` | that status; with `?retry_after=…` in the query, it is the Retry-After |
| `/breaks` | 200 and half of its content; then the application fails |
| `/seen` | 200, a JSON array of the requests so far, such as `POST /echo`, but for these |
| anything else | 404 |
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

__all__ = ["HALF", "application"]

HALF = b"half of it"
"""What `/breaks` sends."""

_PIECE = 64 * 1024

_Scope = dict[str, Any]
_Receive = Callable[[], Awaitable[dict[str, Any]]]
_Send = Callable[[dict[str, Any]], Awaitable[None]]

_seen: list[str] = []
_released: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


class _BrokenError(Exception):
    """The failure of `/breaks`."""


async def application(scope: _Scope, receive: _Receive, send: _Send) -> None:
    """Answer one request."""
    if scope["type"] != "http":
        # hypercorn goes on without what it calls the lifespan.
        raise ValueError(scope["type"])
    what, _, argument = scope["path"].lstrip("/").partition("/")
    if what != "seen":
        _seen.append(f"{scope['method']} {scope['path']}")
    match what:
        case "":
            about = {"method": scope["method"], "version": scope["http_version"]}
            await _answer(send, json.dumps(about).encode())
        case "echo":
            await _answer(send, await _content(receive))
        case "large":
            await _answer_large(send, int(argument))
        case "slow":
            await asyncio.sleep(int(argument) / 1000)
            await _answer(send)
        case "held":
            await _released[argument].wait()
            await _answer(send)
        case "release":
            _released[argument].set()
            await _answer(send)
        case "status":
            retry = parse_qs(scope["query_string"].decode()).get("retry_after", [])
            await _answer(send, status=int(argument), headers=[("retry-after", x) for x in retry])
        case "breaks":
            await _begin(send, len(HALF) * 2)
            await send({"type": "http.response.body", "body": HALF, "more_body": True})
            raise _BrokenError
        case "seen":
            await _answer(send, json.dumps(_seen).encode())
        case _:
            await _answer(send, status=404)


async def _content(receive: _Receive) -> bytes:
    content = b""
    while True:
        message = await receive()
        content += message.get("body", b"")
        if not message.get("more_body", False):
            return content


async def _begin(
    send: _Send, length: int, *, status: int = 200, headers: list[tuple[str, str]] | None = None
) -> None:
    pairs = [("content-length", str(length)), *(headers or [])]
    encoded = [(name.encode(), value.encode()) for name, value in pairs]
    await send({"type": "http.response.start", "status": status, "headers": encoded})


async def _answer(
    send: _Send,
    content: bytes = b"",
    *,
    status: int = 200,
    headers: list[tuple[str, str]] | None = None,
) -> None:
    await _begin(send, len(content), status=status, headers=headers)
    await send({"type": "http.response.body", "body": content})


async def _answer_large(send: _Send, length: int) -> None:
    await _begin(send, length)
    left = length
    while left > 0:
        piece = min(left, _PIECE)
        left -= piece
        await send({"type": "http.response.body", "body": bytes(piece), "more_body": left > 0})
