"""`core.ports.Connection` for Echo: one task that listens, and a timer that beats."""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from typing import Final

from springline.core.ports import ConnectionObserver
from springline.core.values import Block, ClosedBy, CloseInfo, Credential, OpenInfo
from springline.drivers.echo import errors, lines
from springline.drivers.echo.probe_target import EchoProbeTarget
from springline.drivers.shared import peer_text
from springline.drivers.shared.line import CLOSE_GRACE, Line
from springline.errors import NotOpenError, SecretNotSentError
from springline.reasons import Reason
from springline.veil import Veil

__all__ = ["EchoConnection"]

_CANNOT_RENEW: Final = "Echo takes a login only before a hub is entered"
_BLOCKS: Final = {
    "low on memory": Reason.LOW_ON_MEMORY,
    "low on disk": Reason.LOW_ON_DISK,
}


class EchoConnection:
    """One open Echo connection."""

    def __init__(self, line: Line[asyncio.StreamReader], info: OpenInfo, veil: Veil) -> None:
        self._line = line
        self._veil = veil
        self._info = info
        self._blocked: Block | None = None
        self._observer: ConnectionObserver | None = None
        self._closed_by_us: CloseInfo | None = None
        self._ended: CloseInfo | None = None
        self._echo: asyncio.Future[bool] | None = None
        self._over: asyncio.Event = asyncio.Event()
        self._beating: asyncio.TimerHandle | None = None
        self._listening = asyncio.create_task(self._listen(), name=f"echo/{info.endpoint}")
        self._beat()

    @property
    def info(self) -> OpenInfo:
        """What was negotiated, with whom."""
        return self._info

    @property
    def is_open(self) -> bool:
        """True until a close begins, on either side."""
        return self._closed_by_us is None and self._ended is None and not self._line.is_ending

    @property
    def blocked(self) -> Block | None:
        """Why, while the hub holds what is sent; else None."""
        return self._blocked if self.is_open else None

    @property
    def cannot_renew(self) -> str:
        """Always: there is no line for it."""
        return _CANNOT_RENEW

    @property
    def close_codes(self) -> Mapping[str, int]:
        """None: a close has no numbers."""
        return {}

    def observe(self, observer: ConnectionObserver) -> None:
        """Name the one observer. What happened before is told at once."""
        self._observer = observer
        if (block := self.blocked) is not None:
            observer.connection_blocked(self, block)
        self._tell_closed()

    async def probe(
        self,
        target: EchoProbeTarget,  # noqa: ARG002 - it has nothing to choose
        *,
        lifetime: float | None = None,  # noqa: ARG002 - a hub keeps nothing
        timeout: float,
    ) -> float | None:
        """Send a line and return the seconds until it came back, None if the hub holds it."""
        self._require_open()
        if self._blocked is not None:
            return None
        began = time.monotonic()
        self._echo = asyncio.get_running_loop().create_future()
        self._line.write(lines.written("echo"))
        async with asyncio.timeout(timeout):
            is_back = await self._echo
        return time.monotonic() - began if is_back else None

    async def renew(self, credential: Credential, *, timeout: float) -> None:  # noqa: ARG002 - of the port
        """Raise `SecretNotSentError`: there is no line for it."""
        self._require_open()
        raise SecretNotSentError(_CANNOT_RENEW)

    async def close(self, *, text: str = "", timeout: float = 3.0) -> None:
        """Say goodbye, wait at most `timeout` seconds for the answer, and release the socket."""
        self._require_open()
        self._begin_end(text)
        self._line.write(lines.written("close", text=text))
        try:
            async with asyncio.timeout(timeout):
                await self._over.wait()
        except TimeoutError:
            self.abort()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_GRACE):
                    await self._over.wait()
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Drop the transport at once. Idempotent."""
        self._begin_end("dropped")
        self._line.abort()

    # Steps

    def _require_open(self) -> None:
        if not self.is_open:
            raise NotOpenError

    def _begin_end(self, text: str) -> None:
        if self.is_open:
            self._closed_by_us = CloseInfo(
                by=ClosedBy.CLIENT, reason=Reason.CLIENT_CLOSED, text=text
            )
            self._fail_echo()

    def _beat(self) -> None:
        if seconds := self._info.negotiated.heartbeat_seconds:
            self._line.write(lines.written("beat"))
            loop = asyncio.get_running_loop()
            self._beating = loop.call_later(seconds / 2, self._beat)

    async def _listen(self) -> None:
        """Take in what comes until the end, whichever it is, and tell that once."""
        try:
            close = await self._until_closed()
        except (OSError, EOFError, ValueError) as error:
            # The reader keeps it, and with its traceback would keep this connection.
            error.__traceback__ = None
            close = errors.lost(error)
            self._line.abort()
        self._ended = self._closed_by_us or close
        self._fail_echo()
        if self._beating is not None:
            self._beating.cancel()
        self._line.end()
        await self._line.wait_lost()
        self._over.set()
        self._tell_closed()

    async def _until_closed(self) -> CloseInfo:
        beat = self._info.negotiated.heartbeat_seconds
        while True:
            async with asyncio.timeout(2 * beat if beat else None):
                said = await lines.received(self._line.reader)
            text = peer_text.cleaned(said.get("text"), veil=self._veil)
            match said["say"]:
                case "echo" if self._echo is not None and not self._echo.done():
                    self._echo.set_result(True)
                case "hold":
                    self._hold(Block(reason=_BLOCKS.get(text, Reason.BLOCKED_BY_BROKER), text=text))
                case "go on":
                    self._go_on()
                case "close":
                    self._line.write(lines.written("closed"))
                    return CloseInfo(by=ClosedBy.SERVER, reason=Reason.CONNECTION_FORCED, text=text)

    def _hold(self, block: Block) -> None:
        self._blocked = block
        if self._echo is not None and not self._echo.done():
            self._echo.set_result(False)
        if self._observer is not None and self.is_open:
            self._observer.connection_blocked(self, block)

    def _go_on(self) -> None:
        self._blocked = None
        if self._observer is not None and self.is_open:
            self._observer.connection_unblocked(self)

    def _fail_echo(self) -> None:
        if self._echo is not None and not self._echo.done():
            self._echo.set_exception(NotOpenError())
            self._echo.exception()  # nobody may be waiting for it any more

    def _tell_closed(self) -> None:
        if self._ended is None or not self._over.is_set():
            return
        observer, self._observer = self._observer, None
        if observer is not None:
            observer.connection_closed(self, self._ended)
