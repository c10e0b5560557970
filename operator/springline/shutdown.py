"""How a process comes to its end: the signals that ask for it, and the sessions' goodbye."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeVar

from springline.early_end import SIGNALS

if TYPE_CHECKING:
    from springline.core.manager import Manager

__all__ = ["SignalledError", "close_sessions", "listen", "on_signal", "unless_signalled"]

T = TypeVar("T")

_CANCEL_SECONDS: Final = 10.0
"""How long what is cancelled by a signal may take to close what it has opened."""


class SignalledError(Exception):
    """A signal asked for the end before there was an answer."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextlib.contextmanager
def on_signal(stopping: asyncio.Event) -> Iterator[asyncio.Event]:
    """Have SIGTERM, SIGINT, and the end of the terminal set the event.

    Afterwards they mean what they meant before.
    """
    with _as_before():
        listen(stopping)
        yield stopping


def listen(stopping: asyncio.Event) -> None:
    """Have the signals set the event from now on, whoever has listened to them before."""
    _listen(lambda _: stopping.set())


async def unless_signalled(work: Coroutine[Any, Any, T]) -> T:
    """Return what the work returns, unless a signal asks for the end: it is cancelled then.

    Raises `SignalledError` once it has closed what it had open, after a second signal or some
    seconds at the latest.
    """
    signals: asyncio.Queue[int] = asyncio.Queue()
    with _as_before():
        _listen(signals.put_nowait)
        working = asyncio.ensure_future(work)
        try:
            number = await _first_signal(signals, working)
            if number is None:
                return working.result()
            working.cancel()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_CANCEL_SECONDS):
                    await _first_signal(signals, working)
        finally:
            working.cancel()
    raise SignalledError(number)


async def _first_signal(
    signals: "asyncio.Queue[int]", working: "asyncio.Future[Any]"
) -> int | None:
    """Return the next signal, None if the work ends before."""
    waiting = asyncio.ensure_future(signals.get())
    try:
        await asyncio.wait({waiting, working}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() and not working.done() else None
    finally:
        waiting.cancel()


def _listen(tell: Callable[[int], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(number, tell, number)


@contextlib.contextmanager
def _as_before() -> Iterator[None]:
    """Have the signals mean at the end of the block what they mean now."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        yield
    finally:
        loop = asyncio.get_running_loop()
        # Between the two steps for each they would end the process without a word.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)


async def close_sessions(
    manager: "Manager",
    managing: asyncio.Task[None],
    *,
    limit: float,
    hurry: asyncio.Event,
    note: Callable[[str], None],
) -> None:
    """Close every session, and return when `managing`, which runs the manager, has ended.

    After `limit` seconds, or when `hurry` is set once more, what has not closed is dropped without
    waiting for its broker. `note` is told in words.
    """
    count = sum(session.connection is not None for session in manager.sessions())
    if count:
        note(f"closing {count} session(s); a second signal drops them at once")
    hurry.clear()
    manager.stop()
    impatient = asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait(
            {managing, impatient}, timeout=limit, return_when=asyncio.FIRST_COMPLETED
        )
    finally:
        impatient.cancel()
    if not managing.done():
        note("dropping the sessions that have not closed yet")
        managing.cancel()
        await asyncio.wait({managing})
