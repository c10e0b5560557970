"""Limits on the connections to a server of ours, for whoever can reach its port.

There are only so many connections, and each has so long to ask its first question and to take its
answer. The newest is let in: it may be the kubelet's, and of the others the one goes that has
waited longest without a question. It knows no HTTP.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, cast

__all__ = ["OVER_LIMIT", "SILENT", "UNREAD", "Guests", "Limits"]

SILENT: Final = "silent"
"""It asked nothing in its time, or not to the end."""
UNREAD: Final = "unread"
"""It did not take its answer in its time."""
OVER_LIMIT: Final = "over_limit"
"""There were too many, and it had waited longest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How many connections, and how long each may take."""

    most: int = 256
    ask_seconds: float = 10.0
    """From the connection to the end of its first question."""
    answer_seconds: float = 30.0
    """From a question until its answer is taken."""


class Guests:
    """All connections to one server."""

    def __init__(self, limits: Limits, dropped: Callable[[str], None]) -> None:
        """`dropped` is told why a connection was."""
        self._limits = limits
        self._dropped = dropped
        self._guests: dict[asyncio.BaseTransport, _Guest] = {}

    def admit(self, protocol: asyncio.Protocol) -> asyncio.Protocol:
        """Return a protocol for one connection that keeps to the limits."""
        return _Guest(self, protocol)

    def asked(self, transport: asyncio.BaseTransport | None) -> None:
        """Note that a whole question has come, which is being answered."""
        guest = self._guests.get(transport) if transport is not None else None
        if guest is not None:
            guest.is_silent = False
            guest.expect(self._limits.answer_seconds, lambda: self._look_whether_taken(guest))

    def came(self, guest: "_Guest") -> None:
        if len(self._guests) >= self._limits.most:
            others = self._guests.values()
            self._drop(
                next((each for each in others if each.is_silent), next(iter(others))), OVER_LIMIT
            )
        self._guests[guest.transport] = guest
        guest.expect(self._limits.ask_seconds, lambda: self._drop(guest, SILENT))

    def went(self, guest: "_Guest") -> None:
        self._guests.pop(guest.transport, None)
        guest.expect_nothing()

    def _look_whether_taken(self, guest: "_Guest") -> None:
        if guest.transport.get_write_buffer_size():
            self._drop(guest, UNREAD)

    def _drop(self, guest: "_Guest", why: str) -> None:
        self.went(guest)
        guest.transport.abort()
        self._dropped(why)


class _Guest(asyncio.Protocol):
    """One connection, handed on to the server's own protocol."""

    transport: asyncio.Transport

    def __init__(self, guests: Guests, inner: asyncio.Protocol) -> None:
        self._guests = guests
        self._inner = inner
        self._timer: asyncio.TimerHandle | None = None
        self.is_silent = True
        """Whether it has not asked anything yet."""

    def expect(self, seconds: float, otherwise: Callable[[], None]) -> None:
        self.expect_nothing()
        self._timer = asyncio.get_running_loop().call_later(seconds, otherwise)

    def expect_nothing(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._guests.came(self)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._guests.went(self)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
