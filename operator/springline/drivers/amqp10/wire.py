"""One connection on the wire: the socket, the clock and the reading task of an engine.

Whoever waits for something gives a condition, which is looked at whenever octets have come. How an
end runs: whatever happens, what is still to be said is sent, and then the transport is ended or
dropped, each within a bounded time; `on_over` is told once socket and task are gone.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, Final, TypeVar

from springline import wheel
from springline.core.values import ClosedBy, CloseInfo
from springline.drivers.amqp10 import bounds, conditions
from springline.drivers.amqp10.conditions import Condition
from springline.drivers.amqp10.endpoints import EndedError, Origin
from springline.drivers.amqp10.engine import Engine, EngineSession
from springline.drivers.shared import failures
from springline.drivers.shared.inbound import InboundBudget
from springline.drivers.shared.line import Line
from springline.reasons import Reason
from springline.veil import Veil

__all__ = ["Wire"]

logger = logging.getLogger(__name__)

T = TypeVar("T")

_END_SECONDS: Final = 1.0
"""How long to wait for a peer to answer an End. RabbitMQ with the plugin may never answer it."""
_SETTLE_SECONDS: Final = 0.1
"""From the End of a session to the next Begin. RabbitMQ 4.0 gives a Begin that comes sooner on the
same channel to the session that has ended, and never answers it."""
_MOMENT: Final = 0.001
_IDLE: Final = "nothing was heard for {:g} s, two heartbeats of {:g} s"


@dataclasses.dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who waits until a condition answers something."""

    asked: Callable[[], object | None]
    answer: asyncio.Future[Any]


class Wire:
    """Drives one engine over one line."""

    __slots__ = (
        "_budget",
        "_ended_at",
        "_has_failed",
        "_heartbeat_seconds",
        "_is_over",
        "_loop",
        "_lost",
        "_task",
        "_timer",
        "_timer_at",
        "_waiters",
        "engine",
        "line",
        "on_change",
        "on_over",
        "veil",
    )

    def __init__(
        self,
        line: Line[asyncio.StreamReader],
        engine: Engine,
        budget: InboundBudget,
        *,
        heartbeat_seconds: float,
        veil: Veil,
    ) -> None:
        self.line = line
        self.engine = engine
        self.veil = veil
        self.on_change: Callable[[], None] | None = None
        """Told, in the turn in which something has come, before those who wait."""
        self.on_over: Callable[[], None] | None = None
        self._budget = budget
        self._ended_at = 0.0
        """When the peer has last ended all that we have ended."""
        self._heartbeat_seconds = heartbeat_seconds
        self._loop = asyncio.get_running_loop()
        self._waiters: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None
        self._timer: wheel.Timer | None = None
        self._timer_at = 0.0
        self._lost: BaseException | str | None = None
        """How the transport ended, if it did by itself."""
        self._has_failed = False
        """Whether a defect of ours ended it."""
        self._is_over = False

    # Life

    @property
    def is_ending(self) -> bool:
        """Whether an end has begun, on either side."""
        engine = self.engine
        return (
            self.line.is_ending
            or self._has_failed
            or self._lost is not None
            or engine.fault is not None
            or engine.has_closed
            or engine.is_closed_by_peer
        )

    @property
    def is_over(self) -> bool:
        """Whether socket and task are gone."""
        return self._is_over

    def start(self, name: str) -> None:
        """Read from now on. All-tasks dumps show the name."""
        self._task = self._loop.create_task(self._run(), name=f"amqp10/{name}")

    async def wait_over(self) -> None:
        """Wait until socket and task are gone; it causes no end. Safe to cancel."""
        if self._task is not None:
            await asyncio.wait({self._task})

    def abort(self) -> None:
        """Drop the transport at once. Idempotent."""
        self._stop_timer()
        self.line.abort()

    def take_leave(self) -> None:
        """Send the Close that the engine has, and give the peer a moment to answer it."""
        self.flush()
        self.line.linger()

    # Reading and writing

    async def _run(self) -> None:
        try:
            while not self.line.is_lost and self._lost is None:
                await self._read()
        except Exception:
            # It costs this connection alone, and is told as what it is.
            name = self._task.get_name() if self._task is not None else ""
            logger.exception("reading failed unexpectedly", extra={"task": name})
            self._has_failed = True
            self.line.abort()
        finally:
            self._stop_timer()
            self.line.abort() if self._lost is not None else self.line.end()
            await self.line.wait_lost()
            self._is_over = True
            self._settle()
            if self.on_over is not None:
                self._loop.call_soon(self.on_over)
            # They refer to this wire, and nobody else would part them.
            self.on_over = self.on_change = None

    async def _read(self) -> None:
        """Read once, and take it in."""
        try:
            data = await self.line.reader.read(bounds.READ_OCTETS)
        except (OSError, EOFError) as error:
            # The reader keeps it, and with its traceback would keep this wire.
            error.__traceback__ = None
            self._lose(error)
            return
        if not data:
            self._lose("the peer closed the connection without a word")
            return
        too_much = self._budget.take_piece()
        if too_much:
            self.engine.refuse_flood(f"the peer sent {too_much}")
        has_awaited = self.engine.awaits_end
        self.engine.receive(data)
        if has_awaited and not self.engine.awaits_end:
            self._ended_at = self.time()
        self.flush()
        await self._budget.give_way()

    def _lose(self, how: BaseException | str) -> None:
        if self._lost is None:
            self._lost = how
            self.engine.receive_eof()
        self._changed()

    def flush(self) -> None:
        """Send what the engine has to say, and have everybody look at what has come."""
        engine, line = self.engine, self.line
        self._tick()
        if engine.is_closed_by_peer and not engine.has_closed:
            engine.close()
        output = engine.output()
        if output:
            line.write(output)
            if line.transport.get_write_buffer_size() > bounds.MAX_UNREAD:
                self._lose(f"the peer has left {bounds.MAX_UNREAD} octets unread")
                line.abort()
        if engine.has_closed and engine.is_closed_by_peer:
            line.end()
        elif engine.fault is not None:
            # It has been told why; it need not answer.
            line.end()
        self._changed()

    # Sessions

    async def begin(
        self, *, incoming_capacity: int, outgoing_window: int, timeout: float = _END_SECONDS
    ) -> EngineSession:
        """Begin a session as `Engine.begin` does, once the peer has ended those that we have ended.

        It may get the channel of one of those, and what comes late would be taken for its own. A
        peer is waited for a short time, and no longer than `timeout` seconds. Raises `NoRoomError`
        and `EndedError`. Safe to cancel.
        """
        deadline = self.time() + min(timeout, _END_SECONDS)
        with contextlib.suppress(TimeoutError):
            while self.engine.awaits_end:
                await self.until(
                    lambda: None if self.engine.awaits_end else True,
                    timeout=max(deadline - self.time(), 0),
                )
        pause = self._ended_at + _SETTLE_SECONDS - self.time()
        if pause > 0:
            await asyncio.sleep(pause)
        self.require_open()
        return self.engine.begin(
            incoming_capacity=incoming_capacity, outgoing_window=outgoing_window
        )

    @contextlib.asynccontextmanager
    async def session(
        self, *, incoming_capacity: int, outgoing_window: int, timeout: float
    ) -> AsyncIterator[EngineSession]:
        """Have a session, begun as `begin` does, which is ended when it is not needed any more."""
        session = await self.begin(
            incoming_capacity=incoming_capacity, outgoing_window=outgoing_window, timeout=timeout
        )
        try:
            yield session
        finally:
            self.engine.end(session)
            if not self.is_ending:
                self.flush()

    # Waiting

    def time(self) -> float:
        """Return the event loop's time, in seconds."""
        return self._loop.time()

    def left(self, deadline: float) -> float:
        """Return the seconds until then, and a moment where none are left."""
        return max(deadline - self.time(), _MOMENT)

    async def until(self, asked: Callable[[], T | None], *, timeout: float | None = None) -> T:
        """Return what `asked` answers as soon as that is not None.

        `asked` looks at states and raises what ends the wait. `timeout` is in seconds; 0 looks
        once, None waits for ever. Raises `TimeoutError`, and `EndedError` when the connection has
        ended. Safe to cancel.
        """
        answer = asked()
        if answer is not None:
            return answer
        self.require_open()
        if timeout == 0:
            raise TimeoutError
        waiter = _Waiter(asked, self._loop.create_future())
        self._waiters.append(waiter)
        try:
            answered = waiter.answer
            found: T = await (answered if timeout is None else wheel.within(answered, timeout))
        finally:
            self._waiters.remove(waiter)
        return found

    def require_open(self) -> None:
        """Raise `EndedError` if an end has begun."""
        if self.is_ending:
            raise self.ended()

    def _changed(self) -> None:
        if self.on_change is not None:
            self.on_change()
        self._settle()

    def _settle(self) -> None:
        """Tell those who have what they waited for, or will never get it."""
        for waiter in tuple(self._waiters):
            if waiter.answer.done():
                continue
            try:
                answer = waiter.asked()
            except Exception as error:  # noqa: BLE001 - it belongs to whoever waits
                waiter.answer.set_exception(error)
                continue
            if answer is not None:
                waiter.answer.set_result(answer)
            elif self.is_ending or self._is_over:
                waiter.answer.set_exception(self.ended())

    # Signs of life

    def _tick(self) -> None:
        if self.line.is_ending:
            return
        due = self.engine.tick(self._loop.time())
        if due is None or (self._timer is not None and self._timer_at <= due):
            return
        self._stop_timer()
        self._timer_at = due
        self._timer = wheel.call_at(due, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self.flush()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # The end

    @property
    def lost_error(self) -> OSError | EOFError | None:
        """What reading failed with, if it did; an end of file is one, too."""
        if isinstance(self._lost, OSError | EOFError):
            return self._lost
        return EOFError() if self._lost is not None else None

    def ended(self) -> EndedError:
        """Return how the connection ended: what the peer said, else what we did, else the transport
        (R4.7).
        """
        engine = self.engine
        if engine.is_closed_by_peer:
            return EndedError(Origin.REMOTE, engine.remote_condition)
        if engine.has_closed and engine.fault is None:
            return EndedError(Origin.LOCAL, None)
        return EndedError(Origin.TRANSPORT, engine.fault)

    def end_info(self) -> CloseInfo:
        """Return how the connection ended, as far as the wire shows it."""
        engine = self.engine
        if self._has_failed:
            return CloseInfo(
                by=ClosedBy.CLIENT,
                reason=Reason.INTERNAL_ERROR,
                text="an internal error ended the connection; see Springline's log",
            )
        if engine.is_closed_by_peer:
            condition = engine.remote_condition
            text = conditions.shown(condition, self.veil)
            return conditions.when_open(condition, by=ClosedBy.SERVER, text=text)
        if engine.fault is not None and not self._is_plain_end(engine.fault):
            return self._fault_info(engine.fault)
        text = self._lost if isinstance(self._lost, str) else ""
        if isinstance(self._lost, BaseException):
            text = failures.os_text(self._lost)
        return CloseInfo(
            by=ClosedBy.TRANSPORT,
            reason=Reason.PEER_CLOSED,
            text=text or "the peer closed the connection without a word",
        )

    def _fault_info(self, fault: Condition) -> CloseInfo:
        if conditions.LOCAL_IDLE_TIMEOUT in fault.text:
            seconds = self._heartbeat_seconds
            return CloseInfo(
                by=ClosedBy.TRANSPORT,
                reason=Reason.HEARTBEAT_MISSED,
                text=_IDLE.format(2 * seconds, seconds),
            )
        is_flood = fault.name == conditions.TOO_MUCH
        return CloseInfo(
            by=ClosedBy.CLIENT,
            reason=Reason.FLOODED if is_flood else Reason.PROTOCOL_MISMATCH,
            text=conditions.shown(fault, self.veil),
        )

    @staticmethod
    def _is_plain_end(fault: Condition) -> bool:
        """Whether proton only says that the transport ended before a Close came."""
        return fault.name == conditions.FRAMING_ERROR and "aborted" in fault.text
