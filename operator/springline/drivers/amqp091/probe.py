"""The publish probe: one empty message on a kept channel, and the wait for its confirm.

Only a connection that publishes is told by RabbitMQ that it is blocked, so a session that wants to
know has to publish. The message goes where no queue is, and the broker drops it; or into a queue of
the connection's own, which is there for nothing else and holds one message at most.

The first probe is one write: nothing has to be known of the channel to publish on it.
"""

import asyncio
import enum
import functools
import secrets
from typing import TYPE_CHECKING, Final

from pamqp import commands as spec
from pamqp.header import ContentHeader

from springline import wheel
from springline.drivers.amqp091 import frames, replies
from springline.drivers.shared import peer_text
from springline.errors import NotOpenError

if TYPE_CHECKING:
    from pamqp.common import FieldValue
    from pamqp.frame import FrameTypes

    from springline.drivers.amqp091.wire import WireConnection

__all__ = ["PROBE_CHANNEL", "Probe"]

PROBE_CHANNEL: Final = 1
"""The only one that is ever opened."""

_NOT_IMPLEMENTED = 540

_PREFIX_BYTES = 200
"""Of a queue's name, which may have 255."""

_QUEUE_ARGUMENTS: "Final[dict[str, FieldValue]]" = {
    # Where the virtual host's default is another type, which takes no exclusive queues.
    "x-queue-type": "classic",
    "x-max-length": 1,
    "x-overflow": "drop-head",
}


# pamqp takes only some ASCII characters in names, and brokers take any.


class _Publish(spec.Basic.Publish):
    def validate(self) -> None:
        """Take any name."""


class _Declare(spec.Queue.Declare):
    def validate(self) -> None:
        """Take any name."""


class _Delete(spec.Queue.Delete):
    def validate(self) -> None:
        """Take any name."""


# Nothing has to be known of the first answer to ask the second question.
_OPENING: Final = frames.marshalled(
    spec.Channel.Open(), spec.Confirm.Select(), channel=PROBE_CHANNEL
)


def _message(exchange: str, routing_key: str, lifetime: float | None, *, mandatory: bool) -> bytes:
    # In milliseconds, as a text (RabbitMQ, per-message TTL).
    expiration = None if lifetime is None else str(int(lifetime * 1000))
    properties = spec.Basic.Properties(delivery_mode=1, expiration=expiration)
    return frames.marshalled(
        _Publish(exchange=exchange, routing_key=routing_key, mandatory=mandatory),
        ContentHeader(body_size=0, properties=properties),
        channel=PROBE_CHANNEL,
    )


# Thousands of connections publish the same, again and again.
_shared_message = functools.lru_cache(maxsize=256)(_message)


class _State(enum.Enum):
    CLOSED = "closed"  # there is no channel
    OPENING = "opening"  # Channel.Open and Confirm.Select are sent
    OPEN = "open"  # confirms are on
    DECLARING = "declaring"  # Queue.Declare is sent
    CLOSING = "closing"  # Channel.Close is sent; the number is not free before Close-Ok


_IN_USE: Final = frozenset({_State.OPENING, _State.OPEN, _State.DECLARING})


class Probe:
    """One connection's probe channel, opened when first needed. One probe runs at a time."""

    __slots__ = (
        "_answer",
        "_can_confirm",
        "_deadline",
        "_declaring",
        "_is_ahead",
        "_published",
        "_queue",
        "_state",
        "_suffix",
        "_wire",
    )

    def __init__(self, wire: "WireConnection", *, can_confirm: bool) -> None:
        self._wire = wire
        self._can_confirm = can_confirm
        self._state = _State.CLOSED
        self._published = 0
        self._is_ahead = False
        """Whether a message was sent before the channel was known to be open."""
        self._deadline = 0.0
        self._suffix = secrets.token_hex(8)  # the connection that takes its place has another one
        self._declaring = ""
        self._queue: str | None = None
        """The queue that there is. It outlives its channel, and ends with the connection."""
        self._answer: asyncio.Future[bool] | None = None

    async def run(
        self,
        *,
        exchange: str,
        routing_key: str,
        own_queue: bool,
        lifetime: float | None,
        timeout: float,
    ) -> float | None:
        """Publish, and return the seconds until the confirm; None if blocked instead.

        With `own_queue`, into a queue whose name begins with the routing key. The message expires
        after `lifetime` seconds.

        Raises `ProbeRefusedError`, `NotOpenError`, and `TimeoutError` after `timeout` seconds,
        opening the channel included. Safe to cancel: a late confirm is recognised by its number.
        """
        if not self._can_confirm:
            # Confirm.Select would end the whole connection (540).
            raise replies.probe_refused(
                _NOT_IMPLEMENTED, "the broker does not offer publisher confirms"
            )
        if self._answer is not None:
            raise RuntimeError("one probe at a time")
        self._deadline = asyncio.get_running_loop().time() + timeout
        try:
            if own_queue:
                return await self._run("", self._name(routing_key), lifetime, is_own=True)
            return await self._run(exchange, routing_key, lifetime, is_own=False)
        except TimeoutError:
            self._give_up()
            raise

    @property
    def is_waiting(self) -> bool:
        """Whether an answer of the broker is due."""
        return self._answer is not None and not self._answer.done()

    def blocked(self) -> None:
        """End a wait: the broker has said that it does not take in what was published."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(False)

    def ended(self) -> None:
        """End a wait: the connection is ending."""
        self._state = _State.CLOSED
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(NotOpenError())

    def take_in(self, frame: "FrameTypes") -> None:
        """Take in a frame of the channel."""
        match frame:
            case _ if self._state is _State.CLOSED:
                pass  # late
            case spec.Confirm.SelectOk() if self._state is _State.OPENING:
                self._state = _State.OPEN
                if not self._is_ahead:
                    self._resolve()
            case spec.Queue.DeclareOk() if self._state is _State.DECLARING:
                self._state = _State.OPEN
                self._queue = self._declaring
                self._resolve()
            case spec.Basic.Return():
                # Somebody has deleted the queue. The confirm follows, and the next probe declares
                # it again.
                self._queue = None
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

    async def _run(
        self, exchange: str, routing_key: str, lifetime: float | None, *, is_own: bool
    ) -> float | None:
        if self._wire.blocked is not None:
            return None
        if self._state is _State.CLOSED and self._queue is None and not is_own:
            # Nothing has to be known of the channel to publish on it.
            first = _shared_message(exchange, routing_key, lifetime, mandatory=False)
            self._begin()
            return await self._publish(_OPENING + first, is_ahead=True)
        queue = routing_key if is_own else None
        while self._state is not _State.OPEN or self._queue != queue:
            if self._state is _State.CLOSED:
                self._open()
            elif self._state is _State.OPEN:
                if self._queue is not None:
                    self._delete(self._queue)
                    continue
                self._declare(routing_key)
            if not await self._wait():
                return None
        # Returned is only what its own queue should have got. Its name is that queue's alone.
        message = _message if is_own else _shared_message
        return await self._publish(message(exchange, routing_key, lifetime, mandatory=is_own))

    async def _publish(self, octets: bytes, *, is_ahead: bool = False) -> float | None:
        self._published += 1
        loop = asyncio.get_running_loop()
        started = loop.time()
        self._wire.send_on_channel(octets)
        self._is_ahead = is_ahead
        try:
            return loop.time() - started if await self._wait() else None
        finally:
            self._is_ahead = False

    def _open(self) -> None:
        self._begin()
        self._wire.send_on_channel(_OPENING)

    def _begin(self) -> None:
        self._published = 0
        self._state = _State.OPENING

    def _name(self, prefix: str) -> str:
        prefix = prefix.encode()[:_PREFIX_BYTES].decode(errors="ignore")
        return f"{prefix}.{self._suffix}"

    def _declare(self, queue: str) -> None:
        self._declaring = queue
        self._state = _State.DECLARING
        self._wire.send(
            _Declare(
                queue=queue, exclusive=True, auto_delete=True, arguments=dict(_QUEUE_ARGUMENTS)
            ),
            channel=PROBE_CHANNEL,
        )

    def _delete(self, queue: str) -> None:
        self._queue = None
        self._wire.send(_Delete(queue=queue, nowait=True), channel=PROBE_CHANNEL)

    def _give_up(self) -> None:
        """Leave a channel that does not answer, unless a block explains why."""
        if self._wire.blocked is None and self._state in _IN_USE:
            self._state = _State.CLOSING
            self._wire.send(
                spec.Channel.Close(
                    reply_code=200, reply_text="probe timed out", class_id=0, method_id=0
                ),
                channel=PROBE_CHANNEL,
            )

    def _refused(self, frame: spec.Channel.Close) -> None:
        self._wire.send(spec.Channel.CloseOk(), channel=PROBE_CHANNEL)
        if self._state is _State.CLOSING:
            # Both closed at once; ours is still to be answered (AMQP 0-9-1, channel.close).
            return
        self._state = _State.CLOSED
        if self._answer is not None and not self._answer.done():
            code, text = frame.reply_code or 0, peer_text.cleaned(frame.reply_text)
            shown = replies.shown(frame.reply_text, self._wire.veil)
            self._answer.set_exception(replies.probe_refused(code, text, shown=shown))

    def _is_latest(self, frame: spec.Basic.Ack | spec.Basic.Nack) -> bool:
        tag = frame.delivery_tag or 0
        # With `multiple`, 0 is all there are (AMQP 0-9-1, basic.ack).
        return tag == self._published or (frame.multiple and (tag == 0 or tag > self._published))

    async def _wait(self) -> bool:
        """Wait for the next answer: True when it came, False when blocked instead."""
        self._answer = asyncio.get_running_loop().create_future()
        left = self._deadline - asyncio.get_running_loop().time()
        try:
            return await wheel.within(self._answer, left)
        finally:
            self._answer = None

    def _resolve(self) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(True)
