"""An event loop without sockets and without waiting: its time passes when nothing else is left.

It counts its turns, so that a case that would go on for ever ends by a number and not by a time,
and it finds out by itself when everything waits and nothing can come any more.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

__all__ = ["HangError", "SteppedLoop", "run"]

T = TypeVar("T")

MOST_TURNS = 20_000


class HangError(AssertionError):
    """A case does not come to an end."""


class SteppedLoop(asyncio.BaseEventLoop):
    """A loop whose time is moved by its timers. `on_idle` may give it something to do before."""

    _ready: Any

    def __init__(self) -> None:
        super().__init__()
        self.unseen: list[str] = []
        """What asyncio could tell nobody."""
        self.on_idle: Callable[[], bool] | None = None
        """Called when nothing but timers is left; returns whether it has given something to do."""
        self._now = 1000.0
        self._turns = 0
        self._selector = self
        self.set_exception_handler(self._note)

    def time(self) -> float:
        """Return the time, which no clock moves."""
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Do what a selector does where there is nothing to select from."""
        self._turns += 1
        if self._turns > MOST_TURNS:
            raise HangError(f"no end after {MOST_TURNS} turns of the event loop")
        if timeout == 0 or (self.on_idle is not None and self.on_idle()):
            return []
        if timeout is None:
            raise HangError("everything waits, and nothing can come any more")
        self._now += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """Do nothing: there are no events."""

    def _write_to_self(self) -> None:
        """Do nothing: nobody waits in another thread."""

    def _note(self, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        self.unseen.append(f"{context.get('message')}: {error!r}")


def run(main: Coroutine[Any, Any, T], loop: SteppedLoop) -> T:
    """Return what `main` returns. Raises `AssertionError` for a task that it leaves behind."""
    try:
        result = loop.run_until_complete(main)
        left = [task for task in asyncio.all_tasks(loop) if not task.done()]
        assert not left, f"tasks are left: {sorted(task.get_name() for task in left)}"
        assert not loop.unseen, f"nobody was told of {loop.unseen}"
        return result
    finally:
        _drop(loop)
        main.close()
        loop.close()


def _drop(loop: SteppedLoop) -> None:
    """Let what is left end, however the case went, so that nothing warns of it later."""
    loop.on_idle = None
    for task in asyncio.all_tasks(loop):
        task.cancel()
    try:
        for _ in range(50):
            loop.call_soon(loop.stop)
            loop.run_forever()
    except HangError:
        pass
