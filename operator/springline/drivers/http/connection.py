"""One HTTP connection to one peer: several requests in flight, and an orderly end (R3).

This is the one file of the package that does I/O: it dials, reads, writes, keeps time, and wakes
those who wait. What is said and decided is in conversation.py and below.

**What `shutdown` does to the transport** (R3.11). With `Options.half_close`, HTTP/1.1 over plain
TCP half-closes: when the last queued request is written, our FIN follows, and the answers are still
read. In three cases it does not, and the queued calls are answered just as well: the last request
says `Connection: close` where it is sent after `shutdown` (RFC 9112 §9.6), and the connection is
closed after the last answer.

- Without `half_close`, which is the default, because the answers come first (R3.5): RabbitMQ's
  management interface (3.10, Cowboy) takes a FIN for the end of the client, and answers nothing of
  what it has read. hypercorn and nginx do answer.
- With TLS. `close_notify` in one direction alone is possible (RFC 8446 §6.1), but asyncio's TLS
  has no half-close, and with a memory BIO of our own a driver would have to repeat what
  `drivers.shared` does for handshakes, their failures and their time-outs.
- With HTTP/2, where a stream needs our acknowledgements and windows to go on. GOAWAY is sent after
  the last answer (RFC 9113 §6.8): a server that is built on h2 can send nothing after one.

A connection has one task of its own, which ends with it. All methods but `call`, `connected` and
`wait_closed` return at once.
"""

import asyncio
import enum
import functools
import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

from springline import wheel
from springline.core.values import Endpoint, OpenRequest, TLSInfo
from springline.drivers.http import bounds, errors
from springline.drivers.http.conversation import Call, Conversation
from springline.drivers.http.engine import End, EndKind, Engine
from springline.drivers.http.errors import HttpProgress, HttpStep
from springline.drivers.http.http1 import Http1
from springline.drivers.http.http2 import Http2
from springline.drivers.http.messages import Request, Response
from springline.drivers.shared import dialling, tls_handshake
from springline.drivers.shared.inbound import InboundBudget
from springline.drivers.shared.line import Line
from springline.errors import ConnectError, NotOpenError, RejectedError, TransientError
from springline.reasons import Reason

__all__ = ["Change", "HttpConnection", "Options", "Version"]

logger = logging.getLogger(__name__)

_DEFAULT_PORTS = {"http": 80, "https": 443}  # RFC 9110 §4.2
_SMALL_OCTETS = 1024
_AUTHORITY = re.compile(r"[!-~]+")
_ALPN_HTTP2 = "h2"  # RFC 9113 §3.2


class Version(enum.Enum):
    """Which HTTP is spoken."""

    AUTO = "Auto"  # what TLS has agreed on (RFC 7301); HTTP/1.1 without
    HTTP1 = "HTTP1"  # HTTP/1.1
    HTTP2 = "HTTP2"  # HTTP/2; without TLS with prior knowledge (RFC 9113 §3.3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a connection is used."""

    name: str
    """Of its task, in dumps."""
    version: Version = Version.AUTO
    persistent: bool | None = None
    """True: several requests are sent before the first answer. False: one request, then the end.
    None: several after the first answer has shown that the connection takes them (R3.2)."""
    heartbeat_seconds: float = 0
    """After so long a silence an HTTP/2 peer is asked for a sign of life, and after as long again
    the connection ends. 0 for never. HTTP/1.1 has no such thing."""
    half_close: bool = False
    """Whether `shutdown` half-closes, where the transport can; only for peers known to answer."""
    host: str = ""
    """The host that is asked for; that of the endpoint where empty."""


@dataclass(frozen=True, slots=True)
class Change:
    """What observers are told (R3.4)."""

    length: int
    is_closed: bool


class HttpConnection:
    """One connection. Calls may be made at once: they wait until it is connected (R3.1)."""

    __slots__ = (
        "_authority",
        "_beat",
        "_budget",
        "_conversation",
        "_engine",
        "_failure",
        "_finalise",
        "_futures",
        "_heard_at",
        "_is_asked",
        "_is_ended",
        "_is_half_closed",
        "_line",
        "_loop",
        "_observers",
        "_observers_of_end",
        "_options",
        "_progress",
        "_request",
        "_scheme",
        "_settled",
        "_task",
        "_timers",
        "_tls",
        "_told",
    )

    def __init__(
        self,
        request: OpenRequest[Any],
        options: Options,
        *,
        finalise: Callable[[], None] | None = None,
    ) -> None:
        """Begin to connect; `create` and `connect` say what they take."""
        scheme = "http" if request.tls is None else "https"
        endpoint = request.endpoint
        host = options.host or endpoint.host
        authority = _authority(Endpoint(host, endpoint.port), scheme)
        if not _AUTHORITY.fullmatch(authority):
            raise ValueError("the host has characters that a request cannot name")
        self._scheme, self._authority = scheme, authority
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._options = options
        self._finalise = finalise
        self._progress = HttpProgress(
            endpoint=request.endpoint, timeout=request.timeout, address=request.address
        )
        self._conversation = Conversation(persistent=options.persistent, where=self._progress.where)
        self._budget = InboundBudget(self._loop)
        self._line: Line[asyncio.StreamReader] | None = None
        self._tls: TLSInfo | None = None
        self._engine: Engine | None = None
        self._futures: dict[int, asyncio.Future[Response]] = {}
        self._timers: dict[int, wheel.Timer] = {}
        self._observers: list[Callable[[Change], None]] = []
        self._observers_of_end: list[Callable[[Change], None]] = []
        self._told = (0, False)  # length, and whether it is closed
        self._is_ended = False
        self._is_half_closed = False
        # Connected, or ended. An asyncio.Event keeps a deque, which is larger than all else here.
        self._settled: asyncio.Future[None] = self._loop.create_future()
        self._failure: ConnectError | None = None
        self._heard_at = 0.0
        self._beat: wheel.Timer | None = None
        self._is_asked = False
        # Held here, and ended by `close` or by the peer; `wait_closed` waits for it.
        self._task = self._loop.create_task(self._run(), name=f"http/{options.name}")

    @classmethod
    def create(
        cls,
        request: OpenRequest[Any],
        options: Options,
        *,
        finalise: Callable[[], None] | None = None,
    ) -> Self:
        """Return a connection that is usable at once, and connects meanwhile (R3.1).

        Connecting has `request.timeout` seconds. If it fails, the calls that wait raise the
        `ConnectError`. `finalise` is called once when the connection is closed, before calls that
        wait are failed (R3.7); it must return at once, and what it raises is logged. Raises
        `ValueError` for a host that no request can name.
        """
        return cls(request, options, finalise=finalise)

    @classmethod
    async def connect(
        cls,
        request: OpenRequest[Any],
        options: Options,
        *,
        finalise: Callable[[], None] | None = None,
    ) -> Self:
        """Return a connection when it is connected (R3.1); else as `create`.

        Raises `ConnectError`. If it fails or is cancelled, no socket and no task stays behind.
        """
        connection = cls(request, options, finalise=finalise)
        try:
            await connection.connected()
        except BaseException:
            connection.close()
            await connection.wait_closed()
            raise
        return connection

    # What it is

    @property
    def length(self) -> int:
        """Calls that wait, and those sent and not answered (R3.3)."""
        return self._conversation.length

    @property
    def is_closed(self) -> bool:
        """False only while connecting or open (R3.8); also true while `shutdown` goes on."""
        return self._conversation.is_closed

    @property
    def is_connected(self) -> bool:
        """Whether requests can be sent, or could until it ended."""
        return self._conversation.is_ready

    @property
    def end(self) -> End | None:
        """How it ended; None before."""
        return self._conversation.end

    @property
    def version(self) -> str:
        """The version of HTTP that is spoken; empty before it is connected."""
        return self._engine.version if self._engine is not None else ""

    @property
    def concurrent_streams(self) -> int | None:
        """How many requests the peer takes at the same time, where it has said so."""
        return self._engine.concurrent_streams if self._engine is not None else None

    @property
    def keeps_alive(self) -> bool:
        """Whether an answer has shown that the connection takes more than one request."""
        return self._engine is not None and self._engine.takes_several

    @property
    def where(self) -> str:
        """The peer as people see it."""
        return self._progress.where

    @property
    def endpoint(self) -> Endpoint:
        """Where it leads."""
        return self._request.endpoint

    @property
    def tls(self) -> TLSInfo | None:
        """What the TLS handshake agreed on; None without TLS, and before it is connected."""
        return self._tls

    # What is done with it

    async def connected(self) -> None:
        """Wait until it is connected. Raises `ConnectError` if it ends before that.

        Raises `NotOpenError` if it was closed by us. Safe to cancel.
        """
        if not self._settled.done():
            await asyncio.wait({self._settled})
        if self._failure is not None:
            failure = self._failure
            raise type(failure)(failure.reason, failure.message) from failure.__cause__
        if not self.is_connected:
            raise NotOpenError

    async def call(self, request: Request, *, timeout: float) -> Response:
        """Send a request when it is its turn, and return the answer, whatever its status.

        Raises `RetryRequestError` where there is no answer and the call may be made on another
        connection, at once if this one is closed (R3.9); `TimeoutError` after `timeout` seconds,
        the wait for its turn among them; else the `ConnectError` of what the peer has done. No
        request is ever repeated here.

        Safe to cancel. With HTTP/1.1 the answer is still read and dropped, because others wait
        behind it; for that the time goes on.
        """
        call = self._conversation.add(request)
        future: asyncio.Future[Response] = self._loop.create_future()
        self._futures[call.key] = future
        self._timers[call.key] = wheel.call_later(timeout, functools.partial(self._expire, call))
        self._carry_out()
        try:
            return await future
        except asyncio.CancelledError:
            self._conversation.abandon(call)
            self._carry_out()
            raise

    def notify(
        self, observer: Callable[[Change], None], *, of_end_only: bool = False
    ) -> Callable[[], None]:
        """Have `observer` told of each change of length and of closing (R3.4).

        It is called in the next turn of the event loop, once for each change and in their order.
        With `of_end_only` it is told of none before it is closed. Returns what takes it off again.
        """
        observers = self._observers_of_end if of_end_only else self._observers
        observers.append(observer)

        def forget() -> None:
            if observer in observers:
                observers.remove(observer)

        return forget

    def shutdown(self) -> None:
        """Take no more calls; queued ones are sent and answered, then it ends (R3.5). Idempotent.

        What becomes of the transport meanwhile is said at the top of this module.
        """
        self._conversation.shutdown()
        self._carry_out()

    def close(self, text: str = "the connection was closed") -> None:
        """End at once; outstanding calls fail with `RetryRequestError` (R3.6). Idempotent."""
        self._conversation.close(End(kind=EndKind.CLOSED, reason=Reason.CLIENT_CLOSED, text=text))
        self._carry_out()

    def abort(self) -> None:
        """End at once, without what is still to be sent. Idempotent."""
        self.close()
        if self._line is not None:
            self._line.abort()

    def when_gone(self, told: Callable[[], None]) -> None:
        """Have `told` called, in a later turn of the event loop, when socket and task are gone."""
        self._task.add_done_callback(lambda _: told())

    async def wait_closed(self) -> None:
        """Wait until socket and task are gone; it causes no end. Safe to cancel."""
        await asyncio.wait({self._task})

    # The task

    async def _run(self) -> None:
        try:
            with errors.translated(self._progress):
                async with wheel.limit(self._request.timeout):
                    self._begin(await self._dial())
                    while not self.is_connected and self.end is None:
                        await self._read()
            while self.end is None:
                await self._read()
        except ConnectError as error:
            self._lose(error)
        finally:
            self.close()
            # Nothing else will change; and they refer to this connection, as it does to them.
            self._observers.clear()
            self._observers_of_end.clear()
            if self._line is not None:
                await self._line.wait_lost()

    async def _dial(self) -> Line[asyncio.StreamReader]:
        reader = asyncio.StreamReader(bounds.READ_OCTETS, loop=self._loop)
        line = await dialling.dial(self._request, self._progress, reader)
        self._line = line
        # Once: it parses the peer's certificate.
        self._tls = tls_handshake.tls_info(line.transport, self._request.tls)
        return line

    def _begin(self, line: Line[asyncio.StreamReader]) -> None:
        if self._speaks_http2(line):
            self._progress.step = HttpStep.SETTINGS
            self._engine = Http2(
                authority=self._authority, scheme=self._scheme, charge=self._budget.take
            )
        else:
            self._engine = Http1(authority=self._authority)
        self._conversation.begin(self._engine)
        self._heard()
        self._carry_out()

    def _speaks_http2(self, line: Line[asyncio.StreamReader]) -> bool:
        """Whether HTTP/2 is to be spoken. Raises `RejectedError` if the peer does not."""
        version = self._options.version
        if self._request.tls is None:
            return version is Version.HTTP2
        tls_object = line.transport.get_extra_info("ssl_object")
        agreed: bool = tls_object.selected_alpn_protocol() == _ALPN_HTTP2
        if version is Version.HTTP2 and not agreed:
            raise RejectedError(
                Reason.NEGOTIATION_FAILED,
                f"{self._progress.where}: the peer does not agree to HTTP/2 in the TLS handshake",
            )
        if version is Version.HTTP1 and agreed:
            raise RejectedError(
                Reason.NEGOTIATION_FAILED,
                f"{self._progress.where}: the peer insists on HTTP/2 in the TLS handshake",
            )
        return agreed

    async def _read(self) -> None:
        """Read once, and take it in."""
        line, conversation = self._line, self._conversation
        if line is None:
            raise RuntimeError("there is a line before it is read from")
        try:
            data = await line.reader.read(bounds.READ_OCTETS)
        except (OSError, EOFError) as error:
            # The reader keeps it, and with its traceback would keep this connection.
            error.__traceback__ = None
            self._lose(errors.lost(error, where=self._progress.where))
            return
        self._heard()
        answers = conversation.answers
        if data:
            conversation.receive(data)
        else:
            conversation.receive_eof()
        if conversation.answers == answers and len(data) < _SMALL_OCTETS:
            # What brings much of an answer counts against that answer.
            too_much = self._budget.take_piece()
            if too_much:
                self._lose(self._flooded(f"the peer sent {too_much}"))
                return
        self._carry_out()
        await self._budget.give_way()

    def _lose(self, error: ConnectError) -> None:
        if not self.is_connected and self._failure is None and self.end is None:
            self._failure = error
        self._conversation.lose(error)
        self._carry_out()

    def _flooded(self, what: str) -> RejectedError:
        return RejectedError(Reason.FLOODED, f"{self._progress.where}: {what}")

    # What the conversation wants done

    def _carry_out(self) -> None:
        """Send what is to be sent, end what has ended, and wake those who wait."""
        conversation = self._conversation
        self._send()
        if conversation.end is not None and not self._is_ended:
            self._is_ended = True
            self._finish(conversation.end)
        settled, conversation.settled = conversation.settled, []
        untold = len(settled)
        self._tell_observers(untold)
        for call, outcome in settled:
            untold -= 1
            self._tell(call, outcome)
            self._tell_observers(untold)
        if conversation.is_ready and not self._settled.done():
            self._settled.set_result(None)
            self._keep_beat()

    def _send(self) -> None:
        conversation, line = self._conversation, self._line
        output = bytes(conversation.output)
        conversation.output.clear()
        if line is None:
            return
        if output:
            line.write(output)
            waiting = line.transport.get_write_buffer_size()
            if waiting > bounds.MAX_UNREAD and conversation.end is None:
                conversation.lose(
                    self._flooded(f"the peer has left {bounds.MAX_UNREAD} octets unread")
                )
        if self._options.half_close and conversation.has_sent_all and not line.is_ending:
            self._half_close(line.transport)

    def _half_close(self, transport: asyncio.Transport) -> None:
        if not self._is_half_closed and transport.can_write_eof():
            self._is_half_closed = True
            transport.write_eof()

    def _finish(self, end: End) -> None:
        """Let go of the transport, then of those who count on it (R3.7)."""
        self._stop_beat()
        if self._line is not None:
            self._line.end()
        elif self._task is not asyncio.current_task():
            self._task.cancel()
        if not self._settled.done():
            if self._failure is None and end.kind not in {EndKind.CLOSED, EndKind.DONE}:
                self._failure = errors.failed(end.reason, end.text)
            self._settled.set_result(None)
        finalise, self._finalise = self._finalise, None
        if finalise is None:
            return
        try:
            finalise()
        except Exception:
            logger.exception("the finaliser of a connection has failed")

    def _tell(self, call: Call, outcome: Response | Exception) -> None:
        timer = self._timers.pop(call.key, None)
        if timer is not None:
            timer.cancel()
        future = self._futures.pop(call.key, None)
        if future is None or future.done():
            return
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)

    def _tell_observers(self, untold: int) -> None:
        """Tell what has changed; of the calls that are over, so many are still to be told."""
        conversation = self._conversation
        told = (conversation.length + untold, conversation.is_closed)
        if told == self._told:
            return
        self._told = told
        length, is_closed = told
        observers = self._observers
        if is_closed:
            observers = [*observers, *self._observers_of_end]
        if observers:
            change = Change(length, is_closed)
            for observer in observers:
                self._loop.call_soon(observer, change)

    def _expire(self, call: Call) -> None:
        self._conversation.expire(call)
        self._carry_out()

    # Signs of life

    def _heard(self) -> None:
        self._heard_at, self._is_asked = self._loop.time(), False

    def _keep_beat(self) -> None:
        seconds = self._options.heartbeat_seconds
        if seconds > 0 and self.end is None:
            silent = self._loop.time() - self._heard_at
            after = seconds if self._is_asked else max(seconds - silent, 0)
            self._beat = wheel.call_later(after, self._on_beat)

    def _on_beat(self) -> None:
        seconds = self._options.heartbeat_seconds
        if self._is_asked:
            text = f"nothing was heard for {2 * seconds:g} s, two heartbeats of {seconds:g} s"
            error = TransientError(Reason.HEARTBEAT_MISSED, f"{self._progress.where}: {text}")
            self._lose(error)
            return
        if self._loop.time() - self._heard_at >= seconds:
            if not self._conversation.ping():
                return
            self._is_asked = True
            self._carry_out()
        self._keep_beat()

    def _stop_beat(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None


def _authority(endpoint: Endpoint, scheme: str) -> str:
    """Return the host and, where it is not the scheme's, the port (RFC 9110 §7.2)."""
    host = f"[{endpoint.host}]" if ":" in endpoint.host else endpoint.host
    return host if endpoint.port == _DEFAULT_PORTS[scheme] else f"{host}:{endpoint.port}"
