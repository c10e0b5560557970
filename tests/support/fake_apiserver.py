"""A small API server on loopback that a test can make fail: real HTTP, no validation.

It gets, lists and watches the objects that a test puts into it, of any resource, and does something
else instead where told to. What a real API server does is tested in tests/cluster.
"""

import asyncio
import contextlib
import json
import ssl
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from aiohttp import web

from springline.kube.access import Access
from springline.kube.client import Client
from support import ports
from support.ports import LOOPBACK

__all__ = [
    "Asked",
    "Deed",
    "FakeAPIServer",
    "answering",
    "client_of",
    "closing",
    "hanging",
    "kubeconfig",
    "refusing",
    "serving",
    "streaming",
]

Deed = Callable[[web.Request], Awaitable[web.StreamResponse]]
"""What the server does with a request."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    accept: str
    token: str
    body: str

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") == "true"


@dataclass(frozen=True, slots=True)
class _Change:
    """A step of the history of one resource."""

    version: int
    plural: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(eq=False, slots=True)
class _Watcher:
    request: web.Request
    plural: str
    namespace: str
    selector: str
    changes: asyncio.Queue[_Change | str | None] = field(default_factory=asyncio.Queue)
    """A change, a line to send as it is, or None for the end."""


class FakeAPIServer:
    """Serves objects. Every deviation is a `Deed`."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        """With `tls`, the server's side, it speaks nothing else."""
        self.port = port
        self._tls = tls
        self.asked: list[Asked] = []
        self.script: deque[Deed] = deque()
        """What is done with the next requests, one each."""
        self.instead: Callable[[Asked], Deed | None] = lambda _: None
        """What is done with a request in place of answering it."""
        self.token = ""
        """Whoever comes with another one is answered 401; empty lets everybody in."""
        self._objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self._history: list[_Change] = []
        self._version = 100
        self._oldest = 0
        self._watchers: set[_Watcher] = set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"{'http' if self._tls is None else 'https'}://{LOOPBACK}:{self.port}"

    def asked_for(self, path: str, *, watch: bool = False) -> list[Asked]:
        """Return the requests for a path so far, watches or others."""
        return [each for each in self.asked if each.path == path and each.is_watch is watch]

    # --- its life

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        # Whoever goes away is noticed; and nobody is waited for.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(
            self._runner, LOOPBACK, self.port, reuse_address=True, ssl_context=self._tls
        )
        await site.start()

    async def stop(self) -> None:
        """Close the port and every connection. Objects stay. Idempotent."""
        if (runner := self._runner) is not None:
            self._runner = None
            self.break_watches()
            await runner.cleanup()

    # --- its objects

    def put(
        self,
        plural: str,
        namespace: str,
        name: str,
        *,
        labels: Mapping[str, str] | None = None,
        **content: Any,
    ) -> str:
        """Create or replace an object, and return its version."""
        self._version += 1
        metadata = {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-{plural}-{namespace}-{name}",
            "resourceVersion": str(self._version),
            "labels": dict(labels or {}),
        }
        if not namespace:
            del metadata["namespace"]
        key = (plural, namespace, name)
        kinds = {"secrets": "Secret", "configmaps": "ConfigMap", "services": "Service"}
        after = {"kind": kinds.get(plural, ""), "apiVersion": "v1", "metadata": metadata, **content}
        self._change(_Change(self._version, plural, self._objects.get(key), after))
        self._objects[key] = after
        return str(self._version)

    def delete(self, plural: str, namespace: str, name: str) -> None:
        """Delete an object."""
        self._version += 1
        before = self._objects.pop((plural, namespace, name))
        self._change(_Change(self._version, plural, before, None))

    def forget_history(self) -> None:
        """Answer 410 for every version before this one, as after a compaction."""
        self._version += 1
        self._oldest = self._version

    # --- its watches

    @property
    def watching(self) -> int:
        """How many watches are open."""
        return len(self._watchers)

    def end_watches(self) -> None:
        """End every watch in order, as when its time is over."""
        self._tell(None)

    def break_watches(self) -> None:
        """Reset the connection of every watch."""
        for watcher in self._watchers:
            if watcher.request.transport is not None:
                watcher.request.transport.abort()

    def bookmark(self) -> None:
        """Say how far everybody is."""
        metadata = {"resourceVersion": str(self._version)}
        self._tell(_line("BOOKMARK", {"kind": "PartialObjectMetadata", "metadata": metadata}))

    def say(self, line: str) -> None:
        """Send a line to every watch."""
        self._tell(line)

    def _tell(self, what: str | None) -> None:
        for watcher in self._watchers:
            watcher.changes.put_nowait(what)

    def _change(self, change: _Change) -> None:
        self._history.append(change)
        for watcher in self._watchers:
            watcher.changes.put_nowait(change)

    # --- answering

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        asked = Asked(
            method=request.method,
            path=request.path,
            query=dict(request.query),
            accept=request.headers.get("Accept", ""),
            token=request.headers.get("Authorization", "").removeprefix("Bearer "),
            body=await request.text(),
        )
        self.asked.append(asked)
        deed = self.script.popleft() if self.script else self.instead(asked)
        if deed is not None:
            return await deed(request)
        if self.token and asked.token != self.token:
            return await refusing(401, "Unauthorized", "Unauthorized")(request)
        plural, namespace, name = _located(request.path)
        if name:
            return await self._get(request, (plural, namespace, name))
        if asked.is_watch:
            return await self._watch(request, plural, namespace, asked)
        return self._list(plural, namespace, asked)

    async def _get(self, request: web.Request, key: tuple[str, str, str]) -> web.StreamResponse:
        found = self._objects.get(key)
        if found is None:
            deed = refusing(404, "NotFound", f'{key[0]} "{key[2]}" not found')
            return await deed(request)
        return web.json_response(found)

    def _list(self, plural: str, namespace: str, asked: Asked) -> web.StreamResponse:
        found = [
            _shown(document, asked)
            for key, document in sorted(self._objects.items())
            if key[0] == plural
            and namespace in ("", key[1])
            and _selected(document, asked.query.get("labelSelector", ""))
        ]
        start = int(asked.query.get("continue", "0"))
        limit = int(asked.query.get("limit", "0")) or len(found)
        metadata = {"resourceVersion": str(self._version)}
        if start + limit < len(found):
            metadata["continue"] = str(start + limit)
        return web.json_response({"metadata": metadata, "items": found[start : start + limit]})

    async def _watch(
        self, request: web.Request, plural: str, namespace: str, asked: Asked
    ) -> web.StreamResponse:
        watcher = _Watcher(request, plural, namespace, asked.query.get("labelSelector", ""))
        since = int(asked.query["resourceVersion"])
        if since < self._oldest:
            watcher.changes.put_nowait(
                _line("ERROR", _status(410, "Expired", f"too old resource version: {since}"))
            )
            watcher.changes.put_nowait(None)
        for change in self._history:
            if change.version > since:
                watcher.changes.put_nowait(change)
        response = web.StreamResponse()
        await response.prepare(request)
        self._watchers.add(watcher)
        seconds = asked.query.get("timeoutSeconds")
        try:
            async with asyncio.timeout(float(seconds) if seconds else None):
                while (what := await watcher.changes.get()) is not None:
                    line = what if isinstance(what, str) else _event(what, watcher, asked)
                    if line:
                        await response.write(line.encode())
        except TimeoutError:
            pass  # so a watch ends in order
        finally:
            self._watchers.discard(watcher)
        return response


# --- deeds


def answering(body: object, *, status: int = 200, headers: Mapping[str, str] | None = None) -> Deed:
    """Answer a body: text as it is, anything else as JSON."""

    async def deed(_: web.Request) -> web.StreamResponse:
        text = body if isinstance(body, str) else json.dumps(body)
        return web.Response(status=status, text=text, headers=headers)

    return deed


def refusing(code: int, reason: str, message: str, *, retry_after: str = "") -> Deed:
    """Answer the `Status` of an error."""
    headers = {"Retry-After": retry_after} if retry_after else {}
    return answering(_status(code, reason, message), status=code, headers=headers)


def streaming(*lines: str) -> Deed:
    """Answer lines and then nothing more, without an end."""

    async def deed(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for line in lines:
            await response.write(line.encode())
        await asyncio.Event().wait()
        return response

    return deed


async def hanging(_: web.Request) -> web.StreamResponse:
    """Never answer."""
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


async def closing(request: web.Request) -> web.StreamResponse:
    """Drop the connection without an answer."""
    assert request.transport is not None
    request.transport.abort()
    await asyncio.Event().wait()
    raise AssertionError("nobody sets it")


# --- reaching it


def kubeconfig(
    server: FakeAPIServer,
    directory: Path,
    /,
    *,
    token: str = "",
    user: Mapping[str, object] | None = None,
    **cluster: object,
) -> Path:
    """Write a kubeconfig for the server, in the same place every time.

    `user` and `cluster` are more for its sections of these names, `_` in a key being `-`.
    """
    path = directory / "kubeconfig"
    user = {**({"token": token} if token else {}), **(user or {})}
    more = {key.replace("_", "-"): value for key, value in cluster.items()}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "fake", "cluster": {"server": server.url, **more}}],
        "users": [{"name": "fake", "user": user}],
        "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
        "current-context": "fake",
    }
    path.write_text(yaml.safe_dump(document))
    return path


@contextlib.asynccontextmanager
async def client_of(
    server: FakeAPIServer, directory: Path, *, token: str = "planted-token"
) -> AsyncIterator[Client]:
    """Return a client that has been pointed at the server."""
    access = Access(kubeconfig=str(kubeconfig(server, directory, token=token)))
    await access.load()
    async with Client(access) as client:
        yield client


@contextlib.asynccontextmanager
async def serving(*, tls: ssl.SSLContext | None = None) -> AsyncIterator[FakeAPIServer]:
    """Serve on a port of our own."""
    lease = ports.lease(1)
    server = FakeAPIServer(lease.ports[0], tls=tls)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
        lease.release()


# --- what it shows


def _located(path: str) -> tuple[str, str, str]:
    """Return plural, namespace and name of what a path means; the latter may be empty."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    namespace = ""
    if parts[0] == "namespaces" and len(parts) > 2:
        namespace, parts = parts[1], parts[2:]
    return parts[0], namespace, parts[1] if len(parts) > 1 else ""


def _selected(document: Mapping[str, Any] | None, selector: str) -> bool:
    if document is None:
        return False
    if not selector:
        return True
    key, _, value = selector.partition("=")
    return bool(document["metadata"]["labels"].get(key) == value)


def _shown(document: dict[str, Any], asked: Asked) -> dict[str, Any]:
    if "PartialObjectMetadata" not in asked.accept:
        return document
    return {"kind": "PartialObjectMetadata", "metadata": document["metadata"]}


def _event(change: _Change, watcher: _Watcher, asked: Asked) -> str:
    """Return how a watcher sees a change; empty if it does not."""
    document = change.after or change.before
    assert document is not None
    if change.plural != watcher.plural:
        return ""
    if watcher.namespace not in ("", document["metadata"].get("namespace")):
        return ""
    was, now = (_selected(each, watcher.selector) for each in (change.before, change.after))
    kind = {(False, True): "ADDED", (True, True): "MODIFIED", (True, False): "DELETED"}.get(
        (was, now)
    )
    if kind is None:
        return ""
    shown = _shown(document, asked)
    metadata = {**shown["metadata"], "resourceVersion": str(change.version)}
    return _line(kind, {**shown, "metadata": metadata})


def _line(kind: str, document: Mapping[str, Any]) -> str:
    """Return an event as an API server writes it, with fields in the order of their names."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"))
    return f'{{"type":"{kind}","object":{text}}}\n'


def _status(code: int, reason: str, message: str) -> dict[str, Any]:
    return {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "code": code,
        "reason": reason,
        "message": message,
    }
