"""News for those who follow, told by a part that need not know them.

A signal is made before the parts on both of its sides, so that none has to wait for the other.
"""

import logging
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Signal"]

logger = logging.getLogger(__name__)

_T = TypeVar("_T")


class Signal(Generic[_T]):
    """Tells everybody who follows, in the order in which they began to."""

    __slots__ = ("_followers",)

    def __init__(self) -> None:
        self._followers: tuple[Callable[[_T], None], ...] = ()

    def follow(self, follower: Callable[[_T], None]) -> None:
        """Have `follower` called with everything that is told from now on.

        It must return at once: who tells goes on only then.
        """
        self._followers += (follower,)

    def tell(self, news: _T) -> None:
        """Tell it to all who follow."""
        for follower in self._followers:
            try:
                follower(news)
            except Exception:  # a defect of one keeps nothing from the others, nor from who tells
                logger.exception("news not taken in")
