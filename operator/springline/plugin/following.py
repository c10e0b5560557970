"""List and watch of whole objects, for a person who looks on.

`kube.watching` does the same for a process that runs for months, by metadata alone. Here whoever
watches is told of every gap, and a first request that fails is the end.
"""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, assert_never

from springline.core import backoff
from springline.core.backoff import Retry
from springline.kube.client import Client, RefusedError, RequestError, watch_seconds

__all__ = ["Changed", "Deleted", "Interrupted", "Listed", "News", "follow", "only"]

_RETRY: Final = Retry(delay=1.0, max_delay=10.0, jitter=0.3)
_SPACING_SECONDS = 1.0
"""Between the starts of two watches: what ends at once must not become load."""
_GONE = 410


@dataclass(frozen=True, slots=True)
class Listed:
    """These are all objects that there are: at the start, and after each gap."""

    documents: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Changed:
    """An object appeared or changed."""

    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Deleted:
    """An object went, or is not selected any more."""

    document: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Interrupted:
    """Nothing is heard of now; `Listed` follows when that is over."""

    problem: str


News = Listed | Changed | Deleted | Interrupted


async def follow(client: Client, path: str, **params: str) -> AsyncGenerator[News, None]:
    """Yield what there is at a path and what becomes of it, until closed.

    Raises `RequestError` if the first request fails; later ones are made again.
    """
    rng = Random()  # noqa: S311 - it spreads retries
    loop = asyncio.get_running_loop()
    version, failures, has_listed = "", 0, False
    while True:
        started = loop.time()
        try:
            if not version:
                documents, version = await client.list(path, **params)
                has_listed = True
                yield Listed(documents)
            events = client.watch(
                path,
                since=version,
                seconds=watch_seconds(rng),
                accept="application/json",
                on_begin=lambda: None,
                **params,
            )
            async with contextlib.aclosing(events):
                async for event in events:
                    failures = 0
                    document = event.get("object")
                    if not isinstance(document, Mapping):
                        continue
                    version = _version(document) or version
                    if (news := _news(str(event.get("type", "")), document)) is not None:
                        yield news
            failures = 0
        except RequestError as error:
            if not has_listed:
                raise
            version = ""
            if not (isinstance(error, RefusedError) and error.code == _GONE):
                yield Interrupted(str(error))
            failures += 1
        delay = backoff.spaced_delay(_RETRY, failures=failures, rng=rng) if failures else 0.0
        spacing = started + _SPACING_SECONDS - loop.time()
        await asyncio.sleep(max(delay, spacing, 0.0))


async def only(
    news: AsyncGenerator[News, None], keys: Collection[tuple[str, str]]
) -> AsyncGenerator[News, None]:
    """Yield the news of these alone, each a namespace and a name; closes `news` at the end."""

    def is_meant(document: Mapping[str, Any]) -> bool:
        metadata = document.get("metadata")
        named = metadata if isinstance(metadata, Mapping) else {}
        return (named.get("namespace"), named.get("name")) in keys

    async with contextlib.aclosing(news):
        async for each in news:
            match each:
                case Listed(documents):
                    yield Listed([document for document in documents if is_meant(document)])
                case Changed(document) | Deleted(document):
                    if is_meant(document):
                        yield each
                case Interrupted():
                    yield each
                case _:
                    assert_never(each)


def _news(kind: str, document: Mapping[str, Any]) -> News | None:
    match kind:
        case "ADDED" | "MODIFIED":
            return Changed(document)
        case "DELETED":
            return Deleted(document)
        case _:
            return None  # a bookmark, which only says how far we are


def _version(document: Mapping[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("resourceVersion", "")) if isinstance(metadata, Mapping) else ""
