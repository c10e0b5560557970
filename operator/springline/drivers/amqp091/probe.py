"""The publish probe: one empty message on a kept channel, and the wait for its confirm.

Only a connection that publishes is told by RabbitMQ that it is blocked, so a session that wants to
know has to publish. The message goes where no queue is; the default exchange drops it.

This is a channel of its own, not aiormq's: that one costs a task for each connection, waits without
a limit in `open`, and complains about confirms that come late. aiormq's reader hands it frames
through `frames.put`, like to any channel.
"""

import asyncio
import enum
from typing import TYPE_CHECKING, cast

from pamqp import commands as spec
from pamqp.header import ContentHeader

from springline.drivers.amqp091 import replies
from springline.errors import NotOpenError, ProbeRefusedError

if TYPE_CHECKING:
    from aiormq.abc import AbstractChannel
    from pamqp.frame import FrameTypes

    from springline.drivers.amqp091.wire import WireConnection

__all__ = ["Probe"]

_CHANNEL = 1  # the only one we ever open

_NOT_IMPLEMENTED = 540


class _State(enum.Enum):
    CLOSED = "closed"  # there is no channel
    OPENING = "opening"  # Channel.Open and Confirm.Select are sent
    OPEN = "open"  # confirms are on
    CLOSING = "closing"  # Channel.Close is sent; the number is not free before Close-Ok


class Probe:
    """One connection's probe channel, opened when first needed. One probe runs at a time."""

    __slots__ = ("_answer", "_published", "_state", "_wire")

    def __init__(self, wire: "WireConnection") -> None:
        self._wire = wire
        self._state = _State.CLOSED
        self._published = 0
        self._answer: asyncio.Future[bool] | None = None

    async def run(self, *, exchange: str, routing_key: str, timeout: float) -> float | None:
        """Publish, and return the seconds until the confirm; None if blocked instead.

        Raises `ProbeRefusedError`, `NotOpenError`, and `TimeoutError` after `timeout` seconds,
        opening the channel included. Safe to cancel: a late confirm is recognised by its number.
        """
        if not self._wire.can_confirm:
            # Confirm.Select would end the whole connection (540).
            raise ProbeRefusedError(
                code=_NOT_IMPLEMENTED, text="the broker does not offer publisher confirms"
            )
        if self._answer is not None:
            raise RuntimeError("one probe at a time")
        try:
            async with asyncio.timeout(timeout):
                return await self._run(exchange, routing_key)
        except TimeoutError:
            self._give_up()
            raise

    def blocked(self) -> None:
        """End a wait: the broker has said that it does not take in what was published."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(False)

    def ended(self) -> None:
        """End a wait: the connection is ending."""
        self._state = _State.CLOSED
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NotOpenError())

    # The part of a channel that aiormq's reader calls

    @property
    def frames(self) -> "Probe":
        """Where aiormq's reader puts the channel's frames."""
        return self

    async def put(self, item: "tuple[int, FrameTypes]") -> None:
        """Take in a frame. Never waits."""
        _, frame = item
        match frame:
            case spec.Confirm.SelectOk() if self._state is _State.OPENING:
                self._state = _State.OPEN
                self._resolve()
            case spec.Basic.Ack() | spec.Basic.Nack() if self._state is _State.OPEN:
                # A nack is an answer too: the broker took the message in and could not keep it.
                if self._is_latest(frame):
                    self._resolve()
            case spec.Channel.CloseOk() if self._state is _State.CLOSING:
                self._state = _State.CLOSED
                self._resolve()
            case spec.Channel.Close():
                self._refused(frame)
            case _:
                pass  # late answers of a channel that was given up

    # Steps

    async def _run(self, exchange: str, routing_key: str) -> float | None:
        if self._wire.blocked is not None:
            return None
        while self._state is not _State.OPEN:
            if self._state is _State.CLOSED:
                self._open()
            if not await self._wait():
                return None
        self._wire.send(
            spec.Basic.Publish(exchange=exchange, routing_key=routing_key),
            ContentHeader(body_size=0, properties=spec.Basic.Properties(delivery_mode=1)),
            channel=_CHANNEL,
        )
        self._published += 1
        loop = asyncio.get_running_loop()
        started = loop.time()
        return loop.time() - started if await self._wait() else None

    def _open(self) -> None:
        self._register()
        self._published = 0
        self._state = _State.OPENING
        # Nothing has to be known of the first answer to ask the second question.
        self._wire.send(spec.Channel.Open(), spec.Confirm.Select(), channel=_CHANNEL)

    def _register(self) -> None:
        self._wire.channels[_CHANNEL] = cast("AbstractChannel", self)

    def _give_up(self) -> None:
        """Leave a channel that does not answer, unless a block explains why."""
        if self._wire.blocked is None and self._state in (_State.OPENING, _State.OPEN):
            self._state = _State.CLOSING
            self._wire.send(
                spec.Channel.Close(
                    reply_code=200, reply_text="probe timed out", class_id=0, method_id=0
                ),
                channel=_CHANNEL,
            )

    def _refused(self, frame: spec.Channel.Close) -> None:
        self._wire.send(spec.Channel.CloseOk(), channel=_CHANNEL)
        if self._state is _State.CLOSING:
            # Both closed at once; ours is still to be answered (AMQP 0-9-1, channel.close).
            # aiormq has taken the channel out because of theirs.
            self._register()
            return
        self._state = _State.CLOSED
        if self._answer is not None and not self._answer.done():
            code, text = frame.reply_code or 0, replies.cleaned(frame.reply_text)
            self._answer.set_exception(
                ProbeRefusedError(
                    code=code, text=text, says_expired=replies.says_expired(code, text)
                )
            )

    def _is_latest(self, frame: spec.Basic.Ack | spec.Basic.Nack) -> bool:
        tag = frame.delivery_tag or 0
        # With `multiple`, 0 is all there are (AMQP 0-9-1, basic.ack).
        return tag == self._published or (frame.multiple and (tag == 0 or tag > self._published))

    async def _wait(self) -> bool:
        """Wait for the next answer: True when it came, False when blocked instead."""
        self._answer = asyncio.get_running_loop().create_future()
        try:
            return await self._answer
        finally:
            self._answer = None

    def _resolve(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(True)
