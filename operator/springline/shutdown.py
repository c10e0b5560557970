"""How a process comes to its end: the signals that ask for it, and the sessions' goodbye."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator

from springline.core.manager import Manager

__all__ = ["close_sessions", "listen", "on_signal"]

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@contextlib.contextmanager
def on_signal(stopping: asyncio.Event) -> Iterator[asyncio.Event]:
    """Have SIGTERM, SIGINT, and the end of the terminal set the event."""
    listen(stopping)
    try:
        yield stopping
    finally:
        loop = asyncio.get_running_loop()
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def listen(stopping: asyncio.Event) -> None:
    """Have the signals set the event from now on, whoever has listened to them before."""
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup has it
            loop.add_signal_handler(number, stopping.set)


async def close_sessions(
    manager: Manager,
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
