"""The messages that wait for one task. `asyncio.Queue` without limits, and of a tenth of its size:
there are as many as there are sessions, and almost always they are empty.
"""

import asyncio
from typing import Generic, TypeVar

__all__ = ["Inbox"]

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """Messages in the order in which they came, for one task that takes them out."""

    __slots__ = ("_messages", "_waiting")

    def __init__(self) -> None:
        self._messages: list[_T] = []  # short, so that the first one is taken out soon enough
        self._waiting: asyncio.Future[None] | None = None

    def put(self, message: _T) -> None:
        """Add a message. Returns at once."""
        self._messages.append(message)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)

    async def get(self) -> _T:
        """Take the next message out, once there is one. Safe to cancel: none is lost."""
        while not self._messages:
            self._waiting = asyncio.get_running_loop().create_future()
            try:
                await self._waiting
            finally:
                self._waiting = None
        return self._messages.pop(0)

    def drain(self) -> list[_T]:
        """Take everything out that is there."""
        messages, self._messages = self._messages, []
        return messages
