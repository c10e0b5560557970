"""One session: the task that opens a declared connection, holds it, and opens it again.

Everything that happens, from outside and from the session's own helper tasks, goes through one inbox
and is handled to the end before the next. What follows is decided in state.py; this file carries it
out. At most one helper of each role runs: an attempt, a timer for the next one, a prober, a renewal.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import assert_never

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.core import backoff, ports, probing, renewal, state
from springline.core.attempt import Means, Success, attempt
from springline.core.desired import ProbeSettings, SessionSpec
from springline.core.events import Deduplicator, Event, EventSink, EventType
from springline.core.helpers import Helpers
from springline.core.state import Command, Failure, Phase, SessionState, StateEvent
from springline.core.values import ClosedBy, CloseInfo, Credential, Endpoint, SessionKey
from springline.core.view import CredentialUse, LastClose, SessionView
from springline.core.waiters import Waiters
from springline.reasons import Reason

__all__ = ["Desired", "Environment", "Session", "SessionClosedError", "Unusable"]

logger = logging.getLogger(__name__)


class SessionClosedError(errors.SpringlineError):
    """The session has ended, so what was waited for will not come."""

    def __str__(self) -> str:
        return "the session has ended"


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """What every session of a process shares."""

    drivers: Mapping[str, ports.Driver]
    resolver: ports.Resolver
    clock: ports.Clock
    rng: Random
    events: EventSink


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What one session is to do now, and with what."""

    spec: SessionSpec
    credentials: ports.CredentialSource
    tls: ports.TLSSource
    limit: asyncio.Semaphore
    """Shared by the sessions of one broker: how many attempts run at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A declaration that no session can be opened for, and why."""

    generation: int
    problem: Failure


# What the inbox holds besides state events: news that belongs to one attempt or one connection.


@dataclass(frozen=True, slots=True)
class _Declare:
    desired: Desired | Unusable


@dataclass(frozen=True, slots=True)
class _AttemptEnded:
    number: int
    result: Success | errors.ConnectError | errors.CredentialError


@dataclass(frozen=True, slots=True)
class _TimerRang:
    number: int


_News = (
    state.Blocked
    | state.Unblocked
    | state.ProbeUnanswered
    | state.ProbeRefused
    | state.RenewalRefused
    | CloseInfo
)


@dataclass(frozen=True, slots=True)
class _ConnectionNews:
    connection: ports.Connection
    event: _News


@dataclass(frozen=True, slots=True)
class _RenewalEnded:
    live: Success
    outcome: renewal.Outcome


_Message = (
    _Declare
    | _AttemptEnded
    | _TimerRang
    | _ConnectionNews
    | _RenewalEnded
    | state.CredentialChanged
    | state.ReconnectRequested
    | state.CloseRequested
    | state.CloseWhenLostRequested
)


class Session:
    """A declared live client. `run` it in a task; everything else may be called from any task."""

    def __init__(
        self,
        key: SessionKey,
        environment: Environment,
        *,
        on_change: Callable[["Session"], None] = lambda _: None,
    ) -> None:
        self.key = key
        self._environment = environment
        self._on_change = on_change
        self._inbox: asyncio.Queue[_Message] = asyncio.Queue()
        self._closing = False
        self._finished = asyncio.Event()
        self._state = SessionState()
        self._desired: Desired | None = None
        self._problem: Failure | None = None
        self._generation = 0
        self._number = 0  # of the current attempt or timer; news of an earlier one is stale
        self._last_start: float | None = None
        self._in_cycle = False
        self._deduplicator = Deduplicator()
        self._connection: ports.Connection | None = None
        self._opened_with: Success | None = None
        self._connected_since: datetime | None = None
        self._blocked_since: datetime | None = None
        self._block_reported = False
        self._credential: CredentialUse | None = None
        self._last_close: LastClose | None = None
        self._confirm_seconds: float | None = None
        self._retry_at: datetime | None = None
        self._awaiting_connection: Waiters[ports.Connection] = Waiters()
        self._awaiting_result: Waiters[ports.Connection | Failure] = Waiters()

    # ------------------------------------------------------------------------------ what is wanted

    def declare(self, desired: Desired | Unusable) -> None:
        """Say what the session is to do from now on. Idempotent for an equal declaration."""
        self._post(_Declare(desired))

    def credential_changed(self) -> None:
        """Say that an object the session reads has changed. Idempotent."""
        self._post(state.CredentialChanged())

    def reconnect(self) -> None:
        """Ask for a fresh connection, without waiting for the retry delay."""
        self._post(state.ReconnectRequested())

    async def close(self) -> None:
        """Close the current connection, attempt no more, and return when all is released. Idempotent.

        Cancelling the wait does not cancel the close.
        """
        if not self._closing:
            self._closing = True
            self._post(state.CloseRequested())
        await self.close_finished()

    def close_when_current_connection_is_closed(self) -> None:
        """End together with the current connection, which is left alone; at once if there is none."""
        self._post(state.CloseWhenLostRequested())

    async def close_finished(self) -> None:
        """Wait until the session has ended and released everything, without causing it."""
        await self._finished.wait()

    # ------------------------------------------------------------------------------- what there is

    @property
    def is_closed(self) -> bool:
        """True from the first call of `close`, or from its end for any other reason."""
        return self._closing or self._finished.is_set()

    @property
    def connection(self) -> ports.Connection | None:
        """The current connection, if there is one."""
        return self._connection

    async def connected(self) -> ports.Connection:
        """Return the current connection, else the first one from now.

        Raises `SessionClosedError` if the session ends first. Safe to cancel.
        """
        if self._connection is not None:
            return self._connection
        self._require_running()
        return await self._awaiting_connection.wait()

    async def connected_or_failed(self) -> ports.Connection | Failure:
        """Return the current connection, else the next result, whichever it is.

        A declaration that cannot be tried at all is a result too. Raises `SessionClosedError` if the
        session ends first. Safe to cancel.
        """
        if self._connection is not None:
            return self._connection
        if self._state.standing and self._state.failure is not None and not self.is_closed:
            return self._state.failure
        self._require_running()
        return await self._awaiting_result.wait()

    def _require_running(self) -> None:
        if self.is_closed:
            raise SessionClosedError

    @property
    def view(self) -> SessionView:
        """What can be shown of the session now."""
        return SessionView(
            key=self.key,
            generation=self._generation,
            spec=self._desired.spec if self._desired is not None else None,
            state=self._state,
            info=self._connection.info if self._connection is not None else None,
            connected_since=self._connected_since,
            blocked_since=self._blocked_since,
            credential=self._credential,
            last_close=self._last_close,
            confirm_seconds=self._confirm_seconds,
            retry_at=self._retry_at,
        )

    # -------------------------------------------------------------------------------------- the loop

    def _post(self, message: _Message) -> None:
        self._inbox.put_nowait(message)

    async def run(self) -> None:
        """Keep the session until it is closed. Cancelling aborts the connection without a goodbye."""
        try:
            async with asyncio.TaskGroup() as tasks:
                self._helpers = Helpers(self.key, tasks)
                while not self._finished.is_set():
                    await self._handle(await self._inbox.get())
        finally:
            if self._connection is not None:
                self._connection.abort()
                self._connection = None
            self._finished.set()
            self._awaiting_connection.refuse(SessionClosedError())
            self._awaiting_result.refuse(SessionClosedError())

    async def _handle(self, message: _Message) -> None:
        match message:
            case _Declare(desired=desired):
                await self._handle_declaration(desired)
            case _AttemptEnded(number=number, result=result):
                await self._handle_attempt(number, result)
            case _TimerRang(number=number):
                if number == self._number:
                    await self._start_attempt()
            case _ConnectionNews(connection=connection, event=event):
                if connection is self._connection:
                    await self._handle_news(event)
            case _RenewalEnded(live=live, outcome=outcome):
                await self._handle_renewal(live, outcome)
            case _:
                await self._advance(message)
        self._on_change(self)

    async def _advance(self, event: StateEvent) -> None:
        """Take one step of the state machine and carry out what it asks for."""
        transition = state.step(self._state, event)
        self._note_block(transition.state)
        self._state = transition.state
        await self._perform(transition.command)

    def _note_block(self, new: SessionState) -> None:
        is_blocked = new.blocked.status is ConditionStatus.TRUE
        if is_blocked and self._blocked_since is None:
            self._blocked_since = self._environment.clock.now()
        elif not is_blocked:
            self._blocked_since = None

    async def _perform(self, command: Command) -> None:
        match command:
            case Command.NOTHING:
                pass
            case Command.CONNECT_NOW:
                await self._drop_helpers()
                self._in_cycle = False
                self._set_timer(0.0)
            case Command.CONNECT_SPACED:
                await self._drop_helpers()
                self._set_timer(self._until_next_start(slowly=False))
            case Command.CONNECT_SLOWLY:
                await self._drop_helpers()
                self._set_timer(self._until_next_start(slowly=True))
            case Command.RECONNECT:
                await self._stand_down("the session is opened anew")
                self._set_timer(0.0)
            case Command.RENEW:
                await self._start_renewal()
            case Command.STAND_DOWN:
                await self._stand_down("the session is stood down")
            case Command.FINISH:
                await self._stand_down("the session was ended")
                self._finished.set()
            case _:
                assert_never(command)

    # ------------------------------------------------------------------------------------- handlers

    async def _handle_declaration(self, declared: Desired | Unusable) -> None:
        match declared:
            case Unusable(generation=generation, problem=problem):
                self._generation = generation
                self._desired = None
                await self._advance(state.Declared(problem=problem))
                if problem != self._problem:
                    await self._emit(EventType.INVALID_SPEC, problem.message, reason=problem.reason)
                self._problem = problem
            case Desired(spec=spec):
                before = self._desired.spec if self._desired is not None else None
                self._generation = spec.generation
                self._desired = declared
                self._problem = None
                await self._handle_spec(before, spec)
        if self._state.standing:
            self._tell_failure()

    async def _handle_spec(self, before: SessionSpec | None, spec: SessionSpec) -> None:
        if before is not None and _differs_in_generation_only(before, spec):
            return  # the same declaration again is no reason to hurry
        fits = (
            self._connection is not None
            and before is not None
            and before.target.fits(spec.target, connected_to=self._connection.info.endpoint)
        )
        await self._advance(
            state.Declared(
                suspend=spec.suspend,
                stay_closed=spec.stay_closed,
                moved=not fits,
                probing=spec.probe is not None,
            )
        )
        if self._state.phase is Phase.CONNECTED and before is not None:
            if before.probe != spec.probe:
                await self._start_probing()
            if before.credentials != spec.credentials:
                await self._advance(state.CredentialChanged())

    async def _handle_attempt(
        self, number: int, result: Success | errors.ConnectError | errors.CredentialError
    ) -> None:
        if number != self._number:
            if isinstance(result, Success):
                result.connection.abort()
            return
        if not isinstance(result, Success):
            await self._advance(state.AttemptFailed(error=result))
            await self._emit(EventType.CONNECT_FAILED, result.message, reason=result.reason)
            self._tell_failure()
            return
        self._in_cycle = False
        now = self._environment.clock.now()
        self._credential = CredentialUse(
            credential=result.credential, method="Handshake", applied_at=now, verified_at=now
        )
        self._take_over(result)
        await self._advance(state.Opened(probing=self._probe_settings is not None))
        await self._emit(EventType.CONNECTED, _opened_message(result))
        self._awaiting_connection.tell(result.connection)
        self._awaiting_result.tell(result.connection)
        # Observed only now: whatever happened to it meanwhile is reported after `connected`.
        result.connection.observe(self)
        await self._start_probing()

    async def _handle_news(self, event: _News) -> None:
        match event:
            case CloseInfo():
                await self._handle_loss(event)
            case state.Blocked(text=text):
                await self._advance(event)
                if not self._block_reported:
                    self._block_reported = True
                    await self._emit(EventType.BLOCKED, text, reason=self._state.blocked.reason)
            case state.Unblocked():
                await self._advance(event)
                if self._block_reported:
                    self._block_reported = False
                    await self._emit(EventType.UNBLOCKED, self._state.blocked.message)
            case state.ProbeUnanswered():
                await self._advance(event)
            case state.ProbeRefused(message=message):
                await self._advance(event)
                await self._emit(EventType.PROBE_REFUSED, message)
            case state.RenewalRefused(error=error):
                news = self._state.credentials.message != error.message
                await self._advance(event)
                if news:
                    await self._emit(EventType.SECRET_REJECTED, error.message, reason=error.reason)
            case _:
                assert_never(event)

    async def _handle_loss(self, close: CloseInfo) -> None:
        self._let_go(close)
        await self._emit(EventType.DISCONNECTED, close.text, reason=close.reason)
        await self._advance(state.Lost(failure=Failure(reason=close.reason, message=close.text)))

    async def _handle_renewal(self, live: Success, outcome: renewal.Outcome) -> None:
        if live is not self._opened_with:  # a newer one took its place meanwhile
            if isinstance(outcome, renewal.Replaced):
                outcome.success.connection.abort()
            return
        now = self._environment.clock.now()
        match outcome:
            case renewal.Unchanged(credential=credential):
                if self._credential is not None:
                    self._credential = dataclasses.replace(self._credential, credential=credential)
            case renewal.UpdatedInPlace(credential=credential):
                self._credential = CredentialUse(
                    credential=credential, method="InPlace", applied_at=now, verified_at=now
                )
                self._opened_with = dataclasses.replace(live, credential=credential)
                await self._emit(
                    EventType.SECRET_UPDATED, "the broker confirmed the new secret in place"
                )
            case renewal.Replaced(success=success):
                self._credential = CredentialUse(
                    credential=success.credential,
                    method="Replaced",
                    applied_at=now,
                    verified_at=now,
                )
                await self._replace(success)
            case _:
                assert_never(outcome)
        await self._advance(state.Renewed(verified=not isinstance(outcome, renewal.Unchanged)))
        if self._helpers.runs("renewal"):
            # A yet newer credential is on its way to the connection that has just been superseded.
            await self._start_renewal()

    # ----------------------------------------------------------------------------- the connection

    def _take_over(self, success: Success) -> None:
        self._connection = success.connection
        self._opened_with = success
        self._connected_since = self._environment.clock.now()
        self._retry_at = None

    def _let_go(self, close: CloseInfo) -> None:
        self._connection = None
        self._opened_with = None
        self._connected_since = None
        self._confirm_seconds = None
        self._last_close = LastClose(info=close, at=self._environment.clock.now())

    async def _replace(self, success: Success) -> None:
        """Put the new connection in the old one's place, then close the old one."""
        old = self._connection
        self._take_over(success)
        await self._advance(state.Opened(probing=self._probe_settings is not None))
        await self._emit(EventType.SESSION_REPLACED, _opened_message(success))
        success.connection.observe(self)
        await self._start_probing()
        if old is not None:
            await self._close_quietly(old, "replaced by a session with a newer credential")

    async def _stand_down(self, text: str) -> None:
        """Drop every helper and close the connection in an orderly way, if there is one."""
        await self._drop_helpers()
        self._in_cycle = False
        connection = self._connection
        if connection is None:
            return
        self._let_go(
            CloseInfo(by=ClosedBy.CLIENT, reason=Reason.CLIENT_CLOSED, text=text, code=200)
        )
        await self._close_quietly(connection, text)
        await self._emit(EventType.CLOSED, text)

    async def _close_quietly(self, connection: ports.Connection, text: str) -> None:
        try:
            await connection.close(text=text)
        except errors.NotOpenError:
            connection.abort()  # somebody else closed it first; make sure that it is gone

    # ConnectionObserver: called by the driver, from the event loop.

    def connection_blocked(self, connection: ports.Connection, text: str) -> None:
        self._post(_ConnectionNews(connection, state.Blocked(text=text)))

    def connection_unblocked(self, connection: ports.Connection) -> None:
        self._post(_ConnectionNews(connection, state.Unblocked()))

    def connection_closed(self, connection: ports.Connection, close: CloseInfo) -> None:
        self._post(_ConnectionNews(connection, close))

    # ------------------------------------------------------------------------------------- helpers

    def _until_next_start(self, *, slowly: bool) -> float:
        """Seconds from now until the next attempt may start, counted from the last one's start."""
        if self._desired is None or self._last_start is None:
            return 0.0
        spec = self._desired.spec
        rng = self._environment.rng
        if slowly:
            delay = backoff.slow_delay(spec.retry, rng=rng)
        else:
            delay = backoff.spaced_delay(spec.retry, failures=self._state.attempts, rng=rng)
        return max(self._last_start + delay - self._environment.clock.monotonic(), 0.0)

    def _set_timer(self, seconds: float) -> None:
        self._number += 1
        if seconds <= 0:
            self._post(_TimerRang(self._number))
            return
        clock = self._environment.clock
        self._retry_at = clock.now() + timedelta(seconds=seconds)
        self._helpers.start("timer", self._ring_after(seconds, self._number))

    async def _ring_after(self, seconds: float, number: int) -> None:
        await self._environment.clock.sleep(seconds)
        self._post(_TimerRang(number))

    async def _start_attempt(self) -> None:
        await self._drop_helpers()
        if self._desired is None:
            return
        self._retry_at = None
        self._number += 1
        self._helpers.start("attempt", self._attempt(self._desired, self._number))

    async def _attempt(self, desired: Desired, number: int) -> None:
        result: Success | errors.ConnectError | errors.CredentialError
        try:
            result = await attempt(desired.spec, self._means(desired), self)
        except (errors.ConnectError, errors.CredentialError) as error:
            result = error
        except Exception:  # the top of a task: a defect ends the attempt, not the session
            logger.exception("attempt failed unexpectedly", extra={"session": self.key})
            result = errors.TransientError(
                Reason.INTERNAL_ERROR, "an internal error ended the attempt; see Springline's log"
            )
        self._post(_AttemptEnded(number, result))

    # Progress: called by attempt().

    async def started(self) -> None:
        self._last_start = self._environment.clock.monotonic()
        if not self._in_cycle:
            self._in_cycle = True
            if self._desired is not None:
                await self._emit(EventType.ATTEMPTING, _attempting_message(self._desired.spec))

    def fetched(self, credential: Credential) -> None:
        if self._connection is None:
            self._credential = CredentialUse(credential=credential)

    async def resolved(self, endpoint: Endpoint, addresses: Sequence[str]) -> None:
        await self._emit(EventType.OBTAINED_ADDRESS, f"{endpoint} is at {', '.join(addresses)}")

    async def _start_probing(self) -> None:
        await self._helpers.drop("prober")
        settings, connection = self._probe_settings, self._connection
        if settings is not None and connection is not None:
            self._helpers.start("prober", self._probe(connection, settings))

    @property
    def _probe_settings(self) -> ProbeSettings | None:
        return self._desired.spec.probe if self._desired is not None else None

    async def _probe(self, connection: ports.Connection, settings: ProbeSettings) -> None:
        def unanswered() -> None:
            event = state.ProbeUnanswered(seconds=settings.timeout)
            self._post(_ConnectionNews(connection, event))

        def confirmed(seconds: float) -> None:
            self._confirm_seconds = seconds
            if self._state.blocked.status is not ConditionStatus.FALSE:
                self._post(_ConnectionNews(connection, state.Unblocked()))

        try:
            refusal = await probing.probe_forever(
                connection,
                settings,
                clock=self._environment.clock,
                rng=self._environment.rng,
                confirmed=confirmed,
                unanswered=unanswered,
            )
        except Exception:  # the top of a task: without its probe the session is still worth keeping
            logger.exception("probe failed unexpectedly", extra={"session": self.key})
            refusal = "the probe ended with an internal error; see Springline's log"
        if refusal:
            self._post(_ConnectionNews(connection, state.ProbeRefused(message=refusal)))

    async def _start_renewal(self) -> None:
        await self._helpers.drop("renewal")
        if self._opened_with is not None and self._desired is not None:
            self._helpers.start("renewal", self._renew(self._desired, self._opened_with))

    async def _renew(self, desired: Desired, live: Success) -> None:
        def refused(error: errors.ConnectError | errors.CredentialError) -> None:
            self._post(_ConnectionNews(live.connection, state.RenewalRefused(error=error)))

        try:
            outcome = await renewal.renew(
                live,
                desired.spec,
                self._means(desired),
                _Silent(),
                rng=self._environment.rng,
                refused=refused,
            )
        except Exception:  # the top of a task: the live connection keeps its credential
            logger.exception("renewal failed unexpectedly", extra={"session": self.key})
            return
        if outcome is not None:
            self._post(_RenewalEnded(live, outcome))

    def _means(self, desired: Desired) -> Means:
        return Means(
            driver=self._environment.drivers[desired.spec.target.protocol],
            resolver=self._environment.resolver,
            clock=self._environment.clock,
            credentials=desired.credentials,
            tls=desired.tls,
            limit=desired.limit,
        )

    async def _drop_helpers(self) -> None:
        """End every helper. What they posted before is stale from here on."""
        self._number += 1
        self._retry_at = None
        await self._helpers.drop_all()

    # ----------------------------------------------------------------------------------- reporting

    def _tell_failure(self) -> None:
        if self._state.failure is not None:
            self._awaiting_result.tell(self._state.failure)

    async def _emit(self, kind: EventType, message: str, *, reason: Reason | None = None) -> None:
        event = Event(
            type=kind,
            key=self.key,
            at=self._environment.clock.now(),
            message=message,
            reason=reason,
        )
        if not self._deduplicator.admits(event):
            return
        try:
            await self._environment.events.report(event)
        except Exception:  # a sink's defect must not end the session it reports on
            logger.exception("event sink failed", extra={"session": self.key})


class _Silent:
    """Progress of a handshake beside the live session: nothing that the session's cycle should show."""

    async def started(self) -> None:
        pass

    def fetched(self, credential: Credential) -> None:
        pass

    async def resolved(self, endpoint: Endpoint, addresses: Sequence[str]) -> None:
        pass


def _differs_in_generation_only(one: SessionSpec, other: SessionSpec) -> bool:
    return dataclasses.replace(one, generation=other.generation) == other


def _attempting_message(spec: SessionSpec) -> str:
    return f'connecting to {spec.broker}, virtual host "{spec.target.parameters.virtual_host}"'


def _opened_message(success: Success) -> str:
    info = success.connection.info
    user = f" as {success.credential.username}" if success.credential.username else ""
    product = f"{info.server.product} {info.server.version}".strip() or "the broker"
    return f"connected to {product} at {info.endpoint}{user} with {info.negotiated.mechanism}"
