"""What the one observer of a connection is told, and when: a block, a change, the end.

For connections that find out by themselves whether they are blocked. An observer may come late;
what happened before is told then.
"""

from springline.core.ports import Connection, ConnectionObserver
from springline.core.values import Block, CloseInfo

__all__ = ["Told"]


class Told:
    """One connection's observer, if it has one yet, and what that has been told."""

    __slots__ = ("_block", "_close", "_observer")

    def __init__(self) -> None:
        self._observer: ConnectionObserver | None = None
        self._block: Block | None = None
        self._close: CloseInfo | None = None

    @property
    def block(self) -> Block | None:
        """Why nothing is taken in, as it was said last."""
        return self._block

    def observe(self, connection: Connection, observer: ConnectionObserver) -> None:
        """Name the one observer, and tell it what happened before: a block, or the end."""
        self._observer = observer
        if (block := connection.blocked) is not None:
            observer.connection_blocked(connection, block)
        if self._close is not None:
            self.closed(connection, self._close)

    def blocked(self, connection: Connection, block: Block | None) -> None:
        """Tell a block, or its end, if that is news."""
        if block == self._block:
            return
        self._block = block
        if self._observer is None:
            return
        if block is None:
            self._observer.connection_unblocked(connection)
        else:
            self._observer.connection_blocked(connection, block)

    def changed(self, connection: Connection) -> None:
        """Tell that `info` answers otherwise."""
        if self._observer is not None:
            self._observer.connection_changed(connection)

    def closed(self, connection: Connection, close: CloseInfo) -> None:
        """Tell the end, once: at once, or when there is an observer."""
        self._close = close
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.connection_closed(connection, close)
