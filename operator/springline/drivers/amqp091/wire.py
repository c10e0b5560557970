"""aiormq's connection, with the parts replaced that lose or hide what Springline reports.

It depends on private parts of the 7.2 release line of aiormq, which pyproject.toml pins; every
override says which part it replaces and why. It decides nothing: what a Close means is in
replies.py, what is negotiated in mechanisms.py, tuning.py and greeting.py.

How an end runs: whatever happens, the transport is ended or dropped first. Then aiormq's reader
and writer find it closing and stop by themselves, without the waits that aiormq has for peers that
still answer; `over` is told once both the tasks and the socket are gone.
"""

import asyncio
import logging
import math
from collections.abc import Coroutine
from typing import Any

import aiormq
from aiormq.abc import TaskType
from aiormq.connection import FrameReceiver
from pamqp import commands as spec
from pamqp import frame as pamqp_frame
from pamqp.base import Frame
from pamqp.constants import REPLY_SUCCESS
from pamqp.heartbeat import Heartbeat
from yarl import URL

from springline.core.values import ClosedBy, CloseInfo, OpenRequest
from springline.drivers.amqp091 import errors, greeting, mechanisms, objections, replies, tuning
from springline.drivers.amqp091.errors import HandshakeProgress, HandshakeStep
from springline.drivers.amqp091.frame_reader import FrameReader
from springline.drivers.amqp091.lengths import FRAME_OVERHEAD, Login
from springline.drivers.amqp091.mechanisms import Exchange
from springline.drivers.amqp091.negotiated import Amqp091ServerInfo
from springline.drivers.amqp091.objections import Rules
from springline.drivers.amqp091.parameters import Amqp091Parameters
from springline.drivers.amqp091.replies import Close
from springline.drivers.amqp091.tuning import Limits
from springline.drivers.shared import hints, peer_text, sasl
from springline.drivers.shared.line import Line
from springline.reasons import Reason

__all__ = ["Attempt", "Listener", "WireConnection"]

# aiormq logs frames with their payload at DEBUG, which shows passwords and tokens, and repeats at
# WARNING and ERROR what we report with our own words. Nothing of it may reach a handler, whatever
# level somebody sets on the root logger. pamqp has loggers of its own.
for _quiet in map(logging.getLogger, ("aiormq", "pamqp")):
    _quiet.setLevel(logging.CRITICAL + 1)
    _quiet.propagate = False
    _quiet.addHandler(logging.NullHandler())

# aiormq takes its settings from a URL. Ours are in the request, and secrets in no URL at all.
_URL = URL("amqp://broker:5672?heartbeat=0")

_CLOSE_OK = pamqp_frame.marshal(spec.Connection.CloseOk(), 0)

_NO_PROPERTIES: dict[str, Any] = {"capabilities": {}}

# AMQP 0-9-1 §4.2.7: "If a peer detects no incoming traffic (i.e. received octets) for two heartbeat
# intervals or longer, it should close the connection".
_GRACE_HEARTBEATS = 2


class Listener:
    """Who is told what happens on an open connection. Calls must return at once."""

    __slots__ = ()

    def on_blocked(self) -> None:
        """Handle that the connection was blocked, or unblocked; `WireConnection.blocked` says."""

    def on_ending(self) -> None:
        """Handle that an end has begun."""

    def on_secret_updated(self) -> None:
        """Handle an update-secret-ok."""

    def on_over(self) -> None:
        """Handle that everything is gone, once."""


class Attempt:
    """One open handshake: what it is asked, and what it finds. Has the credential, so it goes."""

    server: Amqp091ServerInfo
    locale: str
    exchange: Exchange
    # The three above are known from Start on, the limits from Tune on.
    limits: Limits

    def __init__(
        self, request: OpenRequest[Amqp091Parameters], progress: HandshakeProgress
    ) -> None:
        self.request = request
        self.progress = progress
        self.properties = greeting.client_properties(request.parameters)


class _Connected(aiormq.TransportFactory):
    """Gives aiormq a line that is connected already."""

    def __init__(self, line: Line[FrameReader]) -> None:
        self._line = line

    async def create(
        self,
        url: URL,  # noqa: ARG002 - aiormq's; where the line goes is decided
        **kwargs: Any,  # noqa: ARG002 - aiormq's own idea of TLS
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return self._line.reader, self._line.writer


class _Login:
    """What aiormq expects `_credentials_class` to return: a name, and a value that marshals."""

    __slots__ = ("_exchange", "name")

    def __init__(self, exchange: Exchange) -> None:
        self.name = exchange.name
        self._exchange = exchange

    def value(self, _connection: aiormq.Connection) -> "_Login":
        return self

    def marshal(self) -> str:
        return self._exchange.initial()


class WireConnection(aiormq.Connection):
    """A connection for one attempt; aiormq cannot use an object twice."""

    def __init__(self, line: Line[FrameReader], attempt: Attempt) -> None:
        super().__init__(_URL, transport_factory=_Connected(line))
        self.line = line
        self.vhost = attempt.request.parameters.virtual_host
        self.listener: Listener | None = None
        self.blocked: str | None = None
        self.closed_by_server: Close | None = None
        self.can_confirm = False
        self.objection: Close | None = None
        """What we have said of what the peer sent."""
        self.is_over = False
        """Whether the tasks and the socket are gone."""
        self._attempt = attempt
        self._task_name = f"amqp091/{attempt.request.parameters.connection_name}"
        self._heartbeat_lost = False
        self._is_closing = False
        self._rules = Rules()

    @property
    def is_ending(self) -> bool:
        """Whether an end has begun, on either side."""
        return self.line.is_ending or self._reader_task.done()

    async def establish(self) -> None:
        """Do the open handshake. Raises foreign exceptions and `ConnectError`s.

        On any exception the socket is released before it leaves.
        """
        try:
            await self.connect()
        except BaseException:
            # A cancellation can meet a `connect` that has just succeeded, tasks and all.
            self.line.abort()
            await self.line.wait_lost()
            raise
        capabilities = self.server_properties.get("capabilities")
        self.can_confirm = isinstance(capabilities, dict) and bool(
            capabilities.get("publisher_confirms")
        )
        # What is not needed again goes: the credential, and a kilobyte of the server's prose.
        del self._attempt
        self.server_properties = _NO_PROPERTIES
        self.line.on_lost(self._check_over)
        self._closing.add_done_callback(self._check_over)
        self._check_over()

    def send(
        self, frame: pamqp_frame.FrameTypes, *more: pamqp_frame.FrameTypes, channel: int = 0
    ) -> int:
        """Send frames at once, and return how many octets they have.

        Not through aiormq's queue: nobody empties it once the writer has stopped, so that a `put`
        can wait for ever.
        """
        if channel != 0:
            self._rules.opened(channel)
        if isinstance(frame, spec.Connection.Close):
            # All but Close and Close-Ok is dropped from here on.
            self._is_closing, self.line.reader.check = True, None
        data = b"".join(pamqp_frame.marshal(each, channel) for each in (frame, *more))
        self.line.write(data)
        return len(data)

    def end_info(self) -> CloseInfo:
        """Return how the connection ended, as far as the wire shows it."""
        if self.closed_by_server is not None:
            return replies.when_open(self.closed_by_server)
        if self.objection is not None:
            return errors.objected(self.objection)
        if self._heartbeat_lost:
            return CloseInfo(
                by=ClosedBy.TRANSPORT,
                reason=Reason.HEARTBEAT_MISSED,
                text=f"nothing was heard for {_GRACE_HEARTBEATS * self.heartbeat_timeout} s,"
                f" two heartbeats of {self.heartbeat_timeout} s",
            )
        error = None if self._reader_task.cancelled() else self._reader_task.exception()
        return errors.lost(error)

    # What aiormq calls before and in its `connect`

    def create_task(self, coro: Coroutine[Any, None, Any]) -> TaskType:
        """Replace `Base.create_task` to name the tasks, which all-tasks dumps then tell apart."""
        task = super().create_task(coro)
        task.set_name(self._task_name)
        return task

    def _credentials_class(  # type: ignore[override]  # aiormq's enum has no third mechanism
        self, start_frame: spec.Connection.Start
    ) -> _Login:
        """Replace aiormq's choice, which is by URL and knows PLAIN and EXTERNAL only.

        It is also the one place that sees Start, so everything in Start is read here (R1.1).
        """
        attempt = self._attempt
        request = attempt.request
        version = (start_frame.version_major, start_frame.version_minor)
        if version != (0, 9):
            raise errors.mismatch(f"a Connection.Start of version {version[0]}-{version[1]}")
        attempt.server = greeting.server_info(
            start_frame.server_properties,
            mechanisms=start_frame.mechanisms,
            locales=start_frame.locales,
        )
        attempt.locale = greeting.choose_locale(request.parameters.locale, attempt.server.locales)
        name = sasl.choose(
            mechanisms.TABLE,
            request.parameters.sasl,
            attempt.server.mechanisms,
            request.credential,
            request.tls,
        )
        attempt.exchange = mechanisms.start(name, request.credential)
        return _Login(attempt.exchange)

    def _client_properties(self, **kwargs: Any) -> dict[str, Any]:  # noqa: ARG002 - aiormq's
        """Replace aiormq's own name, version and capabilities by ours (R1.2)."""
        return {**self._attempt.properties, "capabilities": greeting.CAPABILITIES}

    async def _rpc(  # type: ignore[override]  # a static method there; called as self._rpc only
        self,
        request: Frame,
        writer: asyncio.StreamWriter,  # noqa: ARG002 - aiormq's; it is the line's
        frame_receiver: FrameReceiver,
        wait_response: bool = True,  # noqa: ARG002 - aiormq's; the request says it
    ) -> pamqp_frame.FrameTypes | None:
        """Replace the steps of the open handshake.

        aiormq loses the code and text of a Close, does not answer it, does not answer Secure,
        always asks for the locale en_US, takes every limit as proposed, and takes a heartbeat that
        comes before Open-Ok for an error.
        """
        attempt = self._attempt
        match request:
            case spec.Connection.StartOk():
                return await self._log_in(request, attempt, frame_receiver)
            case spec.Connection.Open():
                self.send(request)
                try:
                    frame = await self._await_open_ok(attempt, frame_receiver)
                except Exception as error:
                    # Before Open, a peer that detects an error closes the socket without sending
                    # any further data (AMQP 0-9-1 §2.2.4).
                    if self._object(error):
                        self.line.end()
                    raise
                self.line.reader.check = self._rules.find
                return frame
            case _:
                # Tune-Ok, which nothing answers.
                self.send(request)
                return None

    # The steps of the open handshake

    async def _log_in(
        self, request: spec.Connection.StartOk, attempt: Attempt, receiver: FrameReceiver
    ) -> spec.Connection.Tune:
        request.locale = attempt.locale
        attempt.progress.step = HandshakeStep.LOGIN
        frame = await self._respond(request, attempt, receiver)
        while isinstance(frame, spec.Connection.Secure):
            more = spec.Connection.SecureOk(response=attempt.exchange.respond())
            frame = await self._respond(more, attempt, receiver)
        if not isinstance(frame, spec.Connection.Tune):
            raise errors.unexpected_frame(_name(frame), "Connection.Tune")
        self._tune(frame, attempt)
        attempt.progress.step = HandshakeStep.OPEN
        return frame

    async def _await_open_ok(
        self, attempt: Attempt, receiver: FrameReceiver
    ) -> spec.Connection.OpenOk:
        frame = await self._receive(attempt, receiver)
        if not isinstance(frame, spec.Connection.OpenOk):
            raise errors.unexpected_frame(_name(frame), "Connection.OpenOk")
        return frame

    async def _respond(
        self,
        request: spec.Connection.StartOk | spec.Connection.SecureOk,
        attempt: Attempt,
        receiver: FrameReceiver,
    ) -> pamqp_frame.FrameTypes:
        response = request.response
        attempt.progress.login = Login(
            server=attempt.server,
            octets=self.send(request) - FRAME_OVERHEAD,
            response_octets=0 if response is None else len(response.encode()),
        )
        return await self._receive(attempt, receiver)

    def _tune(self, frame: spec.Connection.Tune, attempt: Attempt) -> None:
        """Negotiate, and write the result where aiormq reads it: the frame and its own fields."""
        parameters = attempt.request.parameters
        limits = tuning.negotiate(
            proposed=Limits(
                channel_max=frame.channel_max,
                frame_max=frame.frame_max,
                heartbeat_seconds=frame.heartbeat,
            ),
            declared=Limits(
                channel_max=parameters.channel_max,
                frame_max=parameters.frame_max,
                heartbeat_seconds=parameters.heartbeat_seconds,
            ),
        )
        attempt.limits = limits
        frame.channel_max = limits.channel_max
        frame.frame_max = limits.frame_max
        # aiormq sends Tune-Ok, and beats, by this one.
        self.heartbeat_timeout = limits.heartbeat_seconds
        # Replaces (heartbeat + 1) * HEARTBEAT_GRACE_MULTIPLIER, computed before anything is known.
        # Infinite without heartbeats, or a connection that is merely quiet counts as stuck.
        self._Connection__heartbeat_grace_timeout = (
            _GRACE_HEARTBEATS * limits.heartbeat_seconds or math.inf
        )
        self.line.reader.limit_frames(limits.frame_max)

    async def _receive(self, attempt: Attempt, receiver: FrameReceiver) -> pamqp_frame.FrameTypes:
        """Return the next frame that is neither a heartbeat nor a Close.

        A Close is answered and raised as what it means (R1.8, R1.9).
        """
        while True:
            _, _, frame = await receiver.get_frame()
            match frame:
                case Heartbeat():
                    # Tune-Ok starts the broker's clock; opening a virtual host can take longer.
                    self.send(frame)
                case spec.Connection.Close():
                    self.send(spec.Connection.CloseOk())
                    self.line.end()
                    raise replies.at_open(
                        _close(frame),
                        authenticated=attempt.progress.authenticated,
                        hint=hints.on_refused_login(
                            attempt.request.credential, attempt.progress.address
                        ),
                    )
                case _:
                    return frame

    # What aiormq calls on an open connection

    async def _Connection__handle_close(self, frame: spec.Connection.Close) -> None:  # noqa: N802 - the mangled name
        """Replace the answer to a Close, which aiormq leaves to a writer it then cancels (R2.6).

        Close-Ok leaves before the end begins, and the codes are kept; aiormq turns them into an
        exception without the class and method.
        """
        self.closed_by_server = _close(frame)
        self.send(spec.Connection.CloseOk())
        self._end()
        raise aiormq.ConnectionClosed(self.closed_by_server.code, self.closed_by_server.text)

    async def _Connection__handle_close_ok(self, _: spec.Connection.CloseOk) -> None:  # noqa: N802 - as above
        """Add the end of the transport: Close-Ok is the last frame there is (R1.9)."""
        self._end()

    async def _Connection__handle_connection_blocked(  # noqa: N802 - as above
        self, frame: spec.Connection.Blocked
    ) -> None:
        """Add that somebody is told; aiormq keeps it in a private event (R1.10)."""
        self.blocked = peer_text.cleaned(frame.reason) or "no reason given"
        if self.listener is not None:
            self.listener.on_blocked()

    async def _Connection__handle_connection_unblocked(  # noqa: N802 - as above
        self, _: spec.Connection.Unblocked
    ) -> None:
        """Add that somebody is told (R1.11)."""
        self.blocked = None
        if self.listener is not None:
            self.listener.on_blocked()

    async def _Connection__handle_channel_update_secret_ok(  # noqa: N802 - as above
        self, _: spec.Connection.UpdateSecretOk
    ) -> None:
        """Replace aiormq's future, which nobody fails when the peer goes away (R1.13)."""
        if self.listener is not None:
            self.listener.on_secret_updated()

    def _on_reader_done(self, task: "asyncio.Task[Any]") -> None:
        """Add that the transport ends first: nothing will be read from it again.

        aiormq would send a Close to a peer that is gone and wait for the answer.
        """
        self._heartbeat_lost = task.cancelled() and self.is_connection_was_stuck
        if not task.cancelled() and self._object(task.exception()):
            self.line.linger()
            self.line.reader.seek(_CLOSE_OK, self.line.end)
        if not self.line.is_ending:
            self.line.abort()
        if self.listener is not None:
            self.listener.on_ending()
        super()._on_reader_done(task)

    @staticmethod
    def _Connection__check_writer(writer: asyncio.StreamWriter) -> bool:  # noqa: ARG004, N802 - as above
        """Replace the question whether a cancelled writer may send a Close: we send ours."""
        return False

    async def _Connection__close_writer(  # noqa: N802 - as above
        self,
        writer: asyncio.StreamWriter,  # noqa: ARG002 - it is the line's
    ) -> None:
        """Replace an unbounded wait: for TLS to say goodbye, or for a peer that does not read.

        aiormq waits here in a failed or cancelled `connect` too, in the middle of our deadline.
        """
        if not self.line.is_ending:
            self.line.abort()
        await self.line.wait_lost()

    def _object(self, error: BaseException | None) -> bool:
        """Say by a Close what the peer sent that reading has failed at, if that is why (R1.14).

        The Close names the class and method of what caused it. Return whether it was sent: not
        once an end has begun, and not after another Close.
        """
        reader = self.line.reader
        close = reader.objection or objections.of_error(error, reader.method)
        if close is None or self.line.is_ending or self._is_closing:
            return False
        self.objection = close
        self.send(
            spec.Connection.Close(
                reply_code=close.code,
                reply_text=close.text,
                class_id=close.class_id,
                method_id=close.method_id,
            )
        )
        return True

    def _end(self) -> None:
        self.line.end()
        if self.listener is not None:
            self.listener.on_ending()

    def _check_over(self, _: object = None) -> None:
        if self.is_over:
            return
        if self.line.is_lost and self._closing.done():
            self.is_over = True
            if self.listener is not None:
                self.listener.on_over()


def _close(frame: spec.Connection.Close) -> Close:
    return Close(
        code=frame.reply_code or REPLY_SUCCESS,
        text=peer_text.cleaned(frame.reply_text),
        class_id=frame.class_id or 0,
        method_id=frame.method_id or 0,
    )


def _name(frame: pamqp_frame.FrameTypes | None) -> str:
    return type(frame).name if isinstance(frame, Frame) else type(frame).__name__
