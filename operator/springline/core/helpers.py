"""The helper tasks of one session: named by role, at most one of each, ended on demand.

They live in the session's task group, so none outlives it.
"""

import asyncio
from collections.abc import Coroutine

from springline.core.values import SessionKey

__all__ = ["Helpers"]


class Helpers:
    """Starts and ends the helper tasks of one session."""

    __slots__ = ("_group", "_key", "_tasks")

    def __init__(self, key: SessionKey, group: asyncio.TaskGroup) -> None:
        self._key = key
        self._group = group
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def start(self, role: str, work: Coroutine[None, None, None]) -> None:
        """Run `work` under `role`. A helper of that role must have ended or been dropped."""
        self._tasks[role] = self._group.create_task(work, name=f"{role}/{self._key}")

    def runs(self, role: str) -> bool:
        """Whether a helper of that role is at work."""
        task = self._tasks.get(role)
        return task is not None and not task.done()

    async def drop(self, role: str) -> None:
        """End the helper of that role, if any, and return when it is gone."""
        task = self._tasks.pop(role, None)
        if task is not None and not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def drop_all(self) -> None:
        """End every helper and return when they are gone."""
        for role in tuple(self._tasks):
            await self.drop(role)
