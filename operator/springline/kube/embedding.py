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
from pathlib import Path
from typing import Any, Final, cast

import aiohttp

from springline.api.v1alpha1 import GROUP
from springline.kube.echoes import Echoes
from springline.kube.framework import (
    Vault,  # to close what tasks of kopf's leave open
    aiotasks,
    errors,
    kopf,
    watching,
)

__all__ = ["REFUSALS", "reason_of", "run"]

logger = logging.getLogger(__name__)

_STOP_SECONDS = 10.0

_LEAST_WATCH_SECONDS = 1.0
"""How far apart the starts of one watch are, at least."""

_FOLDER = Path(kopf.__file__).parent

_on_shown: contextvars.ContextVar[Callable[[Mapping[str, Any]], None]] = contextvars.ContextVar(
    "on_shown"
)
"""Who is told of every object of ours that a watch shows. Tasks of kopf's inherit it."""

# It is a generator, and says only that it is an iterator.
_watch_objs = cast(Callable[..., AsyncGenerator[Any, None]], watching.watch_objs)


async def _watched(**options: Any) -> AsyncIterator[Any]:
    """Watch as kopf does, but not again at once, and without what nobody asked for.

    It has no pause between an answer that ends and the next request, which is thousands a second
    where something in between ends every watch as soon as it has begun. And it takes each event as
    far as the handlers, though most of them only show our own writes of status.
    """
    loop = asyncio.get_running_loop()
    may_end_at = loop.time() + _LEAST_WATCH_SECONDS
    is_ours = options["resource"].group == GROUP  # others may be watched for their status
    echoes, on_shown = Echoes(), _on_shown.get()
    async with contextlib.aclosing(_watch_objs(**options)) as events:
        async for event in events:
            if is_ours and event["type"] in ("ADDED", "MODIFIED"):
                on_shown(event["object"])
            if not (is_ours and echoes.has(event)):
                yield event
    await asyncio.sleep(max(may_end_at - loop.time(), 0.0))


watching.watch_objs = _watched

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
    on_shown: Callable[[Mapping[str, Any]], None],
    after_start: Callable[[], None],
) -> None:
    """Run kopf until one of its tasks ends, which none does by itself. Raises what it failed of.

    No namespaces means all of them. `on_shown` is told of each object of ours that a watch shows,
    in the watch's order, also where only its status is new, which handlers are not told of.
    `after_start` is called, without a pause, when kopf has put up its signal handlers. Safe to
    cancel.
    """
    vault = Vault()
    _on_shown.set(on_shown)

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
