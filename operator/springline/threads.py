"""Calls of the file system, some of which may never return.

A file on a network that is gone keeps a thread for ever. asyncio's own threads are few, look names
up too, and are waited for when the process ends; so such calls have threads of their own.
"""

import asyncio
import contextlib
import errno
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

__all__ = ["OffLoop", "Threads"]

T = TypeVar("T")


class OffLoop(Protocol):
    """Makes calls that may block, without the event loop waiting for them."""

    async def run(self, call: Callable[[], T]) -> T:
        """Return what the call returns, or raise what it raises. Safe to cancel."""


class Threads:
    """Runs blocking calls, so many at once. Whatever still runs then, a process ends without it."""

    def __init__(self, *, at_once: int, name: str) -> None:
        self._turns = asyncio.Semaphore(at_once)
        self._name = name

    async def run(self, call: Callable[[], T]) -> T:
        """Return what the call returns, or raise what it raises.

        Raises `OSError` EAGAIN if the system has no more threads.

        Safe to cancel: the call goes on for nobody, and keeps its turn until it has ended.
        """
        await self._turns.acquire()
        loop = asyncio.get_running_loop()
        result: asyncio.Future[T] = loop.create_future()

        def ended(tell: Callable[[], None]) -> None:
            self._turns.release()
            if not result.done():
                tell()

        def work() -> None:
            try:
                value = call()
            except Exception as error:  # noqa: BLE001 - the top of a thread: who called is told
                failure = error
                _post(loop, lambda: ended(lambda: result.set_exception(failure)))
            else:
                _post(loop, lambda: ended(lambda: result.set_result(value)))

        try:
            threading.Thread(target=work, name=self._name, daemon=True).start()
        except RuntimeError as error:
            self._turns.release()
            raise OSError(errno.EAGAIN, "the system has no more threads") from error
        return await result


def _post(loop: asyncio.AbstractEventLoop, call: Callable[[], None]) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended, and everybody with it
        loop.call_soon_threadsafe(call)
