"""The helper tasks of one session: they do the waiting, the session does the deciding.

There are five roles, and at most one helper of each: an attempt, a timer for the next one, a
prober, the tries of a renewal, and one that follows the age of the credential. Each reads a stream
of messages (streams.py) and puts them into the session's inbox as they come. They live in the
session's task group, so none outlives it.
"""

import asyncio
import enum
from collections.abc import AsyncIterator

from springline.core.inbox import Inbox
from springline.core.messages import Message
from springline.core.values import SessionKey

__all__ = ["Helpers", "Role"]


class Role(enum.Enum):
    """What a helper waits for. The value begins the name of its task."""

    TIMER = "timer"
    ATTEMPT = "attempt"
    PROBER = "prober"
    RENEWAL = "renewal"
    AGE = "lifetime"


class Helpers:
    """Starts and ends the helper tasks of one session."""

    __slots__ = ("_group", "_inbox", "_key", "_tasks")

    def __init__(self, key: SessionKey, group: asyncio.TaskGroup, inbox: Inbox[Message]) -> None:
        self._key = key
        self._group = group
        self._inbox = inbox
        self._tasks: dict[Role, asyncio.Task[None]] = {}

    async def start(self, role: Role, messages: AsyncIterator[Message] | None) -> None:
        """Have what comes of a stream put into the inbox, in the place of the role's last helper.

        None for none.
        """
        await self.drop(role)
        if messages is not None:
            name = f"{role.value}/{self._key}"
            self._tasks[role] = self._group.create_task(self._follow(messages), name=name)

    async def _follow(self, messages: AsyncIterator[Message]) -> None:
        async for message in messages:
            self._inbox.put(message)

    def is_at_work(self, role: Role) -> bool:
        """Whether the helper of that role has not come to its end."""
        task = self._tasks.get(role)
        return task is not None and not task.done()

    async def drop(self, role: Role) -> None:
        """End the helper of that role, if any, and return when it is gone."""
        task = self._tasks.pop(role, None)
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def drop_all(self) -> None:
        """End every helper and return when they are gone."""
        for role in tuple(self._tasks):
            await self.drop(role)
