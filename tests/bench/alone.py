"""Connections that a library holds alone, in the steps of a measurement: dialled, asked, renewed.

What a connection is, and what is said over it, is the library's; see `bare_http`, `bare_amqp10`.
"""

import asyncio
import contextlib
from abc import abstractmethod
from typing import Generic, Protocol, TypeVar

from bench import steps
from bench.bare import pause
from bench.plan import AT_ONCE
from bench.steps import Holder
from bench.told import Told

__all__ = ["Alone", "Connection"]


class Connection(Protocol):
    """One connection, whatever is spoken over it."""

    async def lost(self) -> None:
        """Wait until the server has gone away; the connection is of no more use."""

    async def close(self) -> None:
        """End it."""


C = TypeVar("C", bound=Connection)


class Alone(Holder, Generic[C]):
    """As many connections as are told, and one beside them."""

    def __init__(self, told: Told) -> None:
        self._told = told
        self._secret = told.secret
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._first: list[C] = []
        self._open: list[C] = []

    @abstractmethod
    async def _dialled(self) -> C:
        """Open a connection as a session does, with the secret of now."""

    @abstractmethod
    async def _ask(self, connection: C) -> None:
        """Do what a probe does."""

    @abstractmethod
    async def _renew(self, connection: C) -> None:
        """Bring the secret of now to an open connection."""

    async def _connected(self) -> C:
        async with self._limit:
            return await self._dialled()

    async def open_first(self) -> None:
        self._first = [await self._connected()]

    async def open_all(self) -> None:
        self._open = await asyncio.gather(*(self._connected() for _ in range(self._told.count)))

    async def prepare_to_idle(self) -> None:
        pass

    async def idle(self) -> None:
        await steps.asked_in_turn(self._open, self._ask, self._told.plan)

    async def renew_all(self, secret: str) -> None:
        self._secret = secret
        await asyncio.gather(*(self._renew(each) for each in self._open))

    async def until_lost(self) -> None:
        await self.close_first()
        await asyncio.gather(*(each.lost() for each in self._open))

    async def until_back(self) -> None:
        async def connected() -> C:
            while True:
                with contextlib.suppress(OSError):
                    return await self._connected()
                await pause()

        self._open = await asyncio.gather(*(connected() for _ in self._open))

    async def close_all(self) -> None:
        await asyncio.gather(*(each.close() for each in self._open))

    async def close_first(self) -> None:
        await asyncio.gather(*(each.close() for each in self._first))
        self._first = []
