"""The shortest part of a list that still fails: delta debugging, by running it again and again."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

__all__ = ["shrunk"]

T = TypeVar("T")


async def shrunk(
    items: Sequence[T], fails: Callable[[Sequence[T]], Awaitable[bool]], *, runs: int
) -> list[T]:
    """Return a shorter list that still fails, after at most so many runs of `fails`.

    `items` is known to fail. Of the result no part of any size that was tried can be left out
    (Zeller and Hildebrandt's ddmin, without its step of testing a part alone: that is what leaving
    out its complement does when the parts are halves).
    """
    found, parts = list(items), 2
    while len(found) > 1 and runs > 0:
        size = -(-len(found) // parts)
        for start in range(0, len(found), size):
            rest = found[:start] + found[start + size :]
            if runs <= 0:
                return found
            runs -= 1
            if await fails(rest):
                found, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                return found
            parts = min(2 * parts, len(found))
    return found
