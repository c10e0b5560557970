"""Those who wait for a session's next connection or next result."""

import asyncio
from typing import Generic, TypeVar

__all__ = ["Waiters"]

_T = TypeVar("_T")


class Waiters(Generic[_T]):
    """Any number of tasks that wait for one value each, told together."""

    __slots__ = ("_futures",)

    def __init__(self) -> None:
        self._futures: set[asyncio.Future[_T]] = set()

    async def wait(self) -> _T:
        """Return the next value told. Raises what `refuse` is given. Safe to cancel."""
        future: asyncio.Future[_T] = asyncio.get_running_loop().create_future()
        self._futures.add(future)
        try:
            return await future
        finally:
            self._futures.discard(future)

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
