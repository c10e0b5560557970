"""`core.ports.Connection` for AMQP 0-9-1: blocked, update-secret, closing, and how it ended.

It has no task of its own. What arrives is told by the wire; what is asked is sent at once, and
waited for under a time-out.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Mapping

from pamqp import commands as spec
from pamqp.constants import REPLY_SUCCESS
from pamqp.frame import FrameTypes

from springline import wheel
from springline.core.ports import ConnectionObserver
from springline.core.values import Block, ClosedBy, CloseInfo, Credential, OpenInfo
from springline.drivers.amqp091 import lengths, replies
from springline.drivers.amqp091.errors import BlockedSecretUpdateError
from springline.drivers.amqp091.mechanisms import RawText
from springline.drivers.amqp091.probe import PROBE_CHANNEL, Probe
from springline.drivers.amqp091.probe_target import Amqp091ProbeTarget
from springline.drivers.amqp091.replies import Close
from springline.drivers.amqp091.wire import Listener, WireConnection
from springline.drivers.shared.line import CLOSE_GRACE
from springline.errors import (
    NotOpenError,
    ProbeRefusedError,
    SecretNotSentError,
    SecretUpdateTimeoutError,
)
from springline.reasons import Reason
from springline.veil import Veil

__all__ = ["Amqp091Connection"]

_CONNECTION_FORCED = 320
_NO_EXTENSIONS = "the broker has none of RabbitMQ's extensions, and update-secret is one of them"


class Amqp091Connection(Listener):
    """One open AMQP 0-9-1 connection."""

    __slots__ = (
        "_can_confirm",
        "_closed_by_us",
        "_frame_max",
        "_has_extensions",
        "_info",
        "_observer",
        "_over",
        "_probe",
        "_probe_cost",
        "_probe_target",
        "_secret_answer",
        "_secret_unanswered",
        "_veil",
        "_wire",
    )

    def __init__(
        self,
        wire: WireConnection,
        info: OpenInfo,
        *,
        frame_max: int,
        can_confirm: bool,
        has_extensions: bool,
        veil: Veil,
    ) -> None:
        self._wire = wire
        self._veil = veil
        self._info = info
        self._frame_max = frame_max
        self._can_confirm = can_confirm
        self._has_extensions = has_extensions
        self._observer: ConnectionObserver | None = None
        self._probe: Probe | None = None
        self._probe_target: Amqp091ProbeTarget | None = None
        self._probe_cost = ""
        """Why the broker ended the connection, if it was because of a probe."""
        self._closed_by_us: CloseInfo | None = None
        self._over: asyncio.Future[None] | None = None
        self._secret_answer: asyncio.Future[None] | None = None
        self._secret_unanswered = False
        wire.listener = self

    @property
    def info(self) -> OpenInfo:
        """What was negotiated, with whom."""
        return self._info

    @property
    def is_open(self) -> bool:
        """True until a close begins, on either side (R2.5)."""
        return self._closed_by_us is None and not self._wire.is_ending

    @property
    def blocked(self) -> Block | None:
        """Why, while the broker blocks this connection; else None."""
        text = self._wire.blocked if self.is_open else None
        return replies.block(text) if text is not None else None

    @property
    def cannot_renew(self) -> str:
        """Why, where the broker has none of the extensions of which update-secret is one.

        Qpid Broker-J hangs up on it without a word, which would cost the session its connection.
        Every other broker is asked; one without update-secret answers with a Close.
        """
        return "" if self._has_extensions else _NO_EXTENSIONS

    def observe(self, observer: ConnectionObserver) -> None:
        """Name the one observer. What happened before is told at once."""
        self._observer = observer
        block = self.blocked
        if block is not None:
            observer.connection_blocked(self, block)
        if self._wire.is_over:
            self._tell_closed()

    async def probe(
        self, target: Amqp091ProbeTarget, *, lifetime: float | None = None, timeout: float
    ) -> float | None:
        """Publish one message and return the seconds until it was confirmed, None if blocked.

        With `own_queue`, into a queue that is the connection's own, ends with it, never holds more
        than one message, and is made again when somebody has deleted it.
        """
        self._require_open()
        if self._probe is None:
            self._probe = Probe(self._wire, can_confirm=self._can_confirm)
        self._probe_target = target
        try:
            return await self._probe.run(
                exchange=target.exchange,
                routing_key=target.routing_key,
                own_queue=target.own_queue,
                lifetime=lifetime,
                timeout=timeout,
            )
        except ProbeRefusedError as error:
            raise target.judged(error) from None

    async def renew(self, credential: Credential, *, timeout: float) -> None:
        """Renew the secret in place; returns at update-secret-ok (R1.12, R1.13).

        Raises `SecretNotSentError` for what cannot be sent, before anything is.
        """
        self._require_open()
        if self._secret_unanswered:
            raise SecretUpdateTimeoutError(seconds=timeout)
        if self._wire.blocked is not None:
            # The broker has stopped reading. The answer would come when the alarm clears, and
            # could be taken for that of a later renewal: there are no request ids.
            raise BlockedSecretUpdateError(seconds=timeout)
        if self._secret_answer is not None:
            raise RuntimeError("one update-secret at a time")
        self._veil.note(credential.secret)
        self._send_secret(credential.secret.reveal().encode())
        answer = self._secret_answer = asyncio.get_running_loop().create_future()
        try:
            await wheel.within(answer, timeout)
        except TimeoutError:
            self._secret_unanswered = True
            raise SecretUpdateTimeoutError(seconds=timeout) from None
        finally:
            self._secret_unanswered = self._secret_unanswered or answer.cancelled()
            self._secret_answer = None

    @property
    def close_codes(self) -> Mapping[str, int]:
        """The reply code of an orderly end; no method is at fault."""
        return Close(code=REPLY_SUCCESS, text="").codes

    async def close(
        self, *, code: int = REPLY_SUCCESS, text: str = "", timeout: float = 3.0
    ) -> None:
        """Send Close, wait for Close-Ok at most `timeout` seconds, release (R1.8, R1.9)."""
        self._require_open()
        self._begin_end(Close(code=code, text=text), text)
        # Frames of a block may still be unread; Close is the last thing we say.
        self._wire.send(
            spec.Connection.Close(reply_code=code, reply_text=_short(text), class_id=0, method_id=0)
        )
        try:
            await self._wait_over(timeout)
        except TimeoutError:
            await self._drop()
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self) -> None:
        """Drop the transport at once. Idempotent."""
        self._begin_end(None, "dropped")
        self._wire.line.abort()

    # What the wire tells

    def on_blocked(self) -> None:
        """Pass a block, or its end, on."""
        text = self._wire.blocked
        if text is not None and self._probe is not None:
            self._probe.blocked()
        if self._observer is None or not self.is_open:
            return
        if text is None:
            self._observer.connection_unblocked(self)
        else:
            self._observer.connection_blocked(self, replies.block(text))

    def on_channel_frame(self, channel: int, frame: FrameTypes) -> None:
        """Hand it to the probe, whose channel is the only one there is."""
        if channel == PROBE_CHANNEL and self._probe is not None:
            self._probe.take_in(frame)

    def on_ending(self) -> None:
        """Fail what waits: nothing will be answered any more."""
        close = self._wire.closed_by_server
        if self._probe is not None:
            self._note_probe_cost(self._probe, close)
            self._probe.ended()
        answer = self._secret_answer
        if answer is None or answer.done():
            return
        # 320 is somebody else's decision, a shutdown for example; it says nothing of the secret.
        if close is None or close.code == _CONNECTION_FORCED:
            answer.set_exception(NotOpenError())
        else:
            answer.set_exception(replies.secret_refused(close))

    def on_secret_updated(self) -> None:
        """Take in the answer; a late one meets nobody."""
        if self._secret_answer is not None and not self._secret_answer.done():
            self._secret_answer.set_result(None)

    def on_over(self) -> None:
        """Tell the end, once."""
        if self._over is not None and not self._over.done():
            self._over.set_result(None)
        self._tell_closed()

    # Steps

    def _require_open(self) -> None:
        if not self.is_open:
            raise NotOpenError

    def _send_secret(self, secret: bytes) -> None:
        if not secret:
            raise SecretNotSentError("this credential has no secret")
        limit = lengths.secret_limit(self._frame_max)
        if limit is not None and len(secret) > limit:
            # A frame cannot be split, and one that is too long ends the connection (501).
            raise SecretNotSentError(
                f"it has {len(secret)} bytes, and a frame of this connection holds {limit}"
                f" (frame-max is {self._frame_max})"
            )
        self._wire.send(
            spec.Connection.UpdateSecret(new_secret=RawText(secret), reason=lengths.UPDATE_REASON)
        )

    def _note_probe_cost(self, probe: Probe, close: Close | None) -> None:
        target = self._probe_target
        if close is None or target is None or self._closed_by_us is not None:
            return
        if replies.blames_probe(close, is_waiting=probe.is_waiting):
            self._probe_cost = target.cost(close)

    def _begin_end(self, close: Close | None, text: str) -> None:
        """Note that we end it, with a Close frame or without a word."""
        if not self.is_open:
            return
        self._closed_by_us = CloseInfo(
            by=ClosedBy.CLIENT,
            reason=Reason.CLIENT_CLOSED,
            text=text,
            codes=close.codes if close is not None else {},
        )
        self.on_ending()

    async def _wait_over(self, seconds: float) -> None:
        if not self._wire.is_over:
            self._over = asyncio.get_running_loop().create_future()
            await wheel.within(self._over, seconds)

    async def _drop(self) -> None:
        self.abort()
        with contextlib.suppress(TimeoutError):
            await self._wait_over(CLOSE_GRACE)

    def _tell_closed(self) -> None:
        observer, self._observer = self._observer, None
        if observer is None:
            return
        info = self._closed_by_us or self._wire.end_info()
        observer.connection_closed(self, dataclasses.replace(info, probe_refused=self._probe_cost))


def _short(text: str) -> str:
    """Cut a text to what a short string holds."""
    return text.encode()[: lengths.MAX_SHORT_STRING].decode("utf-8", "ignore")
