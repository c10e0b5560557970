"""Who is told what becomes of a connection, and remembers it."""

import asyncio

from springline.core.ports import Connection
from springline.core.values import Block, CloseInfo

__all__ = ["Observer"]


class Observer:
    """Remembers what it was told, as texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.closes: list[CloseInfo] = []
        self.over = asyncio.Event()

    def connection_blocked(self, connection: Connection, block: Block) -> None:  # noqa: ARG002
        """Remember a block."""
        self.texts.append(repr(block))

    def connection_unblocked(self, connection: Connection) -> None:
        """Remember nothing."""

    def connection_changed(self, connection: Connection) -> None:
        """Remember nothing."""

    def connection_closed(self, connection: Connection, close: CloseInfo) -> None:  # noqa: ARG002
        """Remember the end."""
        self.closes.append(close)
        self.texts += [close.text, repr(close)]
        self.over.set()
