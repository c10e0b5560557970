"""kopf as one part of a process among others: it runs by its tasks, and ends without a trace.

Its own runner ends every task of the process that it does not know. Its tasks alone leave some of
theirs behind when one fails: watches, and requests of an unfinished discovery. So those are looked
for here, by whose code they run.
"""

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Callable,
    Collection,
    Mapping,
    Sequence,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import aiohttp

from springline.api.v1alpha1 import GROUP
from springline.kube.echoes import Echoes
from springline.kube.framework import (
    Vault,  # to close what tasks of kopf's leave open
    aiotasks,
    api,
    errors,
    kopf,
    watching,
)
from springline.kube.own_writes import OwnWrites

__all__ = ["REFUSALS", "WatchHandlers", "reason_of", "run"]

logger = logging.getLogger(__name__)

_STOP_SECONDS = 10.0

_LEAST_WATCH_SECONDS = 1.0
"""How far apart the starts of one watch are, at least."""

_FOLDER = Path(kopf.__file__).parent

_AT_ONCE = 16
"""Events in a row before other tasks have their turn: a list has hundreds of objects."""

Event = Mapping[str, Any]
"""An object of a list, or a line of a watch, as kopf yields it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchHandlers:
    """What is called with the events of our kinds, in the watch's order. Calls return at once."""

    on_status: Callable[[Mapping[str, Any]], None]
    """Called with each object, also if only its status has changed."""
    on_event: Callable[[Event], None]
    """Called with each event, unless only the status of the object has changed."""
    own_writes: OwnWrites = field(default_factory=OwnWrites)
    """Events with these versions are dropped before they are parsed."""


_handlers: contextvars.ContextVar[WatchHandlers] = contextvars.ContextVar("handlers")
"""Tasks of kopf's inherit them."""

# They are generators, and say only that they are iterators.
_watch_objs = cast(Callable[..., AsyncGenerator[Any, None]], watching.watch_objs)
_infinite_watch = cast(Callable[..., AsyncGenerator[Any, None]], watching.infinite_watch)
_iter_jsonlines = cast(Callable[..., AsyncGenerator[bytes, None]], api.iter_jsonlines)


async def _lines(*arguments: Any, **options: Any) -> AsyncIterator[bytes]:
    """Yield the lines of a watch, with a bookmark in place of each event of our own writes.

    The bookmark keeps the version at which the watch resumes.
    """
    handlers = _handlers.get(None)
    async with contextlib.aclosing(_iter_jsonlines(*arguments, **options)) as lines:
        async for line in lines:
            version = handlers.own_writes.take(line) if handlers is not None else None
            yield line if version is None else _BOOKMARK % version.encode()


_BOOKMARK: Final = b'{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":"%b"}}}'

api.iter_jsonlines = _lines


async def _watched(**options: Any) -> AsyncIterator[Any]:
    """Watch as kopf does, but not again at once, and without what nobody asked for.

    It has no pause between an answer that ends and the next request, which is thousands a second
    where something in between ends every watch as soon as it has begun. And it takes each event as
    far as the handlers, though most of them only show our own writes of status.
    """
    loop = asyncio.get_running_loop()
    may_end_at = loop.time() + _LEAST_WATCH_SECONDS
    is_ours = _is_ours(options)
    echoes, on_status = Echoes(), _handlers.get().on_status
    async with contextlib.aclosing(_watch_objs(**options)) as events:
        async for event in events:
            if is_ours and event["type"] in ("ADDED", "MODIFIED"):
                on_status(event["object"])
            if not (is_ours and echoes.has(event)):
                yield event
    await asyncio.sleep(max(may_end_at - loop.time(), 0.0))


watching.watch_objs = _watched


async def _handed_on(**options: Any) -> AsyncIterator[Any]:
    """Watch as kopf does, and call the handlers with objects of ours as soon as they are read.

    kopf does not see these objects. It would make a queue, a task and loggers for each, and copy
    what it passes to its own handlers.
    """
    is_ours, handlers, count = _is_ours(options), _handlers.get(), 0
    async with contextlib.aclosing(_infinite_watch(**options)) as events:
        async for event in events:
            if not is_ours:
                yield event
            elif isinstance(event, watching.Bookmark):  # the end of a list
                handlers.own_writes.clear()
                yield event
            elif event["type"] != "BOOKMARK":
                handlers.on_event(event)
                count += 1
                if count % _AT_ONCE == 0:
                    await asyncio.sleep(0)


watching.infinite_watch = _handed_on


def _is_ours(options: Mapping[str, Any]) -> bool:
    """Whether a watch is of our kinds; kopf may watch others for itself."""
    return bool(options["resource"].group == GROUP)


REFUSALS: Final = (
    kopf.LoginError,
    errors.APIError,
    watching.WatchingError,
    aiohttp.ClientError,
    TimeoutError,
)
"""What ends kopf because of the API server, not because of a defect."""


def reason_of(refusal: BaseException) -> str:
    """Return what one of `REFUSALS` comes to, in a sentence."""
    match refusal:
        case kopf.LoginError():  # its own text is for those who write operators
            return "the API server does not accept the credentials"
        case errors.APIError():
            return f"the API server answered {refusal.status}: {refusal.message or 'no more'}"
        case _:
            return str(refusal) or type(refusal).__name__


def _is_news(record: logging.LogRecord) -> bool:
    """Whether kopf has more to say of a task that failed than `run` raises: of a defect."""
    return record.exc_info is None or not isinstance(record.exc_info[1], REFUSALS)


for _name in ("kopf._core.reactor.orchestration", "kopf._core.reactor.running"):
    logging.getLogger(_name).addFilter(_is_news)

_create_guarded_task = aiotasks.create_guarded_task


def _guarded(*args: Any, **options: Any) -> "asyncio.Task[None]":
    """Make a task as kopf does, and take note of how it fails, which kopf does of one alone."""
    task = _create_guarded_task(*args, **options)
    task.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    return task


aiotasks.create_guarded_task = _guarded


async def run(
    registry: kopf.OperatorRegistry,
    settings: kopf.OperatorSettings,
    *,
    namespaces: Sequence[str],
    handlers: WatchHandlers,
    after_start: Callable[[], None],
) -> None:
    """Run kopf until one of its tasks ends, which none does by itself. Raises what it failed of.

    No namespaces means all of them. `handlers` are called with what the watches show; those of the
    registry only say what to watch, and are not called. `after_start` is called, without a pause,
    when kopf has put up its signal handlers. Safe to cancel.
    """
    vault = Vault()
    _handlers.set(handlers)

    async def spawned() -> Collection[asyncio.Task[Any]]:
        tasks = await kopf.spawn_tasks(
            registry=registry,
            settings=settings,
            vault=vault,
            standalone=True,
            clusterwide=not namespaces,
            namespaces=list(namespaces),
        )
        # kopf has just taken over the signals. Nothing may be awaited in between: a signal finds
        # its handler only when the event loop has its turn.
        after_start()
        return tasks

    # A task of its own: if cancelled half-way, nobody would know of the tasks that there are.
    spawning = asyncio.ensure_future(spawned())
    tasks: Collection[asyncio.Task[Any]] = ()
    try:
        tasks = await asyncio.shield(spawning)
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        await _end(tasks or await spawning)
        # The failure of one watch leaves the others running. They end their own workers in order.
        await _end(_running("guard"))
        await _end(_running())
        async with asyncio.timeout(_STOP_SECONDS):
            await vault.close()
    for task in done:
        if not task.cancelled() and (error := task.exception()) is not None:
            raise error


async def _end(tasks: Collection[asyncio.Task[Any]]) -> None:
    """Cancel tasks of kopf's and return when they have ended."""
    if not tasks:
        return
    for task in tasks:
        task.cancel()
    ended, hanging = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
    for task in hanging:
        logger.error("a task of kopf does not end", extra={"task": task.get_name()})
    for task in ended:
        if not task.cancelled() and task.exception() is not None:
            # Most often several fail of the same thing, and the first one is raised.
            logger.debug("a task of kopf failed", extra={"task": task.get_name()})


def _running(name: str | None = None) -> set[asyncio.Task[Any]]:
    """Return the tasks that run code of kopf's, or one function of it."""
    found = set()
    for task in asyncio.all_tasks():
        code = getattr(task.get_coro(), "cr_code", None)
        if code is None or _FOLDER not in Path(code.co_filename).parents:
            continue
        if name is None or code.co_name == name:
            found.add(task)
    return found
