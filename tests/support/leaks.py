"""Fail a test that leaves a task, a socket or an unseen error of the event loop behind."""

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from support.waiting import PATIENCE, eventually

__all__ = ["checked"]

_DESCRIPTORS = Path("/proc/self/fd")


@contextlib.asynccontextmanager
async def checked(*, timeout: float = PATIENCE) -> AsyncIterator[None]:
    """Compare tasks and sockets before and after; what ends by itself has `timeout` seconds.

    Errors that asyncio could tell nobody but the loop's exception handler fail the test, too.
    """
    loop = asyncio.get_running_loop()
    unseen: list[dict[str, Any]] = []
    former = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: unseen.append(context))
    tasks, sockets = asyncio.all_tasks(), _sockets()
    try:
        yield
    finally:
        try:
            await eventually(
                lambda: not _new_tasks(tasks) and not _sockets() - sockets,
                timeout=timeout,
                what="nothing left behind",
            )
        except AssertionError:
            left = _new_tasks(tasks)
            raise AssertionError(
                f"left behind: tasks {left}, sockets {_sockets() - sockets}"
            ) from None
        finally:
            # An exception of a task that nobody asked for is told when the task is collected.
            gc.collect()
            loop.set_exception_handler(former)
    assert not unseen, unseen


def _new_tasks(before: set["asyncio.Task[Any]"]) -> set["asyncio.Task[Any]"]:
    return {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}


def _sockets() -> set[str]:
    found = set()
    for descriptor in _DESCRIPTORS.iterdir():
        with contextlib.suppress(FileNotFoundError):  # the one that listed the directory
            target = str(descriptor.readlink())
            if target.startswith("socket:"):
                found.add(target)
    return found
