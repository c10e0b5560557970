"""Requests to the API server: JSON in, JSON out, and a limit on every wait.

What goes wrong comes out as one of two errors: the API server answered and said no, or there was no
answer. Nothing is retried here, except once with credentials that have just been read again.
"""

import asyncio
import copy
import json
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import aiohttp

from springline.core import backoff
from springline.errors import SpringlineError
from springline.kube.access import Access, AccessError
from springline.kube.kubernetes_client import ConfigException
from springline.kube.transport import Transport

__all__ = [
    "METADATA",
    "SILENCE_SECONDS",
    "WATCH_SECONDS",
    "Client",
    "RefusedError",
    "RequestError",
    "UnreachableError",
    "document_of",
    "watch_seconds",
]

T = TypeVar("T")
_Items = list[dict[str, Any]]

METADATA: Final = "application/json;as=PartialObjectMetadata{list};g=meta.k8s.io;v=v1"

_REQUEST_SECONDS = 20.0
_CONNECT_SECONDS = 10.0

WATCH_SECONDS = 60.0
"""How long a watch is asked to last, about.

That it ends in time is the only sign of life where nothing happens: an API server sends bookmarks
only while its etcd says how far it is, which by default is every ten minutes.
"""
_WATCH_JITTER = 0.2
"""So that the watches of many replicas do not end together for ever."""

SILENCE_SECONDS = 90.0
"""After which a watch counts as dead: longer than any is asked to last."""

_EARLY_SECONDS = 5.0
"""How much sooner than asked for a watch may end: clocks differ."""

_CONCURRENT = 24
"""Requests that are on their way at once; watches come on top and last."""

_SETTLING_SECONDS = 30.0
"""An API server that has just started does not know yet who may do what, and forbids everything."""

_PAGE = 500
"""Objects a page; a list of many is not to be one answer."""

_SHOWN_BYTES = 200
"""Of an answer that is no `Status`."""

_NOT_MODIFIED = 304
_UNAUTHORIZED = 401
_FORBIDDEN = 403
_NOT_FOUND = 404
_TOO_MANY_REQUESTS = 429
_FIRST_ERROR = 400
_FIRST_SERVER_ERROR = 500

_TOO_LARGE = 413
_TOO_LARGE_TEXTS = ("etcdserver: request is too large", "trying to send message larger than max")
"""What the API server passes on, with code 500, of an etcd that does not take an object."""

_TERMINATING = "NamespaceTerminating"
"""A cause of a refusal, by the API server's admission of namespaces."""


def watch_seconds(rng: Random) -> int:
    """Return how long the next watch is to last."""
    return int(backoff.jittered(WATCH_SECONDS, jitter=_WATCH_JITTER, rng=rng))


class RequestError(SpringlineError):
    """A request to the API server did not succeed."""


class UnreachableError(RequestError):
    """There was no answer: no connection, no trust, or not in time."""

    def __init__(self, message: str, *, refusal: "RefusedError | None" = None) -> None:
        super().__init__(message)
        self.message = message
        self.refusal = refusal
        """The answer that does not count as one, because it may be that of a start."""

    def __str__(self) -> str:
        return f"the API server cannot be reached: {self.message}"


class RefusedError(RequestError):
    """The API server answered and did not do it."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        retry_after: float | None = None,
        causes: Collection[str] = (),
    ) -> None:
        super().__init__(code, reason, message)
        self.code = code
        self.reason = reason
        self.message = message
        self.retry_after = retry_after
        """Seconds that the API server asks to wait."""
        self.causes = frozenset(causes)
        """What it says more of the reason, one word each."""

    @property
    def may_pass(self) -> bool:
        """Whether the same request may succeed later without anybody's doing."""
        if self.is_too_large:
            return False
        return self.code in (_UNAUTHORIZED, _TOO_MANY_REQUESTS) or self.code >= _FIRST_SERVER_ERROR

    @property
    def is_too_large(self) -> bool:
        """Whether the object would be larger than can be stored."""
        return self.code == _TOO_LARGE or any(text in self.message for text in _TOO_LARGE_TEXTS)

    @property
    def is_denial(self) -> bool:
        """Whether it is about who we are and what we may do."""
        return self.code in (_UNAUTHORIZED, _FORBIDDEN)

    @property
    def is_unknown(self) -> bool:
        """Whether it does not know who we are."""
        return self.code == _UNAUTHORIZED

    @property
    def is_absence(self) -> bool:
        """Whether there is no such object; a 404 alone may be that of a proxy."""
        return self.code == _NOT_FOUND and self.reason == "NotFound"

    @property
    def is_of_ending_namespace(self) -> bool:
        """Whether nothing can be created because the namespace is being deleted."""
        return self.code == _FORBIDDEN and _TERMINATING in self.causes

    def __str__(self) -> str:
        return f"the API server answered {self.code} {self.reason}: {self.message}"


@dataclass(slots=True)
class _Settling:
    """Whether the API server has just been away."""

    until: float = float("-inf")
    """By the event loop's clock; until then it counts as an outage that we are forbidden."""


class Client:
    """Talks to one API server. As an async context manager, it is closed at the end."""

    def __init__(self, access: Access) -> None:
        """`access` has been loaded."""
        self._access = access
        self._transport = Transport(access)
        self._turns = asyncio.Semaphore(_CONCURRENT)
        self._settling = _Settling()

    def apart(self) -> Self:
        """Return this client with turns of its own: its requests wait behind no others.

        Both see an outage that one of them has noticed. Close only the original.
        """
        other = copy.copy(self)
        other._turns = asyncio.Semaphore(_CONCURRENT)  # noqa: SLF001 - it is of this class
        return other

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._transport.close()

    async def get(
        self, path: str, *, accept: str = "application/json", **params: str
    ) -> dict[str, Any]:
        """Return the object at `path`. Raises `RequestError`."""
        return await self._request("GET", path, params=params, accept=accept)

    async def get_unless(self, path: str, tag: str) -> tuple[dict[str, Any] | None, str]:
        """Return what is at `path`, and the tag of its content; None if it still has that tag.

        An empty tag is none; where the API server gives none, everything is returned each time.
        Raises `RequestError`.
        """

        async def asked() -> tuple[bytes | None, str]:
            known = {"If-None-Match": tag} if tag else {}
            response = await self._send("GET", path, params={}, headers=known)
            text = bytes(await response.read())
            if response.status == _NOT_MODIFIED:
                return None, tag
            return text, response.headers.get("Etag") or ""

        async with self._turns:
            text, now = await self._answered(asked(), seconds=_REQUEST_SECONDS)
        return None if text is None else document_of(text), now

    async def list_metadata(self, path: str, **params: str) -> tuple[list[dict[str, Any]], str]:
        """Return the metadata of all objects at `path`, and the version of the list.

        The list is as new as the request. Raises `RequestError`.
        """
        return await self.list(path, accept=METADATA.format(list="List"), **params)

    async def tail(self, path: str, *, most: int, seconds: float, **params: str) -> str:
        """Return the end of the text at `path`, at most so many bytes of it.

        Raises `RequestError`, also if it has not come within so many seconds.
        """

        async def asked() -> bytes:
            end = bytearray()
            response = await self._send("GET", path, params=params, accept="*/*")
            async for chunk in response.content.iter_any():
                end += chunk
                del end[:-most]
            return bytes(end)

        async with self._turns:
            text = await self._answered(asked(), seconds=seconds)
        return text.decode(errors="replace")

    async def list(
        self, path: str, *, accept: str = "application/json", **params: str
    ) -> tuple[list[dict[str, Any]], str]:
        """Return all objects at `path`, and the version of the list. Raises `RequestError`."""
        items, version, _ = await self._listed(path, params, accept=accept)
        return items, version

    async def some(self, path: str, *, most: int, **params: str) -> tuple[_Items, bool]:
        """Return the first objects at `path`, and whether these are all. Raises `RequestError`."""
        items, _, is_all = await self._listed(path, params, accept="application/json", most=most)
        return items[:most], is_all and len(items) <= most

    async def _listed(
        self, path: str, params: Mapping[str, str], *, accept: str, most: int | None = None
    ) -> tuple[_Items, str, bool]:
        items: _Items = []
        page = {"limit": str(_PAGE)}
        while True:
            answer = await self._request("GET", path, params={**params, **page}, accept=accept)
            metadata = _mapping(answer.get("metadata"))
            version, more = metadata.get("resourceVersion"), metadata.get("continue")
            if not version:
                # Something else must not be taken for a list in which everything is missing.
                raise UnreachableError("the answer is no list; is this an API server?")
            items += [item for item in answer.get("items") or () if isinstance(item, dict)]
            if not more or (most is not None and len(items) >= most):
                return items, str(version), not more
            page["continue"] = str(more)

    async def create(self, path: str, document: Mapping[str, Any], **params: str) -> dict[str, Any]:
        """Create what `document` says in the collection or subresource at `path`, and return it.

        Raises `RequestError`; after `UnreachableError` it may have been created.
        """
        return await self._request("POST", path, params=params, body=document)

    async def update(self, path: str, document: Mapping[str, Any], **params: str) -> dict[str, Any]:
        """Replace the object at `path` by what `document` says, and return it.

        With a `resourceVersion` in it, only if it still is that version. Raises `RequestError`;
        after `UnreachableError` it may have been replaced.
        """
        return await self._request("PUT", path, params=params, body=document)

    async def delete(self, path: str, *, uid: str, version: str) -> None:
        """Delete the object at `path`, if it still is this one in this version.

        Raises `RequestError`; after `UnreachableError` it may have been deleted.
        """
        options = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "preconditions": {"uid": uid, "resourceVersion": version},
        }
        await self._request("DELETE", path, params={}, body=options)

    async def apply(self, path: str, body: bytes, *, manager: str) -> bytes:
        """Server-side apply `body`, a document in JSON, at `path`, and return the answer.

        Fields that another manager has set are taken over. Raises `RequestError`. The answer is
        not parsed, because most callers need little of it.
        """
        return await self._round_trip(
            "PATCH",
            path,
            params={"fieldManager": manager, "force": "true"},
            body=body,
            content_type="application/apply-patch+yaml",
        )

    async def merge(self, path: str, change: Mapping[str, Any], *, manager: str) -> dict[str, Any]:
        """Merge `change` into the object at `path`, which has to be there, and return it.

        Raises `RequestError`; after `UnreachableError` it may have been changed.
        """
        return await self._request(
            "PATCH",
            path,
            params={"fieldManager": manager},
            body=change,
            content_type="application/merge-patch+json",
        )

    async def watch(
        self,
        path: str,
        *,
        since: str,
        seconds: int,
        accept: str = METADATA.format(list=""),
        on_begin: Callable[[], None] = lambda: None,
        **params: str,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Yield what happens to the objects at `path` after the version `since`.

        It tells of their metadata, unless `accept` asks for more. `on_begin` is called when the API
        server has taken the request. Ends after about `seconds`, or when the API server ends it.
        Raises `RequestError`, also for an error that comes in the stream, such as 410 for a version
        that is too old. Close it to give the connection back.
        """
        query = {
            **params,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": since,
            "timeoutSeconds": str(seconds),
        }
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=_CONNECT_SECONDS, sock_read=SILENCE_SECONDS
        )
        began = asyncio.get_running_loop().time()
        response = await self._answered(
            self._send("GET", path, params=query, accept=accept, timeout=timeout),
            seconds=_REQUEST_SECONDS,
        )
        try:
            on_begin()
            # The connection has a limit of its own: that of silence.
            while line := await self._answered(response.content.readline(), seconds=None):
                event = document_of(line)
                if event.get("type") == "ERROR":
                    raise _refused(event.get("object"))
                yield event
            if asyncio.get_running_loop().time() < began + seconds - _EARLY_SECONDS:
                self._unsettled()  # ended before its time, as by an API server that is stopped
        finally:
            response.close()

    async def _request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> dict[str, Any]:
        text = await self._round_trip(
            method,
            path,
            params=params,
            body=_encoded(body) if body is not None else None,
            accept=accept,
            content_type=content_type,
        )
        return document_of(text)

    async def _round_trip(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        body: bytes | None = None,
        accept: str = "application/json",
        content_type: str = "application/json",
    ) -> bytes:
        """Send a request and return the whole answer."""

        async def asked() -> bytes:
            response = await self._send(
                method, path, params=params, body=body, accept=accept, content_type=content_type
            )
            return await response.read()

        async with self._turns:
            return await self._answered(asked(), seconds=_REQUEST_SECONDS)

    async def _answered(self, awaitable: Awaitable[T], *, seconds: float | None) -> T:
        """Return what comes of a call within so many seconds. Raises `RequestError`."""
        try:
            return await _translated(awaitable, seconds=seconds)
        except UnreachableError:
            self._unsettled()
            raise
        except RefusedError as error:
            if error.code != _FORBIDDEN or self._settling.until < asyncio.get_running_loop().time():
                raise
            message = f"it has just been away, and it says {error}"
            raise UnreachableError(message, refusal=error) from error

    def _unsettled(self) -> None:
        self._settling.until = asyncio.get_running_loop().time() + _SETTLING_SECONDS

    async def _send(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str],
        accept: str = "application/json",
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        content_type: str = "application/json",
        timeout: aiohttp.ClientTimeout | None = None,
    ) -> aiohttp.ClientResponse:
        """Send a request and return its answer once the head has come."""
        for is_last in (False, True):
            renewals = self._access.renewals
            response = await self._transport.send(
                method,
                path,
                params=params,
                headers={"Accept": accept, "Content-Type": content_type, **(headers or {})},
                body=body,
                timeout=timeout,
            )
            if response.status < _FIRST_ERROR:
                return response
            error = _error_of(response, await response.read())
            if error.code != _UNAUTHORIZED or is_last:
                raise error
            await self._access.renew(seen=renewals)
        raise AssertionError("the last round returns or raises")


async def _translated(awaitable: Awaitable[T], *, seconds: float | None) -> T:
    """Return what comes of a call within so many seconds.

    What the libraries raise for an API server that does not answer becomes `UnreachableError`.
    """
    try:
        async with asyncio.timeout(seconds):
            return await awaitable
    except TimeoutError:
        message = "no answer in time"
    except (aiohttp.ClientError, OSError, AccessError, ConfigException, ValueError) as error:
        # ValueError: a header or a line that cannot be one.
        message = _in_words(error)
    # Outside of `except`: the repr of an error of aiohttp may show the request with its token.
    raise UnreachableError(message)


def _in_words(error: Exception) -> str:
    """Say why there is no connection; how the library has it, nobody reads gladly."""
    match error:
        case aiohttp.ClientConnectorCertificateError():
            problem = error.certificate_error
            return f"the certificate of {error.host}:{error.port} is not trusted: {problem}"
        case aiohttp.ClientConnectorDNSError():
            return f"the name {error.host} is not found"
        case aiohttp.ClientConnectorError() if error.os_error.errno:
            why = os.strerror(error.os_error.errno).lower()
            return f"{error.host}:{error.port}: {why}"
        case aiohttp.ServerDisconnectedError():
            return "the connection was closed without an answer"
        case aiohttp.ClientResponseError():
            # Its text quotes what was read.
            return "the answer is no HTTP; is this an API server?"
        case _:
            return str(error) or type(error).__name__


def _encoded(document: Mapping[str, Any]) -> bytes:
    return json.dumps(document).encode()


def document_of(text: bytes) -> dict[str, Any]:
    """Return the JSON object that `text` is. Raises `UnreachableError`."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    # Outside of `except`: the error of a decoder holds the text, and so perhaps a Secret.
    if not isinstance(document, dict):
        raise UnreachableError("the answer is no JSON object; is this an API server?")
    return document


def _error_of(response: aiohttp.ClientResponse, text: bytes) -> RefusedError:
    """Make an error of an answer that is one."""
    retry_after = response.headers.get("Retry-After", "")
    try:
        status = document_of(text)
    except UnreachableError:
        # Not the API server itself, but something in front of it.
        status = {"message": text[:_SHOWN_BYTES].decode(errors="replace")}
    return _refused(
        {**status, "code": response.status},
        retry_after=float(retry_after) if retry_after.isascii() and retry_after.isdigit() else None,
    )


def _refused(status: Any, *, retry_after: float | None = None) -> RefusedError:
    """Make an error of a `Status` of the API."""
    status = _mapping(status)
    code, details = status.get("code"), _mapping(status.get("details"))
    causes = details.get("causes")
    return RefusedError(
        code if isinstance(code, int) else 0,
        str(status.get("reason") or ""),
        str(status.get("message") or ""),
        retry_after=retry_after,
        causes=[
            str(_mapping(each).get("reason", ""))
            for each in (causes if isinstance(causes, list) else ())
        ],
    )


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
