"""One session: the task that opens a declared connection, holds it, and opens it again.

Everything that happens, from outside and from the session's own helper tasks, goes through one
inbox and is handled to the end before the next. What follows is decided in state.py; this file
carries it out. Whatever has to wait for something is done by a helper task (helpers.py), which
only reports back; what is in use, and what is due, is the keeper's to know (keeper.py).
"""

import asyncio
import logging
from collections.abc import Callable
from typing import assert_never

from springline import errors
from springline.api.conditions import ConditionStatus
from springline.api.meta import Identity
from springline.core import ports, renewal, stalling, state, streams, verdicts
from springline.core.attempt import Success, opened_message
from springline.core.closing import close_quietly
from springline.core.cycle import Cycle
from springline.core.desired import ProbeSettings, SessionSpec
from springline.core.environment import Environment
from springline.core.events import EventType, server_name
from springline.core.helpers import Helpers, Role
from springline.core.inbox import Inbox
from springline.core.keeper import Keeper
from springline.core.lifetime import Moment
from springline.core.messages import (
    AttemptEnded,
    Changed,
    Confirmed,
    ConnectionNews,
    Declare,
    LinkSilent,
    Message,
    News,
    Request,
    SaidExpired,
    TimerRang,
    Tried,
)
from springline.core.notes import Notes
from springline.core.probe_trials import ProbeHold
from springline.core.reporter import Reporter
from springline.core.state import Command, Failure, Phase, SessionState, StateEvent
from springline.core.told import Tale, Told
from springline.core.values import Block, ClosedBy, CloseInfo, CredentialKind, SessionKey
from springline.core.verdicts import Verdict
from springline.core.view import SessionView
from springline.core.waiters import Waiters
from springline.core.wanted import Desired, Unusable
from springline.reasons import Reason

__all__ = ["Desired", "Environment", "Session", "SessionClosedError", "Unusable"]

logger = logging.getLogger(__name__)

_PROBE_WAITS = (
    "the probe's publish was refused because the credential has expired, so a block would go "
    "unseen; the probe goes on when it is renewed"
)


class SessionClosedError(errors.SpringlineError):
    """The session has ended, so what was waited for will not come."""

    def __str__(self) -> str:
        return "the session has ended"


class Session:
    """A declared live client. `run` it in a task; everything else may be called from any task."""

    __slots__ = (
        "_awaiting_connection",
        "_awaiting_end",
        "_awaiting_result",
        "_block_reported",
        "_closing",
        "_cycle",
        "_desired",
        "_environment",
        "_generation",
        "_helpers",
        "_inbox",
        "_is_finished",
        "_keeper",
        "_notes",
        "_number",
        "_on_change",
        "_probe_hold",
        "_problem",
        "_reporter",
        "_state",
        "_tasks",
        "_told",
        "_unblocked",
        "_unheard",
        "key",
    )

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
        self._helpers = Helpers(key, environment.clock, self._tasks, self._inbox)
        self._reporter = Reporter(key, environment)
        self._keeper = Keeper(key, environment)
        self._cycle = Cycle(environment, self._reporter, self._keeper)
        self._notes = Notes(environment.clock)
        self._told = Told()
        self._closing = False
        self._is_finished = False
        self._state = SessionState()
        self._desired: Desired | None = None
        self._problem: Failure | None = None
        self._generation = 0
        self._number = 0  # of the current attempt or timer; news of an earlier one is stale
        # What says that it has changed, and whether it said so because nothing blocks any more.
        self._unheard: ports.Connection | None = None
        self._unblocked = False
        self._block_reported = False
        self._probe_hold = ProbeHold(environment)
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
        live = self._keeper.live
        return live.connection if live is not None else None

    async def connected(self) -> ports.Connection:
        """Return the current connection, else the first one from now.

        Raises `SessionClosedError` if the session ends first. Safe to cancel.
        """
        if (connection := self.connection) is not None:
            return connection
        self._require_running()
        return await self._awaiting_connection.wait()

    async def connected_or_failed(self) -> ports.Connection | Failure:
        """Return the current connection, else the next result, whichever it is.

        A declaration that cannot be tried at all is a result too. Raises `SessionClosedError` if
        the session ends first. Safe to cancel.
        """
        if (connection := self.connection) is not None:
            return connection
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
        live = self._keeper.live
        return SessionView(
            key=self.key,
            generation=self._generation,
            spec=self._desired.spec if self._desired is not None else None,
            state=self._state,
            info=live.connection.info if live is not None else None,
            target=live.target if live is not None else None,
            connected_since=self._notes.connected_since,
            blocked_since=self._notes.blocked_since,
            blocked_seconds=self._notes.blocked_seconds,
            refused_seconds=self._notes.refused_seconds,
            credential=self._keeper.use,
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
                try:
                    while not self._is_finished:
                        await self._handle(await self._inbox.get())
                finally:
                    self._helpers.stop_timers()
        except Exception:
            error = errors.TransientError(
                Reason.INTERNAL_ERROR, "an internal error ended the session; see Springline's log"
            )
            self._state = state.step(self._state, state.AttemptFailed(error=error)).state
            self._note_block(self._state)
            raise
        finally:
            if (connection := self.connection) is not None:
                connection.abort()
                self._keeper.let_go()
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
                    | Tried(came=renewal.Replaced(success=Success(connection=connection)))
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
                if connection is not self.connection:
                    return
                if isinstance(news, Confirmed) and not self._is_block_possible:
                    return  # it says nothing else, and needs no projection
                await self._handle_news(news)
            case Tried(live=live, came=came):
                if isinstance(came, renewal.Refusal):
                    await self._handle_refusal(message, came)
                else:
                    await self._handle_outcome(live, came)
            case _:
                await self._handle_request(message)
        await self._tell(self._told.recovery(self._state))
        self._on_change(self)

    @property
    def _is_block_possible(self) -> bool:
        return self._state.blocked.status is not ConditionStatus.FALSE

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
        self._notes.block(new.blocked.status)

    async def _perform(self, command: Command, *, why: str) -> None:
        match command:
            case Command.NOTHING:
                pass
            case Command.CONNECT_NOW:
                self._cycle.end()
                await self._connect_after(self._cycle.until_allowed())
            case Command.CONNECT_SPACED:
                await self._connect_after(self._until_next_start(slowly=False))
            case Command.CONNECT_SLOWLY:
                await self._connect_after(self._until_next_start(slowly=True))
            case Command.RECONNECT:
                await self._stand_down(why)
                await self._connect_after(self._cycle.until_allowed())
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
                self._told.changed()
            case state.RenewRequested():
                self._keeper.ask()
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
        is_unprobed = self._state.unprobed is not None
        self._probe_hold.declared()
        await self._advance(
            state.Declared(
                suspend=spec.suspend,
                stay_closed=spec.stay_closed,
                changed=before is None or self._is_to_be_brought(before, spec),
                probing=self._probing_from_now_on(before, spec),
            )
        )
        if self._state.phase is Phase.CONNECTED and before is not None:
            if before.probe != spec.probe or is_unprobed:
                await self._start_probing()
            if before.rotation != spec.rotation:
                self._keeper.adjust(spec.rotation)
                await self._start_ageing()

    def _probing_from_now_on(self, before: SessionSpec | None, spec: SessionSpec) -> bool | None:
        """Return whether blocks are looked for, None where they are if they were."""
        if before is not None and before.probe is not None and before.probe == spec.probe:
            return None  # a probe that was refused is not repeated for that
        return spec.probe is not None

    def _is_to_be_brought(self, before: SessionSpec, spec: SessionSpec) -> bool:
        """Whether a renewal has to begin; one that is under way goes on as it was declared then."""
        is_overtaken = self._helpers.is_at_work(Role.RENEWAL) and before.tries_otherwise(spec)
        return is_overtaken or before.uses_other(spec)

    async def _handle_attempt(
        self, number: int, result: Success | errors.ConnectError | errors.CredentialError
    ) -> None:
        if number != self._number:  # dropped meanwhile
            if isinstance(result, Success):
                await close_quietly(result.connection, "no longer wanted")
            return
        if not isinstance(result, Success):
            self._cycle.failed(result)
            has_expired = self._keeper.attempt_failed(result)
            await self._advance(state.AttemptFailed(error=result, has_expired=has_expired))
            await self._emit(EventType.CONNECT_FAILED, result.message, reason=result.reason)
            self._tell_failure()
            return
        self._cycle.end()
        await self._take_over(result, method="Handshake", report=EventType.CONNECTED)
        await self._start_probing()

    async def _handle_news(self, news: News) -> None:
        match news:
            case CloseInfo():
                await self._handle_loss(news)
            case Changed():
                is_unblocked, self._unheard, self._unblocked = self._unblocked, None, False
                await self._look_for_block(is_unblocked=is_unblocked)
            case Confirmed():
                await self._handle_unblocked(state.ProbeConfirmed())
            case state.ProbeUnanswered() | state.ProbeFailed():
                await self._advance(news)
            case state.ProbeRefused() | state.ProbeRestarted() | SaidExpired():
                await self._handle_refused_probe(news)
            case LinkSilent(probes=probes):
                await self._handle_silence(probes)
            case Moment():
                await self._handle_moment(news)
            case _:
                assert_never(news)

    async def _handle_refused_probe(
        self, news: state.ProbeRefused | state.ProbeRestarted | SaidExpired
    ) -> None:
        match news:
            case state.ProbeRefused():
                await self._refuse_probe(news)
            case state.ProbeRestarted():
                self._probe_hold.let()
                await self._advance(news)
            case SaidExpired(words=words):
                await self._handle_expired_probe(words)
            case _:
                assert_never(news)

    async def _refuse_probe(self, refused: state.ProbeRefused) -> None:
        """Show why there is no probe, and tell it once while it stays so."""
        before = self._state.unprobed
        await self._advance(refused)
        if before is None or before.message != refused.message:
            await self._emit(EventType.PROBE_REFUSED, refused.message)

    async def _handle_silence(self, probes: int) -> None:
        """End a connection whose peer has vanished; there are no heartbeats that would."""
        if (connection := self.connection) is not None:
            connection.abort()
        text = f"heartbeats are off, and the broker left {probes} probes in a row unanswered"
        close = CloseInfo(by=ClosedBy.TRANSPORT, reason=Reason.PEER_SILENT, text=text)
        await self._handle_loss(close)

    async def _handle_expired_probe(self, words: str) -> None:
        await self._advance(state.ProbeRefused(message=_PROBE_WAITS))
        self._keeper.said_expired(words)
        await self._tell_age(self._keeper.expiry())
        if self._desired is not None:
            self._keeper.hurry(self._desired.spec.retry)
            await self._advance(state.RenewalDue())

    async def _handle_moment(self, moment: Moment) -> None:
        match moment:
            case Moment.DUE:
                await self._advance(state.RenewalDue())
            case Moment.OVER:
                if self._keeper.has_expired:  # it may be the end of the credential before
                    await self._tell_age(self._keeper.expiry())
            case _:
                assert_never(moment)

    async def _look_for_block(self, *, is_unblocked: bool) -> None:
        """Take in how it is by now; `is_unblocked` if it was said meanwhile that nothing blocks."""
        connection = self.connection
        if connection is None or not connection.is_open:
            return  # how it ended is told by itself
        block = connection.blocked
        if block is None:
            if is_unblocked:
                await self._handle_unblocked(state.Unblocked())
            return
        await self._advance(state.Blocked(block=block))
        if not self._block_reported:
            self._block_reported = True
            await self._emit(EventType.BLOCKED, block.text, reason=block.reason)

    async def _handle_unblocked(self, event: state.Unblocked | state.ProbeConfirmed) -> None:
        await self._advance(event)
        if self._block_reported:
            self._block_reported = False
            await self._emit(EventType.UNBLOCKED, verdicts.NOT_BLOCKED.message)

    async def _handle_loss(self, close: CloseInfo) -> None:
        self._let_go(close, is_lost=True)
        self._environment.meter.disconnected(close.reason)
        await self._emit(EventType.DISCONNECTED, close.text, reason=close.reason)
        if close.says_expired:
            self._keeper.lost_as_expired(close.text)
            await self._tell_age(self._keeper.expiry())
        if close.probe_refused:
            self._probe_hold.begin(close.probe_refused)
            await self._emit(EventType.PROBE_REFUSED, close.probe_refused)
        failure = Failure(reason=close.reason, message=close.text)
        await self._advance(state.Lost(failure=failure, by_probe=bool(close.probe_refused)))

    # --- renewals

    async def _handle_refusal(self, tried: Tried, refusal: renewal.Refusal) -> None:
        """Take in that a try failed; the next one is under way."""
        keeper = self._keeper
        if tried.live.connection is not self.connection or tried.number != keeper.number:
            return  # of what is no longer declared
        if keeper.is_overtaken:
            await self._start_renewal()
            return
        keeper.failed(refusal)
        if refusal.no_other_issued:
            is_over = keeper.has_expired
            await self._tell_age(
                keeper.expiry() if is_over else keeper.expiring(refusal.error.message)
            )
            is_in_sync = self._state.synced.status is ConditionStatus.TRUE
            if is_in_sync and (keeper.is_old or is_over):
                return  # what is declared has not changed, and that it grows old has been said
        before = self._state
        await self._advance(state.RenewalRefused(error=refusal.error, lasts=refusal.lasts))
        await self._tell(self._told.refusal(before, self._state, refusal.error))

    async def _handle_outcome(self, live: Success, outcome: renewal.Outcome) -> None:
        if live is self._keeper.live:
            await self._take_in(outcome)
        elif isinstance(outcome, renewal.Replaced):  # a newer one took its place meanwhile
            await close_quietly(outcome.success.connection, "no longer wanted")
        if self._keeper.heard(outcome):
            await self._start_renewal()

    async def _take_in(self, outcome: renewal.Outcome) -> None:
        match outcome:
            case renewal.Unchanged():
                await self._take_in_unchanged(outcome)
            case renewal.UpdatedInPlace():
                await self._take_in_update(outcome)
            case renewal.Replaced(success=success) if self._state.finish_when_lost:
                # It would close the connection that the session is to end with.
                await close_quietly(success.connection, "no longer wanted")
                await self._advance(state.CloseRequested())
            case renewal.Replaced(success=success, why=why):
                await self._replace(success, self._synced_by(outcome), why)
            case renewal.NoRoom() if self._keeper.is_overtaken:
                pass  # what is to be brought now may need none
            case renewal.NoRoom(message=message):
                await self._advance(state.RoomNeeded(), why=message)
            case _:
                assert_never(outcome)

    async def _take_in_unchanged(self, outcome: renewal.Unchanged) -> None:
        """What is to be used is in use already; that may be a good sign or a bad one."""
        keeper, is_tried = self._keeper, outcome.verified_at is not None
        if keeper.unchanged(outcome.credential, verified_at=outcome.verified_at):
            await self._start_ageing()
        # Whatever was refused before has been taken back.
        synced = self._synced_by(outcome)
        await self._advance(
            state.Renewed(synced=synced) if is_tried else state.Unchanged(synced=synced)
        )
        if keeper.has_expired:
            await self._tell_age(keeper.expiry())
        elif keeper.is_old:
            await self._tell_age(keeper.expiring("whoever renews it has not done so yet"))
        if is_tried:
            await self._revive_probe()

    async def _take_in_update(self, outcome: renewal.UpdatedInPlace) -> None:
        if self._desired is None:
            return
        keeper, verified_at = self._keeper, outcome.verified_at
        is_routine = keeper.is_routine and not self._told.is_old
        keeper.updated(outcome.credential, self._desired.spec.rotation, verified_at=verified_at)
        renewed = state.Renewed(
            verified=verified_at is not None,
            limited=outcome.is_limited,
            synced=self._synced_by(outcome),
        )
        await self._use(renewed)
        await self._emit(
            EventType.SECRET_UPDATED,
            "the broker confirmed the new secret in place",
            is_routine=is_routine,
        )
        await self._revive_probe()

    def _synced_by(self, outcome: renewal.Outcome) -> Verdict:
        """Return whether the session is what is declared when this has been brought to it."""
        synced = self._state.synced
        if isinstance(outcome, renewal.UpdatedInPlace) and outcome.is_part:
            return synced
        is_applying = self._keeper.is_overtaken and synced.reason is Reason.APPLYING
        return synced if is_applying else verdicts.IN_SYNC

    async def _revive_probe(self) -> None:
        """Probe again where the old credential was no longer allowed to."""
        if self._probe_settings is None:
            return
        # Not by what is shown: the broker may have spoken of a block since the probe was refused.
        is_unprobed = self._state.unprobed is not None
        if is_unprobed or not self._helpers.is_at_work(Role.PROBER):
            if not self._probe_hold.why:
                await self._advance(state.ProbeRestarted())
            await self._start_probing()

    # --- the connection

    async def _take_over(
        self, success: Success, *also: StateEvent, method: str, report: EventType, why: str = ""
    ) -> None:
        """Make this the current connection, and tell whoever is concerned."""
        if self._desired is None:
            await close_quietly(success.connection, "no longer wanted")
            return
        self._keeper.open(success, self._desired.spec.rotation, method=method)
        self._notes.open()
        is_probing = self._probe_settings is not None
        opened: list[StateEvent] = [
            state.Opened(
                probing=is_probing,
                proved=success.connection.info.proved,
                anonymous=success.credential.kind is CredentialKind.ANONYMOUS,
            )
        ]
        if is_probing and self._probe_hold.why:
            opened.append(state.ProbeRefused(message=self._probe_hold.why))
        await self._use(*opened, *also)
        await self._emit(report, opened_message(success, why_new=why))
        self._awaiting_connection.tell(success.connection)
        self._awaiting_result.tell(success.connection)
        # Observed only now: whatever happened to it meanwhile is reported after `connected`.
        success.connection.observe(self)

    async def _use(self, *steps: StateEvent) -> None:
        """Take the steps that follow from the credential that is in use now.

        They come before anything is waited for: status may be read at any wait, and must not show
        the new credential beside what was known of the old one.
        """
        for step in steps:
            await self._advance(step)
        self._told.renewed()
        await self._start_ageing()

    def _let_go(self, close: CloseInfo, *, is_lost: bool = False) -> None:
        self._keeper.let_go()
        self._unheard = None
        self._notes.close(close, is_lost=is_lost)

    async def _replace(self, success: Success, synced: Verdict, why: str) -> None:
        """Put the new connection in the old one's place, then close the old one."""
        old = self.connection
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
        # Only now: a limit may let one connection alone be probed.
        await self._start_probing()

    async def _stand_down(self, text: str) -> None:
        """Drop every helper and close the connection in an orderly way, if there is one."""
        await self._drop_helpers()
        self._cycle.end()
        connection = self.connection
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

    def connection_blocked(self, connection: ports.Connection, block: Block) -> None:  # noqa: ARG002 - looked at when it is its turn
        self._have_looked_at(connection)

    def connection_unblocked(self, connection: ports.Connection) -> None:
        self._have_looked_at(connection)
        if connection is self._unheard:
            self._unblocked = True

    def connection_changed(self, connection: ports.Connection) -> None:
        self._have_looked_at(connection)

    def _have_looked_at(self, connection: ports.Connection) -> None:
        """Post that it has changed, once until that is handled, however often it changes."""
        if connection is self.connection and connection is not self._unheard:
            self._unheard, self._unblocked = connection, False
            self._post(ConnectionNews(connection, Changed()))

    def connection_closed(self, connection: ports.Connection, close: CloseInfo) -> None:
        self._post(ConnectionNews(connection, close))

    # --- what comes next

    async def _connect_after(self, seconds: float) -> None:
        """Drop every helper and attempt to connect after so many seconds."""
        await self._drop_helpers()
        if seconds > 0:
            self._notes.wait(seconds)
            await self._helpers.start(Role.TIMER, streams.rings(seconds, number=self._number))
        else:
            self._post(TimerRang(self._number))

    def _until_next_start(self, *, slowly: bool) -> float:
        if self._desired is None:
            return 0.0
        failures = self._state.attempts
        return self._cycle.until_next(self._desired.spec.retry, failures=failures, slowly=slowly)

    async def _start_attempt(self) -> None:
        await self._drop_helpers()
        if self._desired is None:
            return
        self._cycle.attempt(self._desired.spec)
        attempting = streams.attempts(
            self.key,
            self._environment,
            self._desired,
            self._cycle,
            number=self._number,
            instead_of=self._keeper.refused,
        )
        await self._helpers.start(Role.ATTEMPT, attempting)

    async def _start_probing(self) -> None:
        """Probe the connection from now on as is declared, or no longer."""
        live, settings = self._keeper.live, self._probe_settings
        if live is None:
            return
        probing = None
        if settings is not None and self._desired is not None:
            trial = self._probe_hold.trial(live, self._desired, self._environment)
            probing = streams.Probes(
                self.key,
                self._environment,
                live.connection,
                settings,
                self._notes,
                trial=trial,
                shown_blocked=self._state.blocked.status is ConditionStatus.TRUE,
            )
        await self._helpers.start(Role.PROBER, probing)

    async def _start_ageing(self) -> None:
        """Follow the age of what is in use now, if it has any."""
        ageing = streams.ages(self._keeper) if self._keeper.has_end else None
        await self._helpers.start(Role.AGE, ageing)

    async def _start_renewal(self) -> None:
        """Bring what is wanted to the connection, in the background."""
        if self._desired is not None and self._keeper.plan_renewal(self._desired):
            await self._helpers.start(Role.RENEWAL, streams.tries(self._keeper))

    async def _drop_helpers(self) -> None:
        """End every helper. What they reported before is stale from here on."""
        self._number += 1
        self._notes.stop_waiting()
        await self._helpers.drop_all()

    @property
    def _probe_settings(self) -> ProbeSettings | None:
        return self._desired.spec.probe if self._desired is not None else None

    # --- reporting

    async def _emit(
        self,
        kind: EventType,
        message: str,
        *,
        reason: Reason | None = None,
        is_routine: bool = False,
    ) -> None:
        await self._reporter.emit(kind, message, reason=reason, is_routine=is_routine)

    async def _tell(self, tale: Tale | None) -> None:
        if tale is not None:
            await self._emit(tale.kind, tale.message, reason=tale.reason)

    async def _tell_age(
        self, aged: state.CredentialExpired | state.CredentialExpiring | None
    ) -> None:
        """Show how old the credential in use is, and tell it once."""
        if aged is not None:
            await self._advance(aged)
            await self._tell(self._told.age(aged))

    def _tell_failure(self) -> None:
        if self._state.failure is not None:
            self._awaiting_result.tell(self._state.failure)
