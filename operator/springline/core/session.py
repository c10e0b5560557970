"""One session: the task that opens a declared connection, holds it, and opens it again.

Everything that happens, from outside and from the session's own helper tasks, goes through one
inbox and is handled to the end before the next. What follows is decided in state.py; this file
carries it out. Whatever has to wait for something is done by a helper task (helpers.py), which
only reports back.
"""

import asyncio
import dataclasses
import logging
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import assert_never

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.api.meta import Identity
from springline.core import backoff, ports, renewal, stalling, state, verdicts
from springline.core.attempt import Success, attempting_message, opened_message
from springline.core.closing import close_quietly
from springline.core.desired import ProbeSettings, SessionSpec
from springline.core.environment import Environment
from springline.core.events import EventType, server_name
from springline.core.helpers import Helpers
from springline.core.inbox import Inbox
from springline.core.messages import (
    AttemptEnded,
    Changed,
    Confirmed,
    ConnectionNews,
    Declare,
    Desired,
    Message,
    News,
    RenewalEnded,
    RenewalFailed,
    Request,
    SaidExpired,
    TimerRang,
    Unusable,
)
from springline.core.notes import Notes
from springline.core.reporter import Reporter
from springline.core.state import Command, Failure, Phase, SessionState, StateEvent
from springline.core.upkeep import Upkeep
from springline.core.values import Block, ClosedBy, CloseInfo, Credential, Endpoint, SessionKey
from springline.core.verdicts import Verdict
from springline.core.view import SessionView
from springline.core.waiters import Waiters
from springline.reasons import Reason

__all__ = ["Desired", "Environment", "Session", "SessionClosedError", "Unusable"]

logger = logging.getLogger(__name__)

_PROBE_WAITS = (
    "the probe was refused because the credential has expired, so a block would go "
    "unseen; the probe goes on when it is renewed"
)


class SessionClosedError(errors.SpringlineError):
    """The session has ended, so what was waited for will not come."""

    def __str__(self) -> str:
        return "the session has ended"


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
        self._inbox: Inbox[Message] = Inbox()
        self._tasks = asyncio.TaskGroup()
        self._helpers = Helpers(key, environment, self._tasks, self._inbox.put)
        self._closing = False
        self._is_finished = False
        self._state = SessionState()
        self._desired: Desired | None = None
        self._problem: Failure | None = None
        self._generation = 0
        self._number = 0  # of the current attempt or timer; news of an earlier one is stale
        self._last_start: float | None = None
        self._in_cycle = False
        self._reporter = Reporter(key, environment)
        self._emit = self._reporter.emit
        self._connection: ports.Connection | None = None
        self._changed: ports.Connection | None = None  # what said so, until that is handled
        self._opened_with: Success | None = None
        self._notes = Notes(environment.clock)
        self._block_reported = False
        self._refused: Credential | None = None  # by the last attempt, for sources with others
        self._upkeep = Upkeep(
            self._helpers,
            self._notes,
            environment.clock,
            shown=lambda: self._state,
            advance=self._advance,
            emit=self._emit,
        )
        self._awaiting_connection: Waiters[ports.Connection] = Waiters()
        self._awaiting_result: Waiters[ports.Connection | Failure] = Waiters()
        self._awaiting_end: Waiters[None] = Waiters()

    # --- what is wanted

    def declare(self, desired: Desired | Unusable) -> None:
        """Say what the session is to do from now on. Idempotent for an equal declaration."""
        self._post(Declare(desired))

    def credential_changed(self) -> None:
        """Say that an object the session reads has changed. Idempotent."""
        self._post(state.CredentialChanged())

    def renew(self) -> None:
        """Ask for the credential to be renewed now, and tried even if its value is the same."""
        self._post(state.RenewRequested())

    def reconnect(self) -> None:
        """Ask for a fresh connection, without waiting for the retry delay."""
        self._post(state.ReconnectRequested())

    async def close(self) -> None:
        """Close the current connection, attempt no more, and return when all is released.

        Idempotent. Cancelling the wait does not cancel the close.
        """
        if not self._closing:
            self._closing = True
            self._post(state.CloseRequested())
        await self.close_finished()

    def close_when_current_connection_is_closed(self) -> None:
        """End together with the current connection, or at once if there is none."""
        self._post(state.CloseWhenLostRequested())

    async def close_finished(self) -> None:
        """Wait until the session has ended and released everything, without causing it."""
        if not self._is_finished:
            await self._awaiting_end.wait()

    # --- what there is

    @property
    def is_closed(self) -> bool:
        """True from the first call of `close`, or from its end for any other reason."""
        return self._closing or self._is_finished

    @property
    def broker(self) -> Identity | None:
        """What is declared to be connected to, or was the last time that it could be used."""
        return self._reporter.broker

    @property
    def server_name(self) -> str:
        """That broker's name for people, as in events and logs; empty before there is one."""
        return server_name(self.broker)

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

        A declaration that cannot be tried at all is a result too. Raises `SessionClosedError` if
        the session ends first. Safe to cancel.
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
            target=self._opened_with.target if self._opened_with is not None else None,
            connected_since=self._notes.connected_since,
            blocked_since=self._notes.blocked_since,
            blocked_seconds=self._notes.blocked_seconds,
            refused_seconds=self._notes.refused_seconds,
            credential=self._notes.credential,
            disconnects=self._notes.disconnects,
            last_close=self._notes.last_close,
            confirm_seconds=self._notes.confirm_seconds,
            retry_at=self._notes.retry_at,
        )

    # --- the loop

    def _post(self, message: Message) -> None:
        self._inbox.put(message)

    async def run(self) -> None:
        """Keep the session until it is closed. If cancelled, the connection is aborted.

        An exception is a defect of ours; it is raised when everything is released and the state
        says that there is no session.
        """
        try:
            async with self._tasks:
                while not self._is_finished:
                    await self._handle(await self._inbox.get())
        except Exception:
            error = errors.TransientError(
                Reason.INTERNAL_ERROR, "an internal error ended the session; see Springline's log"
            )
            self._state = state.step(self._state, state.AttemptFailed(error=error)).state
            self._note_block(self._state)
            raise
        finally:
            if self._connection is not None:
                self._connection.abort()
                self._connection = None
            self._abort_undelivered()
            self._finish()
            self._awaiting_connection.refuse(SessionClosedError())
            self._awaiting_result.refuse(SessionClosedError())
            self._on_change(self)

    def _abort_undelivered(self) -> None:
        """Drop connections that were opened just when the session ended: nobody takes them over."""
        for message in self._inbox.drain():
            match message:
                case (
                    AttemptEnded(result=Success(connection=connection))
                    | RenewalEnded(outcome=renewal.Replaced(success=Success(connection=connection)))
                ):
                    connection.abort()
                case _:
                    pass

    def _finish(self) -> None:
        self._is_finished = True
        self._awaiting_end.tell(None)

    async def _handle(self, message: Message) -> None:
        match message:
            case Declare(declaration=declaration):
                await self._handle_declaration(declaration)
            case AttemptEnded(number=number, result=result):
                await self._handle_attempt(number, result)
            case TimerRang(number=number):
                if number == self._number:
                    await self._start_attempt()
            case ConnectionNews(connection=connection, news=news):
                if connection is not self._connection:
                    return
                if isinstance(news, Confirmed) and self._is_quiet(news):
                    return
                await self._handle_news(news)
            case RenewalEnded(live=live, outcome=outcome):
                await self._handle_renewal(live, outcome)
            case RenewalFailed():
                await self._handle_failed_renewal(message)
            case _:
                await self._handle_request(message)
        await self._upkeep.tell_recovery()
        self._on_change(self)

    def _is_quiet(self, confirmed: Confirmed) -> bool:
        """Note how long a confirm took; most say nothing else, and need no projection."""
        self._notes.confirm_seconds = confirmed.seconds
        return self._state.blocked.status is ConditionStatus.FALSE

    async def _advance(self, event: StateEvent, *, why: str = "the session is opened anew") -> None:
        """Take one step of the state machine and carry out what it asks for.

        `why` is what is said of a connection that is closed to be opened again.
        """
        transition = state.step(self._state, event)
        self._note_block(transition.state)
        self._notes.refuse(is_refused=stalling.refusal(transition.state) is not None)
        self._state = transition.state
        await self._perform(transition.command, why=why)

    def _note_block(self, new: SessionState) -> None:
        self._notes.block(is_blocked=new.blocked.status is ConditionStatus.TRUE)

    async def _perform(self, command: Command, *, why: str) -> None:
        match command:
            case Command.NOTHING:
                pass
            case Command.CONNECT_NOW:
                self._in_cycle = False
                await self._connect_after(0.0)
            case Command.CONNECT_SPACED:
                await self._connect_after(self._until_next_start(slowly=False))
            case Command.CONNECT_SLOWLY:
                await self._connect_after(self._until_next_start(slowly=True))
            case Command.RECONNECT:
                await self._stand_down(why)
                await self._connect_after(0.0)
            case Command.RENEW:
                await self._start_renewal()
            case Command.STAND_DOWN:
                await self._stand_down("the session is stood down")
            case Command.FINISH:
                await self._stand_down("the session was ended")
                self._abort_undelivered()
                self._finish()
            case _:
                assert_never(command)

    # --- handlers

    async def _handle_request(self, request: Request) -> None:
        match request:
            case state.CredentialChanged():
                self._notes.refuse(is_refused=False)  # nobody has refused what it is now
                self._upkeep.changed()
            case state.RenewRequested():
                self._upkeep.ask()
            case _:
                pass
        await self._advance(request)

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
                self._reporter.concern(spec.broker)
                self._desired = declared
                self._problem = None
                await self._handle_spec(before, spec)
        if self._state.standing:
            self._tell_failure()

    async def _handle_spec(self, before: SessionSpec | None, spec: SessionSpec) -> None:
        if before is not None and before.same_but_generation(spec):
            return  # the same declaration again is no reason to hurry
        await self._advance(
            state.Declared(
                suspend=spec.suspend,
                stay_closed=spec.stay_closed,
                changed=before is None or self._is_to_be_brought(before, spec),
                probing=spec.probe is not None,
            )
        )
        if self._state.phase is Phase.CONNECTED and before is not None:
            if before.probe != spec.probe:
                await self._start_probing()
            if before.rotation != spec.rotation and self._connection is not None:
                await self._upkeep.adjust(self._connection, spec.rotation)

    def _is_to_be_brought(self, before: SessionSpec, spec: SessionSpec) -> bool:
        """Whether a renewal has to begin; one that is under way goes on as it was declared then."""
        is_overtaken = self._helpers.is_renewing and before.tries_otherwise(spec)
        return is_overtaken or before.uses_other(spec)

    async def _handle_attempt(
        self, number: int, result: Success | errors.ConnectError | errors.CredentialError
    ) -> None:
        if number != self._number:  # dropped meanwhile
            if isinstance(result, Success):
                await close_quietly(result.connection, "no longer wanted")
            return
        if not isinstance(result, Success):
            await self._advance(
                state.AttemptFailed(error=result, has_expired=self._note_refusal(result))
            )
            await self._emit(EventType.CONNECT_FAILED, result.message, reason=result.reason)
            self._tell_failure()
            return
        self._in_cycle = False
        await self._take_over(result, method="Handshake", report=EventType.CONNECTED)

    def _note_refusal(self, error: errors.ConnectError | errors.CredentialError) -> bool:
        """Note that the credential of an attempt was refused; return whether it has expired."""
        use = self._notes.credential
        if use is None or not isinstance(error, errors.CredentialRejectedError):
            return False
        self._refused = use.credential
        return error.says_expired or self._upkeep.knows_expired(use.credential)

    async def _handle_news(self, news: News) -> None:
        match news:
            case CloseInfo():
                await self._handle_loss(news)
            case Changed():
                self._changed = None  # all of it is projected now; what comes later is news again
            case Confirmed() | state.Unblocked():
                await self._handle_unblocked()
            case state.Blocked(block=block):
                await self._advance(news)
                if not self._block_reported:
                    self._block_reported = True
                    await self._emit(EventType.BLOCKED, block.text, reason=block.reason)
            case state.ProbeUnanswered() | state.RenewalDue():
                await self._advance(news)
            case state.ProbeRefused() | SaidExpired():
                await self._handle_refused_probe(news)
            case state.CredentialExpired():
                await self._upkeep.ended()
            case _:
                assert_never(news)

    async def _handle_refused_probe(self, news: state.ProbeRefused | SaidExpired) -> None:
        match news:
            case state.ProbeRefused(message=message):
                await self._advance(news)
                await self._emit(EventType.PROBE_REFUSED, message)
            case SaidExpired(words=words):
                await self._advance(state.ProbeRefused(message=_PROBE_WAITS))
                if self._desired is not None:
                    await self._upkeep.said_expired(words, self._desired.spec.retry)
            case _:
                assert_never(news)

    async def _handle_unblocked(self) -> None:
        await self._advance(state.Unblocked())
        if self._block_reported:
            self._block_reported = False
            await self._emit(EventType.UNBLOCKED, self._state.blocked.message)

    async def _handle_loss(self, close: CloseInfo) -> None:
        self._let_go(close)
        self._notes.disconnects += 1
        self._environment.meter.disconnected(close.reason)
        await self._emit(EventType.DISCONNECTED, close.text, reason=close.reason)
        if close.says_expired and self._notes.credential is not None:
            self._refused = self._notes.credential.credential
            await self._upkeep.ended_by_broker(close.text)
        await self._advance(state.Lost(failure=Failure(reason=close.reason, message=close.text)))

    async def _handle_renewal(self, live: Success, outcome: renewal.Outcome) -> None:
        if live is self._opened_with:
            await self._take_in(live, outcome)
        elif isinstance(outcome, renewal.Replaced):  # a newer one took its place meanwhile
            await close_quietly(outcome.success.connection, "no longer wanted")
        is_part = isinstance(outcome, renewal.UpdatedInPlace) and outcome.is_part
        if self._upkeep.is_over() or is_part:
            await self._start_renewal()

    async def _handle_failed_renewal(self, message: RenewalFailed) -> None:
        if message.connection is not self._connection or message.number != self._helpers.renewals:
            return  # of what is no longer declared
        if self._upkeep.is_overtaken:
            await self._start_renewal()
        else:
            await self._upkeep.refused(message.news)

    def _synced_by(self, outcome: renewal.Outcome) -> Verdict:
        """Return whether the session is what is declared when this has been brought to it."""
        synced = self._state.synced
        if isinstance(outcome, renewal.UpdatedInPlace) and outcome.is_part:
            return synced
        is_applying = self._upkeep.is_overtaken and synced.reason is Reason.APPLYING
        return synced if is_applying else verdicts.IN_SYNC

    async def _take_in(self, live: Success, outcome: renewal.Outcome) -> None:
        match outcome:
            case renewal.Unchanged(credential=credential, verified_at=verified_at):
                await self._upkeep.unchanged(
                    credential, verified_at, synced=self._synced_by(outcome)
                )
                if verified_at is not None:
                    await self._revive_probe()
            case renewal.UpdatedInPlace(
                credential=credential, verified_at=verified_at, is_limited=is_limited
            ):
                is_routine = self._upkeep.is_due
                self._opened_with = dataclasses.replace(live, credential=credential)
                renewed = state.Renewed(
                    verified=verified_at is not None,
                    limited=is_limited,
                    synced=self._synced_by(outcome),
                )
                await self._use(credential, renewed, method="InPlace", verified_at=verified_at)
                await self._emit(
                    EventType.SECRET_UPDATED,
                    "the broker confirmed the new secret in place",
                    is_routine=is_routine,
                )
                await self._revive_probe()
            case renewal.Replaced(success=success) if self._state.finish_when_lost:
                # It would close the connection that the session is to end with.
                await close_quietly(success.connection, "no longer wanted")
                await self._advance(state.CloseRequested())
            case renewal.Replaced(success=success, why=why):
                await self._replace(success, self._synced_by(outcome), why)
            case renewal.NoRoom() if self._upkeep.is_overtaken:
                pass  # what is to be brought now may need none
            case renewal.NoRoom(message=message):
                why = f"closed first, as spec.rotation.whenLimited says: {message}"
                await self._advance(state.RoomNeeded(), why=why)
            case _:
                assert_never(outcome)

    async def _revive_probe(self) -> None:
        """Probe again where the old credential was no longer allowed to."""
        if self._state.blocked.reason is Reason.PROBE_DISABLED and self._probe_settings is not None:
            await self._advance(state.ProbeRestarted())
            await self._start_probing()

    # --- the connection

    async def _take_over(
        self, success: Success, *also: StateEvent, method: str, report: EventType, why: str = ""
    ) -> None:
        """Make this the current connection, and tell whoever is concerned."""
        self._connection = success.connection
        self._opened_with = success
        self._refused = None
        self._notes.open()
        opened = state.Opened(
            probing=self._probe_settings is not None, proved=success.connection.info.proved
        )
        await self._use(success.credential, opened, *also, method=method)
        await self._emit(report, opened_message(success, why_new=why))
        self._awaiting_connection.tell(success.connection)
        self._awaiting_result.tell(success.connection)
        # Observed only now: whatever happened to it meanwhile is reported after `connected`.
        success.connection.observe(self)
        await self._start_probing()

    async def _use(
        self,
        credential: Credential,
        *steps: StateEvent,
        method: str,
        verified_at: datetime | None = None,
    ) -> None:
        """Note that the current connection uses the credential from now on, and what that means."""
        if self._connection is not None and self._desired is not None:
            await self._upkeep.use(
                self._connection,
                credential,
                self._desired.spec.rotation,
                steps,
                method=method,
                verified_at=verified_at,
            )

    def _let_go(self, close: CloseInfo) -> None:
        self._connection = None
        self._opened_with = None
        self._upkeep.let_go()
        self._notes.close(close)

    async def _replace(self, success: Success, synced: Verdict, why: str) -> None:
        """Put the new connection in the old one's place, then close the old one."""
        old = self._connection
        try:
            await self._take_over(
                success,
                state.Renewed(synced=synced),
                method="Replaced",
                report=EventType.SESSION_REPLACED,
                why=why,
            )
        except BaseException:
            if old is not None:
                old.abort()  # nobody else knows of it any more
            raise
        if old is not None:
            await close_quietly(old, "replaced by a newer session")

    async def _stand_down(self, text: str) -> None:
        """Drop every helper and close the connection in an orderly way, if there is one."""
        await self._drop_helpers()
        self._in_cycle = False
        connection = self._connection
        if connection is None:
            return
        self._let_go(
            CloseInfo(
                by=ClosedBy.CLIENT,
                reason=Reason.CLIENT_CLOSED,
                text=text,
                codes=connection.close_codes,
            )
        )
        await close_quietly(connection, text)
        await self._emit(EventType.CLOSED, text)

    # ConnectionObserver: called by the driver, from the event loop.

    def connection_blocked(self, connection: ports.Connection, block: Block) -> None:
        self._post(ConnectionNews(connection, state.Blocked(block=block)))

    def connection_unblocked(self, connection: ports.Connection) -> None:
        self._post(ConnectionNews(connection, state.Unblocked()))

    def connection_changed(self, connection: ports.Connection) -> None:
        if connection is self.connection and connection is not self._changed:
            self._changed = connection
            self._post(ConnectionNews(connection, Changed()))

    def connection_closed(self, connection: ports.Connection, close: CloseInfo) -> None:
        self._post(ConnectionNews(connection, close))

    # --- what comes next

    async def _connect_after(self, seconds: float) -> None:
        """Drop every helper and attempt to connect after so many seconds."""
        await self._drop_helpers()
        if seconds > 0:
            self._notes.wait(seconds)
        await self._helpers.ring_after(seconds, number=self._number)

    def _until_next_start(self, *, slowly: bool) -> float:
        """Seconds from now until the next attempt may start, counted from the last one's start."""
        if self._desired is None or self._last_start is None:
            return 0.0
        retry, rng = self._desired.spec.retry, self._environment.rng
        if slowly:
            delay = backoff.slow_delay(retry, rng=rng)
        else:
            delay = backoff.spaced_delay(retry, failures=self._state.attempts, rng=rng)
        return max(self._last_start + delay - self._environment.clock.monotonic(), 0.0)

    async def _start_attempt(self) -> None:
        await self._drop_helpers()
        if self._desired is not None:
            await self._helpers.attempt(
                self._desired, self, number=self._number, instead_of=self._refused
            )

    async def _start_probing(self) -> None:
        if self._connection is not None:
            await self._helpers.probe(self._connection, self._probe_settings)

    async def _start_renewal(self) -> None:
        if self._opened_with is not None and self._desired is not None:
            await self._upkeep.renew(self._desired, self._opened_with)

    async def _drop_helpers(self) -> None:
        """End every helper. What they reported before is stale from here on."""
        self._number += 1
        self._notes.retry_at = None
        await self._helpers.drop_all()

    @property
    def _probe_settings(self) -> ProbeSettings | None:
        return self._desired.spec.probe if self._desired is not None else None

    # Progress: called by attempt().

    async def started(self) -> None:
        self._last_start = self._environment.clock.monotonic()
        if not self._in_cycle:
            self._in_cycle = True
            if self._desired is not None:
                await self._emit(EventType.ATTEMPTING, attempting_message(self._desired.spec))

    def fetched(self, credential: Credential) -> None:
        if self._connection is None:
            self._notes.try_out(credential)

    async def resolved(self, endpoint: Endpoint, addresses: Sequence[str]) -> None:
        await self._emit(EventType.OBTAINED_ADDRESS, f"{endpoint} is at {', '.join(addresses)}")

    # --- reporting

    def _tell_failure(self) -> None:
        if self._state.failure is not None:
            self._awaiting_result.tell(self._state.failure)
