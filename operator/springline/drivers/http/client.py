"""`core.ports.Connection` for HTTP: a client that is up while its requests succeed.

A server may end an HTTP connection whenever it likes, so one session uses one wire connection after
the other. An orderly end is no event: the next request dials the same address again, and is made
once more where it was on its way. Only where that fails, or an answer says so, the session ends.

    answer                    session
    as declared               up
    401, 403                  ends: AccessRefused
    429, 503                  Blocked, Throttled, until Retry-After is over and a request succeeds
    anything else             ends: UnexpectedStatus
    none in time              a probe without an answer; the core counts these

It has no task of its own but those of the wire connections, and no timer: what is due is looked at
when a probe comes.
"""

import asyncio
import dataclasses
import functools
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

import springline
from springline import wheel
from springline.core.ports import ConnectionObserver
from springline.core.values import (
    Block,
    ClosedBy,
    CloseInfo,
    Credential,
    CredentialKind,
    OpenInfo,
    OpenRequest,
)
from springline.drivers.http import alarms, logins, servers, verdicts
from springline.drivers.http.connection import HttpConnection, Options
from springline.drivers.http.engine import End, EndKind
from springline.drivers.http.errors import RetryRequestError, failed
from springline.drivers.http.messages import Headers, Request, Response
from springline.drivers.http.negotiated import HttpNegotiated
from springline.drivers.http.parameters import BlockedWhen, HttpParameters
from springline.drivers.http.probe_target import HttpProbeTarget
from springline.drivers.http.verdicts import Expectation, Judgement, Verdict
from springline.drivers.shared import failures, hints
from springline.drivers.shared.line import CLOSE_GRACE
from springline.drivers.shared.told import Told
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    NotOpenError,
    ProbeRefusal,
    ProbeRefusedError,
    RejectedError,
    SecretNotSentError,
    SecretUpdateTimeoutError,
    TransientError,
)
from springline.reasons import Reason

__all__ = ["HttpClient"]

_UNAUTHORIZED: Final = 401
_REFUSED: Final = frozenset({401, 403})
_ASKED: Final = Expectation(refused=_REFUSED)
_BARE: Final = " without the credential"
_MOST_UNANSWERED: Final = 3
"""Probes in a row without an answer that end a session, which is up while its requests succeed."""
_FIRST_PAUSE: Final = 1.0
"""Seconds after which a throttled request is made again where the server does not say."""


class HttpClient:
    """One session with one server."""

    __slots__ = (
        "_abandoned",
        "_asking",
        "_close",
        "_credential",
        "_expected",
        "_fields",
        "_info",
        "_is_throttled",
        "_loop",
        "_options",
        "_request",
        "_server",
        "_throttled_until",
        "_told",
        "_unanswered",
        "_wire",
    )

    def __init__(self, request: OpenRequest[HttpParameters], fields: Headers) -> None:
        """Begin to connect. `fields` show the credential."""
        parameters = request.parameters
        self._loop = asyncio.get_running_loop()
        self._request = request
        self._credential = request.credential
        self._fields = fields
        self._expected = Expectation(up=parameters.expected, refused=_REFUSED)
        self._options = Options(
            name=f"{request.endpoint}",
            version=parameters.version,
            persistent=parameters.persistent,
            heartbeat_seconds=parameters.heartbeat_seconds,
            # What TLS verifies and what is asked for is the same host (RFC 9110 §7.4).
            host=parameters.server_name,
        )
        self._info: OpenInfo | None = None
        self._told = Told()
        self._is_throttled = False
        self._throttled_until = 0.0  # of the loop's time
        self._close: CloseInfo | None = None
        self._asking = 0
        self._unanswered = 0  # probes in a row
        self._abandoned: HttpConnection | None = None
        self._wire = self._dialled(request.timeout)

    # What it is

    @property
    def info(self) -> OpenInfo:
        """What was negotiated, with whom; as the answers so far have it."""
        if self._info is None:
            raise NotOpenError
        return self._info

    @property
    def is_open(self) -> bool:
        """True until it ends; a wire connection that ends in an orderly way is no end."""
        return self._info is not None and self._close is None

    @property
    def blocked(self) -> Block | None:
        """Why, while the server takes nothing in; else None."""
        return self._told.block if self.is_open else None

    @property
    def cannot_renew(self) -> str:
        """Empty: each request shows the credential anew."""
        return ""

    @property
    def close_codes(self) -> Mapping[str, int]:
        """None: our own end has no number."""
        return {}

    # Opening

    async def establish(self) -> None:
        """Have the declared request answered as declared, within the request's time-out.

        Then the same is asked without the credential. Where that is refused, or sent elsewhere to
        log in, the credential was asked for, and accepted; a server that lets anybody in has proved
        nothing. While throttled, it asks again when the server wants that, as long as there is
        time. Raises `ConnectError`.
        """
        deadline = self._loop.time() + self._request.timeout
        response, verdict = await self._unthrottled(self._fields, deadline)
        if verdict.judgement is not Judgement.UP:
            raise self._refusal(verdict)
        proved = self._credential.kind is not CredentialKind.ANONYMOUS
        challenge: Response | None = None
        if self._fields:
            challenge, bare = await self._unthrottled((), deadline)
            if bare.judgement is Judgement.THROTTLED:
                raise self._refusal(bare, _BARE)
            proved = bare.judgement is Judgement.REFUSED or _is_turned_away(bare)
        self._info = OpenInfo(
            endpoint=self._request.endpoint,
            address=self._request.address,
            negotiated=self._negotiated(response.version),
            server=servers.info(response, challenge, veil=self._request.veil),
            proved=proved,
        )
        self._watch()

    async def _unthrottled(self, fields: Headers, deadline: float) -> tuple[Response, Verdict]:
        pause = _FIRST_PAUSE
        bare = _BARE if self._fields and not fields else ""
        while True:
            left = max(deadline - self._loop.time(), 0.0)
            try:
                response = await self._answer(self._wanted(fields), timeout=left)
            except TimeoutError as error:
                raise TransientError(
                    Reason.CONNECT_TIMEOUT,
                    f"{self._wire.where}: connected, but {self._asked}{bare} was not answered "
                    f"within {failures.seconds(self._request.timeout)} s",
                ) from error
            except ConnectError as error:
                if not bare:
                    raise
                # The same request was answered a moment ago, with the credential.
                raise error.again(f"{error.message}, asked{bare}") from error
            verdict = self._judged(response)
            if verdict.judgement is not Judgement.THROTTLED:
                return response, verdict
            # At once is no time to be left alone for, and would be asked without end.
            wait = verdict.retry_after or pause
            if self._loop.time() + wait >= deadline:
                return response, verdict
            await asyncio.sleep(wait)
            pause *= 2

    def _refusal(self, verdict: Verdict, how: str = "") -> ConnectError:
        text = f"{self._wire.where}: {self._said(verdict, how)}"
        match verdict.judgement:
            case Judgement.REFUSED if verdict.status == _UNAUTHORIZED:
                hint = hints.on_refused_login(self._credential, self._request.address)
                if hint:
                    text = f"{text} ({hint})"
                return CredentialRejectedError(Reason.ACCESS_REFUSED, text)
            case Judgement.REFUSED:
                return RejectedError(Reason.ACCESS_REFUSED, text)
            case Judgement.THROTTLED:
                return TransientError(Reason.THROTTLED, text, retry_after=verdict.retry_after)
            case _:
                return TransientError(Reason.UNEXPECTED_STATUS, text)

    # Probes

    def observe(self, observer: ConnectionObserver) -> None:
        """Name the one observer. What happened before is told at once."""
        self._told.observe(self, observer)

    async def probe(
        self,
        target: HttpProbeTarget,  # noqa: ARG002 - it has nothing to choose
        *,
        lifetime: float | None = None,  # noqa: ARG002 - a server keeps nothing
        timeout: float,
    ) -> float | None:
        """Make the declared request again; None while the server takes nothing in.

        What is asked beside (`blockedWhen`) follows on the same wire connection. A throttled server
        is asked again when it wants that, and until then nothing is sent.
        """
        self._require_open()
        if self._is_left_alone:
            return None
        began = self._loop.time()
        deadline = began + timeout
        try:
            response = await self._answer(self._wanted(self._fields), timeout=timeout)
            seconds = self._loop.time() - began
            self._unanswered = 0
            self._require_open()
            verdict = self._judged(response)
            match verdict.judgement:
                case Judgement.UP:
                    block = await self._asked_beside(deadline)
                case Judgement.THROTTLED:
                    block = self._throttled(verdict)
                case _:
                    self._end(self._ended_by(response, verdict))
                    raise NotOpenError
        except TimeoutError:
            self._unanswered += 1
            if self._unanswered < _MOST_UNANSWERED:
                raise
            # Signs of life are none of its requests: something may answer for a server that hangs.
            text = f"{self._asked} was left unanswered {self._unanswered} times in a row"
            raise self._broken(Reason.PEER_SILENT, text) from None
        except ConnectError as error:
            raise self._broken(error.reason, error.message) from None
        finally:
            self._refresh()
        self._require_open()
        self._told.blocked(self, block)
        return seconds if block is None else None

    async def _asked_beside(self, deadline: float) -> Block | None:
        """Return why the server is blocked, as far as a second request tells.

        Raises `ProbeRefusedError` for an answer that tells nothing.
        """
        asked = self._request.parameters.blocked_when
        self._is_throttled = False
        if asked is None:
            return None
        request = Request(target=asked.target, headers=self._headers(self._fields))
        try:
            response = await self._answer(request, timeout=max(deadline - self._loop.time(), 0.001))
        except (TimeoutError, ConnectError) as error:
            # Its connection ends with it; whether the server is there, the next probe finds out.
            self._abandoned = self._wire
            said = error.message if isinstance(error, ConnectError) else "no answer in time"
            raise ProbeRefusedError(
                ProbeRefusal.TROUBLE, f"{_shown(asked)} was not answered: {said}"
            ) from None
        if response.status in asked.statuses:
            return alarms.block(response)
        verdict = self._judged(response, Expectation(refused=_REFUSED))
        match verdict.judgement:
            case Judgement.UP:
                return None
            case Judgement.THROTTLED:
                return self._throttled(verdict)
            case _:
                # As a trouble: the session's own request goes on with each probe.
                raise ProbeRefusedError(
                    ProbeRefusal.TROUBLE, f"{_shown(asked)} was answered {verdict.text}"
                )

    @property
    def _is_left_alone(self) -> bool:
        """Whether the server has said that it is too early to ask again."""
        return self._is_throttled and self._loop.time() < self._throttled_until

    def _throttled(self, verdict: Verdict) -> Block:
        wait, text = verdict.retry_after, verdict.text
        self._is_throttled = True
        self._throttled_until = self._loop.time() + (wait or 0.0)
        if wait is not None:
            text = f"{text}, to be asked again after {wait:g} s"
        return Block(reason=Reason.THROTTLED, text=text)

    def _ended_by(self, response: Response, verdict: Verdict) -> CloseInfo:
        is_refused = verdict.judgement is Judgement.REFUSED
        return CloseInfo(
            by=ClosedBy.SERVER,
            reason=Reason.ACCESS_REFUSED if is_refused else Reason.UNEXPECTED_STATUS,
            text=self._said(verdict),
            codes={"code": verdict.status},
            # A password is never over, whatever a server says that takes tokens, too.
            says_expired=self._credential.kind is CredentialKind.TOKEN
            and servers.says_expired(response),
        )

    # Renewal

    async def renew(self, credential: Credential, *, timeout: float) -> None:
        """Make the declared request once with another credential, and use it from then on.

        The connection stays open, and the credential what it is, unless the server answers as
        declared: `SecretNotSentError` for another answer, for what cannot be shown, and for a
        server that wants to be left alone; `SecretUpdateTimeoutError` for none within `timeout`
        seconds, which the connection outlives: the next answer cannot be taken for it. Raises
        `NotOpenError`.
        """
        self._require_open()
        if self._is_left_alone:
            raise SecretNotSentError("the server wants to be left alone for a while")
        try:
            fields = logins.authorization(credential)
        except CredentialRejectedError as error:
            raise SecretNotSentError(error.message) from None
        self._request.veil.note(credential.secret)
        try:
            response = await self._answer(self._wanted(fields), timeout=timeout)
        except TimeoutError:
            raise SecretUpdateTimeoutError(seconds=timeout) from None
        except ConnectError as error:
            raise self._broken(error.reason, error.message) from None
        self._require_open()
        verdict = self._judged(response)
        if verdict.judgement is not Judgement.UP:
            raise SecretNotSentError(self._said(verdict))
        self._fields, self._credential = fields, credential

    # The end

    async def close(self, *, text: str = "", timeout: float = 3.0) -> None:
        """End the wire connection in an orderly way, and release the socket."""
        self._require_open()
        self._end(CloseInfo(by=ClosedBy.CLIENT, reason=Reason.CLIENT_CLOSED, text=text))
        try:
            async with wheel.limit(timeout):
                await self._wire.wait_closed()
        except TimeoutError:
            self._wire.abort()
            await asyncio.wait_for(self.wait_gone(), CLOSE_GRACE)
        except asyncio.CancelledError:
            self._wire.abort()
            raise

    def abort(self) -> None:
        """Drop the transport at once. Idempotent."""
        self._end(CloseInfo(by=ClosedBy.CLIENT, reason=Reason.CLIENT_CLOSED, text="dropped"))
        self._wire.abort()

    async def wait_gone(self) -> None:
        """Wait until socket and task are gone; it causes no end."""
        await self._wire.wait_closed()

    def _broken(self, reason: Reason, text: str) -> NotOpenError:
        """End because the server cannot be asked, and return what the caller raises for that."""
        self._end(CloseInfo(by=ClosedBy.TRANSPORT, reason=reason, text=text))
        return NotOpenError()

    def _end(self, close: CloseInfo) -> None:
        if self._close is None:
            self._close = close
            self._wire.close()
            self._wire.when_gone(functools.partial(self._told.closed, self, close))

    def _require_open(self) -> None:
        if not self.is_open:
            raise NotOpenError

    # The wire

    async def _answer(self, request: Request, *, timeout: float) -> Response:
        """Return the answer to a request, on another wire connection where this one has ended.

        Raises the `ConnectError` of what went wrong, and `TimeoutError`.
        """
        deadline = self._loop.time() + timeout
        self._asking += 1
        try:
            for is_last in (False, True):
                wire = self._live_wire(deadline)
                try:
                    await wire.connected()
                    return await wire.call(request, timeout=max(deadline - self._loop.time(), 0.0))
                except asyncio.CancelledError:
                    # Its answer may be late, which ends an HTTP/1.1 connection: nobody's fault.
                    self._abandoned = wire
                    raise
                except TimeoutError:
                    # HTTP/1.1 has no room for an answer that is late, so the connection has ended:
                    # that is what it tells next, and no end of the session.
                    if wire.is_closed:
                        self._abandoned = wire
                    raise
                except RetryRequestError as error:
                    if is_last or not error.may_repeat:
                        raise _failure(error, wire.end) from None
        finally:
            self._asking -= 1
        raise AssertionError("the last one returns or raises")

    def _live_wire(self, deadline: float) -> HttpConnection:
        """Return the wire connection, dialled again if the last one has ended."""
        if self._close is not None:
            raise NotOpenError
        if self._wire.is_closed:
            self._wire.close()
            self._wire = self._dialled(max(deadline - self._loop.time(), 0.001))
            if self._info is not None:
                self._watch()
        return self._wire

    def _dialled(self, timeout: float) -> HttpConnection:
        return HttpConnection.create(
            dataclasses.replace(self._request, timeout=timeout), self._options
        )

    def _watch(self) -> None:
        self._wire.notify(functools.partial(self._look, self._wire), of_end_only=True)
        self._look(self._wire)

    def _look(self, wire: HttpConnection, _: object = None) -> None:
        """End with a wire connection that has broken while nothing was asked."""
        end = wire.end
        if wire is not self._wire or self._asking or end is None or end.is_orderly:
            return
        if wire is self._abandoned:
            return  # the next request shows whether the server is there
        self._end(CloseInfo(by=ClosedBy.TRANSPORT, reason=end.reason, text=end.text))

    # Words and values

    def _wanted(self, fields: Headers) -> Request:
        parameters = self._request.parameters
        return Request(
            method=parameters.method, target=parameters.target, headers=self._headers(fields)
        )

    def _headers(self, fields: Headers) -> Headers:
        name = self._request.parameters.connection_name
        agent = f"Springline/{springline.__version__} ({name})".encode("ascii", "replace")
        return (*fields, (b"user-agent", agent), (b"accept", b"*/*"))

    def _judged(self, response: Response, expected: Expectation | None = None) -> Verdict:
        return verdicts.judge(
            response,
            expected or self._expected,
            veil=self._request.veil,
            now=datetime.fromtimestamp(time.time(), UTC),
        )

    @property
    def _asked(self) -> str:
        parameters = self._request.parameters
        return f"{parameters.method} {parameters.path}"

    def _said(self, verdict: Verdict, how: str = "") -> str:
        text = f"{self._asked}{how} was answered {verdict.text}"
        if verdict.judgement is Judgement.UNEXPECTED:
            expected = " or ".join(map(str, sorted(self._expected.up)))
            text = f"{text}, and {expected} is expected"
            if 300 <= verdict.status < 400:
                text = f"{text}; no redirect is followed"
        return text

    def _negotiated(self, version: str) -> HttpNegotiated:
        wire, before = self._wire, self._info.negotiated if self._info is not None else None
        has_kept = isinstance(before, HttpNegotiated) and before.keeps_alive
        is_two = wire.version == "2"
        return HttpNegotiated(
            mechanism=logins.scheme(self._credential),
            heartbeat_seconds=self._request.parameters.heartbeat_seconds if is_two else 0,
            tls=wire.tls,
            version=version,
            keeps_alive=has_kept or wire.keeps_alive,
            concurrent_streams=wire.concurrent_streams,
            queue_length=wire.length,
        )

    def _refresh(self) -> None:
        """Tell what is otherwise than before, if anything."""
        if self._info is None or self._close is not None or not self._wire.is_connected:
            return
        found = self._negotiated(self._wire.version)
        if found == self._info.negotiated:
            return
        self._info = dataclasses.replace(self._info, negotiated=found)
        self._told.changed(self)


def _failure(error: RetryRequestError, end: End | None) -> ConnectError:
    """Return what it means that a request is not made once more; a broken wire says why itself."""
    reason = Reason.PEER_CLOSED
    if end is not None and end.kind is EndKind.FAILED:
        reason = end.reason
    return failed(reason, error.why)


def _is_turned_away(verdict: Verdict) -> bool:
    """Whether somebody without a credential is not served, and not by a mishap."""
    return verdict.judgement is Judgement.UNEXPECTED and 300 <= verdict.status < 500


def _shown(asked: BlockedWhen) -> str:
    return f"GET {asked.target.split('?', 1)[0]}"
