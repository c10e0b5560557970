"""Those who wait for something of a session: its next connection, its next result, its end."""

import asyncio
from typing import Generic, TypeVar

__all__ = ["Waiters"]

_T = TypeVar("_T")


class Waiters(Generic[_T]):
    """Any number of tasks that wait for one value each, told together."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: tuple[asyncio.Future[_T], ...] = ()

    async def wait(self) -> _T:
        """Return the next value told. Raises what `refuse` is given. Safe to cancel."""
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._futures += (future,)
        try:
            return await future
        finally:
            self._futures = tuple(each for each in self._futures if each is not future)

    def tell(self, value: _T) -> None:
        """Give `value` to all who wait now."""
        for future in self._futures:
            if not future.done():
                future.set_result(value)

    def refuse(self, error: Exception) -> None:
        """Raise `error` in all who wait now."""
        for future in self._futures:
            if not future.done():
                future.set_exception(error)
