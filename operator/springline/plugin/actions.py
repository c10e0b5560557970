"""What can be asked of a connection, and waiting until it is done.

A request is a change of the object and nothing else, so it can be made by whoever may change it,
and the operator acts on it when it sees it, even if it is started only later.
"""

import asyncio
import contextlib
import enum
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, assert_never

from springline.kube.requests import Request
from springline.plugin.cluster import Cluster
from springline.plugin.connection import Connection
from springline.plugin.following import Changed, Deleted, Interrupted, Listed, News

__all__ = ["Action", "Order", "order", "until_done"]


class Action(enum.Enum):
    """A command that changes something. The value: what is printed of it."""

    RECONNECT = "reconnect requested"
    RENEW = "renewal requested"
    SUSPEND = "suspended"
    RESUME = "resumed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """An action, at a time."""

    action: Action
    change: Mapping[str, Any]
    """To be merged into the object."""
    is_handled: Callable[[Connection], bool]
    """Whether the status tells that it was acted on; how well is another question."""

    def is_done(self, connection: Connection, *, generation: int) -> bool:
        """Whether the connection is as was wanted, with this declaration or a later one."""
        if not self.is_handled(connection):
            return False
        if self.action is Action.SUSPEND:
            return connection.state == "Suspended" and _observed(connection) >= generation
        return connection.is_ready and connection.condition("Ready").generation >= generation


def order(action: Action, *, now: datetime) -> Order:
    """Return what has to be changed. Two requests within a millisecond are one."""
    match action:
        case Action.RECONNECT:
            return _request(action, Request.RECONNECT, now)
        case Action.RENEW:
            return _request(action, Request.RENEW, now)
        case Action.SUSPEND | Action.RESUME:
            change = {"spec": {"suspend": action is Action.SUSPEND}}
            return Order(action=action, change=change, is_handled=_is_observed)
        case _:
            assert_never(action)


def _is_observed(connection: Connection) -> bool:
    return _observed(connection) >= connection.generation


def _observed(connection: Connection) -> int:
    return connection.number("status", "observedGeneration")


def _request(action: Action, request: Request, now: datetime) -> Order:
    value = now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return Order(
        action=action,
        change={"metadata": {"annotations": {request.annotation: value}}},
        is_handled=lambda connection: (
            connection.get("status", "lastHandled", request.field) == value
        ),
    )


async def until_done(
    cluster: Cluster, wanted: Order, changed: Sequence[Connection], *, limit: float
) -> AsyncIterator[tuple[Connection, str]]:
    """Yield each connection when it is done, with an empty text, or with what keeps it from that.

    `changed` is what the API server answered to the changes. Nobody is waited for longer than
    `limit` seconds. Raises `PluginError`.
    """
    waiting = {_key(each): each for each in changed}
    if wanted.action in (Action.RECONNECT, Action.RENEW):
        for key in [key for key, each in waiting.items() if each.is_suspended]:
            yield waiting.pop(key), "it is suspended, and will not be Ready until it is resumed"
    generations = {key: each.generation for key, each in waiting.items()}
    with contextlib.suppress(TimeoutError):
        async with contextlib.aclosing(_within(cluster, waiting, limit)) as all_news:
            async for news in all_news:
                for connection, is_gone in _told(news, waiting):
                    key = _key(connection)
                    if is_gone:
                        yield waiting.pop(key), "it was deleted"
                        continue
                    waiting[key] = connection
                    if wanted.is_done(connection, generation=generations[key]):
                        yield waiting.pop(key), ""
                if not waiting:
                    return
    for connection in waiting.values():
        yield connection, _why_not(wanted, connection, limit)


async def _within(
    cluster: Cluster, waiting: Mapping[tuple[str, str], Connection], limit: float
) -> AsyncGenerator[News, None]:
    """Yield the news of those who are waited for. Raises `TimeoutError` at the end of the time."""
    if not waiting:
        return
    deadline = asyncio.get_running_loop().time() + limit
    name = next(iter(waiting))[1] if len(waiting) == 1 else ""
    async with contextlib.aclosing(cluster.follow(name=name)) as news:
        while True:
            async with asyncio.timeout_at(deadline):
                each = await anext(news)
            yield each


def _told(
    news: News, waiting: Mapping[tuple[str, str], Connection]
) -> list[tuple[Connection, bool]]:
    """Return the connections that the news is about, and whether each is gone."""
    match news:
        case Listed(documents):
            there = {_key(each): each for each in map(Connection, documents)}
            return [
                (there[key], False) if key in there else (before, True)
                for key, before in waiting.items()
            ]
        case Changed(document):
            about, is_gone = Connection(document), False
        case Deleted(document):
            about, is_gone = Connection(document), True
        case Interrupted():
            return []
        case _:
            assert_never(news)
    return [(about, is_gone)] if _key(about) in waiting else []


def _why_not(wanted: Order, connection: Connection, limit: float) -> str:
    ready = connection.readiness
    if not wanted.is_handled(connection):
        return f"not acted on within {limit:g} s; does the operator run, and look here?"
    what = "Suspended" if wanted.action is Action.SUSPEND else "Ready"
    why = f": {ready.reason}: {ready.message}" if ready.reason else ""
    return f"not {what} within {limit:g} s{why}"


def _key(connection: Connection) -> tuple[str, str]:
    return connection.namespace, connection.name
