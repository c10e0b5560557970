"""The API server as a measurement uses it: many writes at once, and a watch on what is shown.

What the operator does with the API server is its own business; this knows only the objects.
"""

import asyncio
import contextlib
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from bench.children import MeasurementFailed

__all__ = ["API", "GROUP", "Access", "Shown", "at_once", "connected"]

GROUP = "/apis/springline.dev/v1alpha1"
_AT_ONCE = 24
"""Writes on their way, as Springline has them."""
_FIRST_ERROR = 400
_DELETED_SECONDS = 60.0
_POLL_SECONDS = 0.2

Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Where the API server is, and as whom to talk to it."""

    url: str
    # Of the authority that its certificate is from.
    certificate: str
    token: str


@contextlib.asynccontextmanager
async def connected(access: Access, namespace: str) -> AsyncIterator["API"]:
    """Talk to an API server about one namespace."""
    connector = aiohttp.TCPConnector(
        ssl=ssl.create_default_context(cafile=access.certificate), limit=_AT_ONCE + 2
    )
    headers = {"Authorization": f"Bearer {access.token}"}
    async with aiohttp.ClientSession(access.url, connector=connector, headers=headers) as session:
        yield API(session, namespace)


class API:
    """One namespace of an API server."""

    def __init__(self, session: aiohttp.ClientSession, namespace: str) -> None:
        self.namespace = namespace
        self._session = session
        self._limit = asyncio.Semaphore(_AT_ONCE)

    async def apply(self, path: str, document: Document, *, manager: str = "bench") -> Any:
        """Server-side apply, and return the object."""
        headers = {"Content-Type": "application/apply-patch+yaml"}
        query = f"?fieldManager={manager}&force=true"
        async with (
            self._limit,
            self._session.patch(path + query, data=json.dumps(document), headers=headers) as answer,
        ):
            content = await answer.json()
        if answer.status >= _FIRST_ERROR:
            raise MeasurementFailed(f"{path}: {content.get('message')}")
        return content

    async def put(self, plural: str, document: Document) -> Any:
        """Apply an object of the namespace, and return it."""
        return await self.apply(self.path(plural, document["metadata"]["name"]), document)

    async def create_namespace(self) -> None:
        """Make the namespace."""
        metadata = {"name": self.namespace}
        document = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        await self.apply(f"/api/v1/namespaces/{self.namespace}", document)

    async def delete_all(self, plural: str) -> None:
        """Delete all objects of a kind, and return when they are gone."""
        async with self._session.delete(self.path(plural)) as answer:
            await answer.read()
        async with asyncio.timeout(_DELETED_SECONDS):
            while (await self._list(plural, limit=1))["items"]:
                await asyncio.sleep(_POLL_SECONDS)

    async def _list(self, plural: str, *, limit: int) -> Any:
        async with self._session.get(self.path(plural), params={"limit": limit}) as answer:
            return await answer.json()

    def path(self, plural: str, name: str = "") -> str:
        """Return where objects of the namespace are."""
        base = "/api/v1" if plural in ("secrets", "events") else GROUP
        path = f"{base}/namespaces/{self.namespace}/{plural}"
        return f"{path}/{name}" if name else path

    @contextlib.asynccontextmanager
    async def shown(self, plural: str) -> AsyncIterator["Shown"]:
        """Watch the objects of a kind; there must be none yet."""
        shown = Shown((await self._list(plural, limit=1))["metadata"]["resourceVersion"])
        following = asyncio.ensure_future(self._follow(plural, shown))
        following.add_done_callback(lambda _: shown.end())
        try:
            yield shown
        finally:
            following.cancel()

    async def _follow(self, plural: str, shown: "Shown") -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        while True:  # the API server ends a watch when it sees fit
            params = {"watch": "true", "resourceVersion": shown.version}
            async with self._session.get(self.path(plural), params=params, timeout=timeout) as news:
                while line := await news.content.readline():
                    shown.take_in(json.loads(line))


class Shown:
    """The status of every object, as a watch tells it."""

    def __init__(self, version: str) -> None:
        self.version = version
        """Of the list, what was taken in last."""
        self._statuses: dict[str, dict[str, Any]] = {}
        self._news: set[str] = set()
        self._has_news = asyncio.Event()
        self._ended = False

    def take_in(self, event: dict[str, Any]) -> None:
        """Take in what happened to an object. Raises `MeasurementFailed` for an error."""
        if event["type"] == "ERROR":
            raise MeasurementFailed(f"the watch was refused: {event['object'].get('message')}")
        metadata = event["object"]["metadata"]
        name, self.version = metadata["name"], metadata["resourceVersion"]
        if event["type"] == "DELETED":
            self._statuses.pop(name, None)
            self._news.discard(name)
            return
        self._statuses[name] = event["object"].get("status", {})
        self._news.add(name)
        self._has_news.set()

    def end(self) -> None:
        """Take in that nothing will be shown any more."""
        self._ended = True
        self._has_news.set()

    async def until_all(
        self, count: int, is_so: Callable[[dict[str, Any]], bool], what: str, *, seconds: float
    ) -> float:
        """Wait until so many are shown and all of them so; return when, by `time.time()`.

        Raises `MeasurementFailed` after `seconds`.
        """
        others = set(self._statuses)
        self._news |= others
        at = time.time()
        try:
            async with asyncio.timeout(seconds):
                while len(self._statuses) < count or others:
                    await self._has_news.wait()
                    if self._ended:
                        raise MeasurementFailed("the watch ended")
                    self._has_news.clear()
                    at = time.time()
                    for name in self._news:
                        (others.discard if is_so(self._statuses[name]) else others.add)(name)
                    self._news.clear()
        except TimeoutError:
            raise MeasurementFailed(
                f"after {seconds:g} s {len(others)} of {count} were not yet {what}"
            ) from None
        return at


async def at_once(calls: Iterable[Awaitable[Any]]) -> None:
    """Wait for all of them; the first that fails ends the others."""

    async def one(call: Awaitable[Any]) -> None:
        await call

    try:
        async with asyncio.TaskGroup() as tasks:
            for call in calls:
                tasks.create_task(one(call))
    except* MeasurementFailed as failed:
        raise failed.exceptions[0] from None
