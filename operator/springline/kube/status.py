"""The status of every declared object, written by server-side apply.

A session says that it changed; when it is the object's turn, what has become of it is projected and
written, if it differs from what the API server has. So a burst of changes costs one write, and
without changes there is none. At most one write an object is in flight, also if the object was
deleted and created again meanwhile. What the API server's definitions do not take is not sent.

A write carries the version of the object that it was decided on. Where that is no longer the one
that there is, the object is read and it is decided again; `rivals` knows about other writers.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from springline.api import conditions as api_conditions
from springline.api.meta import Identity
from springline.core import binding, ports
from springline.core.binding import Publications
from springline.core.budgets import Allowance, Budget
from springline.core.manager import Manager
from springline.core.session import Session
from springline.kube import small_status
from springline.kube.applying import Applier, StatusAPI
from springline.kube.client import RefusedError, RequestError, UnreachableError
from springline.kube.entries import Entries
from springline.kube.own_writes import OwnWrites
from springline.kube.projection import Entry, Projection
from springline.kube.requests import Request
from springline.kube.rivals import Claim, Lives, Rivals, StatusNotices
from springline.kube.schemas import Fitted
from springline.kube.status_texts import Digest, StatusText
from springline.kube.stored import StoredStatus, is_newer
from springline.kube.turns import Queue

__all__ = ["Fitting", "StatusWriter"]

logger = logging.getLogger(__name__)

_GATHER_SECONDS = 0.05
"""How long changes of a session are gathered; below what a person notices."""

_GATHER_BROKER_SECONDS = 0.5
"""The same for a broker, whose counts change with each of its sessions."""

_SMALL_SECONDS = 600.0
"""How long an object that had no room for its status gets the least of it; the rest is tried again
with the next change after that, or with another declaration."""

_SETTLE_SECONDS = 3.0
"""How long a session may take to get its first result before "Connecting" is worth a write."""

_COUNT_SECONDS = 300.0
"""How often a status is written in which nothing but the number of failed attempts has changed."""

_ALLOWED = Allowance(burst=30, refill_seconds=5.0)
"""Writes of one object: what comes and goes all the time is shown as it is every few seconds."""

_REFUSED_SECONDS = (1.0, 5.0, 20.0, 60.0)
"""Pauses before the write of one object is tried again that the API server did not take."""

_UNKNOWN_SECONDS = 3.0
"""How long the last status waits to hear whether another holder lives. A dead one's Lease takes
longer to end, but a Pod that is deleted has no time to lose."""

_SEVERAL = 3
"""Objects that must get the answer 500 in a row before it is the API server's trouble."""

_HELD_ELSEWHERE_SECONDS = 60.0
"""How often an object is looked at that another live replica holds; its end is told by itself."""

_FORBIDDEN = 403
_NOT_FOUND = 404
_CONFLICT = 409
_INVALID = 422
_INTERNAL_ERROR = 500

_SENTENCES: Final = {
    _FORBIDDEN: (
        "writing status is forbidden; bind a role that allows patch of this resource's status to "
        "Springline's ServiceAccount"
    ),
}
_SHUT_OUT: Final = (
    "last status not written: the API server does not let Springline write it any more; its "
    "ServiceAccount, or what gives it its rights, is gone"
)
_LEFT: Final = (
    "last status not written: whether the holder that is shown there lives is not known yet; the "
    "next start corrects it"
)
_LIMITED: Final = "status changes too often; it is written every few seconds, as it is then"
_REFUSED: Final = (
    "status refused by the API server; are the CustomResourceDefinitions those of this version?"
)


class Fitting(Protocol):
    """Knows what the API server's definitions take, as `kube.definitions` does."""

    @property
    def edition(self) -> int:
        """Another number whenever the definitions have become other ones."""

    def fitted(self, kind: str, status: dict[str, Any]) -> Fitted:
        """Return a status as far as they take it."""

    async def look(self) -> None:
        """Have them read again, and return when that is done, or takes too long."""


class StatusWriter:
    """Writes status, as `kube.declarations.Statuses`. `run` it beside the manager."""

    def __init__(
        self,
        client: Applier,
        manager: Manager,
        clock: ports.Clock,
        *,
        holder: str,
        publications: Publications,
        definitions: Fitting,
        lives: Lives,
        notices: StatusNotices,
        counted: Callable[[str], None] = lambda _: None,
        entries: Entries | None = None,
        own_writes: OwnWrites | None = None,
    ) -> None:
        """`publications` knows what has become of bindings, and `lives` which holders live.

        When `definitions` have changed, call `definitions_changed`. `entries` is where it notes
        what is declared, and `own_writes` what it has written.
        `counted` is told the outcome of each write: written, unchanged, limited, conflict, gone or
        failed.
        """
        self._api = StatusAPI(client)
        self._manager = manager
        self._clock = clock
        self._projection = Projection(manager, clock, holder=holder, publications=publications)
        self._definitions = definitions
        self._notices = notices
        self._rivals = Rivals(lives, notices, clock, holder=holder)
        self._counted = counted
        self._entries = entries if entries is not None else Entries()
        self._own_writes = own_writes if own_writes is not None else OwnWrites()
        self._changed_at: dict[Identity, float] = {}
        """When the first change came that has not been written."""
        self._in_flight: dict[Identity, float] = {}
        """What is being written, and when the first change came that is in the write."""
        self._queue = Queue(clock, in_flight=self._in_flight.__len__)
        self._pace = self._queue.pace
        self._ailing: set[Identity] = set()
        """Whose writes were answered 500 since the last one that went well."""
        self._told: set[int] = set()
        """The refusals that the log has already, by their code."""
        self._is_flushing = False
        self._shut_out: set[tuple[str, str] | None] = set()
        """Kinds and namespaces that can no longer be written in; None for all of them."""
        self._has_flushed = False
        """Whether something of the last status was written."""

    # --- what there is to write

    def declared(self, identity: Identity, *, generation: int, stored: StoredStatus) -> None:
        entry = self._entries.get(identity)
        if entry is not None and entry.uid == stored.uid:
            if entry.generation != generation:
                entry.generation = generation
                entry.small_until = float("-inf")
                self._changed(entry)
            self.shown(identity, stored)
            return
        self.gone(identity)  # the one before, under the same name
        status = stored.status
        conditions = api_conditions.stored(status.get("conditions"))
        digest = Digest.of(status)
        entry = Entry(
            identity=identity,
            uid=stored.uid,
            generation=generation,
            conditions=conditions,
            binding=binding.stored(conditions, (status.get("binding") or {}).get("name")),
            handled=_handled(status.get("lastHandled") or {}),
            written=digest if status else None,
            version=stored.version,
            shown=digest.whole,
            other=self._rivals.other_holder(status),
        )
        self._entries[identity] = entry
        self._changed(entry)

    def shown(self, identity: Identity, stored: StoredStatus) -> None:
        entry = self._entries.get(identity)
        if entry is None or entry.uid != stored.uid:
            return
        if identity in self._in_flight:
            # It may be what is being written; that is known when the write is answered.
            if entry.later is None or is_newer(stored.version, entry.later.version):
                entry.later = stored
        elif self._rivals.seen(entry, stored):
            self._changed(entry)

    def unusable(self, identity: Identity, problem: str | None) -> None:
        entry = self._entries.get(identity)
        if entry is not None and entry.problem != problem:
            entry.problem = problem
            self._changed(entry)

    def last_handled(self, identity: Identity, request: Request) -> str | None:
        entry = self._entries.get(identity)
        return entry.handled.get(request) if entry is not None else None

    def handled(self, identity: Identity, request: Request, value: str) -> None:
        entry = self._entries.get(identity)
        if entry is not None:
            entry.handled[request] = value
            entry.made = None
            self._changed(entry)

    def gone(self, identity: Identity) -> None:
        entry = self._entries.pop(identity, None)
        if entry is not None:
            self._changed_at.pop(identity, None)
            self._queue.drop(identity)
            self._ailing.discard(identity)
            self._rivals.gone(entry)
            self._own_writes.forget(entry.uid)
            self._broker_changed(entry.broker)

    def session_changed(self, session: Session) -> None:
        """Note that a session is not what it was. Returns at once."""
        key = session.key
        entry = self._entries.get(Identity("BrokerConnection", key.namespace, key.name))
        if entry is None:
            return
        self._changed(entry)
        before, entry.broker = entry.broker, self._manager.broker_of(session)
        self._broker_changed(entry.broker)
        if before != entry.broker:
            self._broker_changed(before)

    def definitions_changed(self, _: None = None) -> None:
        """Note that the API server takes something else than before. Returns at once.

        What was written whole stays as it is.
        """
        for entry in self._entries.values():
            self._rivals.definitions_changed(entry)
            entry.made = None
            if entry.is_cut or entry.refusals:
                entry.not_before = float("-inf")
                self._changed(entry)

    def _broker_changed(self, broker: Identity | None) -> None:
        if broker is not None and (entry := self._entries.get(broker)) is not None:
            self._changed(entry)

    # --- who else holds objects

    def holder_changed(self, holder: str) -> None:
        """Note that something else is known of another replica than before. Returns at once."""
        for entry in self._entries.values():
            if entry.other == holder:
                self._changed(entry)

    @property
    def held_elsewhere(self) -> int:
        """How many objects another live replica holds."""
        return sum(map(self._rivals.is_theirs, self._entries.values()))

    def _is_ours(self, entry: Entry) -> bool:
        """Whether the status is this replica's to write now; else see to its next turn."""
        identity, now = entry.identity, self._clock.monotonic()
        match self._rivals.claim(entry):
            case Claim.THEIRS:
                self._changed_at.pop(identity, None)
                entry.is_deferred = False
                self._schedule(identity, at=now + _HELD_ELSEWHERE_SECONDS)
                return False
            case Claim.UNKNOWN:
                return False  # `holder_changed` follows
            case Claim.OURS:
                if now >= entry.left_until or self._is_flushing:
                    return True
                self._schedule(identity, at=entry.left_until)
                return False

    # --- how it goes

    @property
    def behind_since(self) -> float | None:
        """Since when, on the monotonic clock, the API server takes no writes; None if it does."""
        return self._pace.failing_since if self._changed_at else None

    @property
    def waiting(self) -> int:
        """How many objects have a status that is not written yet."""
        return len(self._changed_at.keys() | self._in_flight.keys())

    @property
    def oldest_seconds(self) -> float:
        """How long the oldest change has waited to be written; 0 if there is none."""
        since = min((*self._changed_at.values(), *self._in_flight.values()), default=None)
        return self._clock.monotonic() - since if since is not None else 0.0

    # --- whose turn it is

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._queue.until_due()
                while (identity := self._queue.take()) is not None:
                    entry = self._entries[identity]
                    changed_at = self._changed_at.get(entry.identity, self._clock.monotonic())
                    considered = self._considered(entry)
                    if considered is None:
                        self._foresee(entry)
                        await asyncio.sleep(0)  # there may be thousands with nothing to write
                        continue
                    self._in_flight[entry.identity] = changed_at
                    name = f"status/{entry.identity}"
                    tasks.create_task(self._write(entry, considered), name=name)

    async def flush(self) -> bool:
        """Write everything that has changed, now, and return when it is written.

        It waits as long as the API server does not answer; whoever calls sets the limit. What the
        API server refuses is not tried again. Returns whether it still lets us write anything.
        """
        self._is_flushing = True
        self._has_flushed = False
        self._shut_out.clear()
        try:
            now = self._clock.monotonic()
            for identity, entry in self._entries.items():
                if entry.is_deferred:
                    self._changed_at.setdefault(identity, now)
                if identity in self._changed_at:
                    self._schedule(identity, at=now)
            while self._changed_at or self._in_flight:
                if self._clock.monotonic() > now + _UNKNOWN_SECONDS:
                    self._leave_unknown()
                await self._clock.sleep(_GATHER_SECONDS)
            return self._has_flushed or not self._shut_out
        finally:
            self._is_flushing = False

    def _leave_unknown(self) -> None:
        """Give up what waits to hear whether its holder lives; it has never been ours."""
        left = [each for each in self._changed_at if self._rivals.is_unknown(self._entries[each])]
        for identity in left:
            del self._changed_at[identity]
        if left:
            logger.warning(_LEFT, extra={"objects": len(left)})

    def _changed(self, entry: Entry) -> None:
        now = self._clock.monotonic()
        self._changed_at.setdefault(entry.identity, now)
        self._gather(entry)

    def _gather(self, entry: Entry) -> None:
        """Have the object's turn come when its changes have been gathered for a while."""
        at = self._clock.monotonic()
        if not self._is_flushing:
            is_broker = entry.identity.kind != "BrokerConnection"
            at += _GATHER_BROKER_SECONDS if is_broker else _GATHER_SECONDS
            at = max(at, entry.not_before, self._affordable_at(entry))
        self._schedule(entry.identity, at=at)

    def _affordable_at(self, entry: Entry) -> float:
        """Return when the object may be written again, having been written so often of late."""
        now = self._clock.monotonic()
        at = entry.budget.next_at(now) if entry.budget is not None else now
        if at > now + _GATHER_SECONDS and not entry.is_limited:
            entry.is_limited = True
            self._counted("limited")
            logger.info(_LIMITED, extra={"object": str(entry.identity)})
        return at

    def _schedule(self, identity: Identity, *, at: float) -> None:
        """Have the object's turn come at that time, unless it comes sooner already."""
        # While a write is in flight there is no turn; when it has ended, `_go_on` gives one.
        if identity not in self._in_flight:
            self._queue.put(identity, at=at)

    def _foresee(self, entry: Entry) -> None:
        """Have the object's turn come when its status changes by the mere passing of time."""
        if entry.stalls_at is not None:
            self._schedule(entry.identity, at=entry.stalls_at + _GATHER_SECONDS)
            entry.stalls_at = None

    def _considered(self, entry: Entry) -> StatusText | None:
        try:
            return self._to_write(entry)
        except Exception:  # as at the top of a task: a defect in one status must not end the others
            logger.exception("status not projected", extra={"object": str(entry.identity)})
            self._changed_at.pop(entry.identity, None)
            return None

    def _to_write(self, entry: Entry) -> StatusText | None:
        """Return what is to be written now; None if it is nothing, or its time has not come."""
        identity, now = entry.identity, self._clock.monotonic()
        if self._is_flushing and self._is_shut_out(identity):
            self._changed_at.pop(identity, None)
            return None
        if not self._is_ours(entry):
            return None
        settled_at = self._changed_at.setdefault(identity, now) + _SETTLE_SECONDS
        view = self._projection.view(entry)
        has_result = view is None or view.has_result  # else the session has just begun
        if now < settled_at and not self._is_flushing and not has_result:
            self._schedule(identity, at=settled_at)
            return None
        if self._projection.is_written(entry, view):
            del self._changed_at[identity]
            entry.is_deferred = False
            self._counted("unchanged")
            return None
        status = self._projection.of(entry, view)
        del self._changed_at[identity]
        entry.is_deferred = False
        if status is None:  # its session is not there yet
            return None
        fitted = self._definitions.fitted(identity.kind, status)
        entry.is_cut = bool(fitted.left_out)
        is_small = now < entry.small_until
        if not fitted.value:  # the definitions have no status
            return None
        text = StatusText.of(small_status.smallest(fitted.value) if is_small else fitted.value)
        digest = text.digest
        entry.made = digest.whole
        if entry.written is not None:
            if digest.whole == entry.written.whole:
                self._counted("unchanged")
                return None
            count_at = entry.written_at + _COUNT_SECONDS
            is_count_only = digest.without_count == entry.written.without_count
            if is_count_only and now < count_at and not self._is_flushing:
                entry.is_deferred = True
                self._schedule(identity, at=count_at)
                return None
        return text

    # --- writing

    async def _write(self, entry: Entry, status: StatusText) -> None:
        try:
            retry_in = await self._try(entry, status)
        except Exception:  # the top of a task: a defect in one write must not end the others
            logger.exception("status not written", extra={"object": str(entry.identity)})
            entry.written = None
            retry_in = _REFUSED_SECONDS[-1]
        finally:
            changed_at = self._in_flight.pop(entry.identity)
            self._queue.ended()
        self._take_in_later(entry.identity)
        self._go_on(entry, changed_at=changed_at, retry_in=retry_in)

    async def _try(self, entry: Entry, status: StatusText) -> float | None:
        """Write, and return in how many seconds to do it again; None for never."""
        self._pay(entry)
        edition = self._definitions.edition
        self._rivals.writing(entry, status.digest)
        try:
            answer = await self._api.write(entry.identity, status, version=entry.version)
        except RefusedError as error:
            entry.written = None  # whatever was answered, it may have been done
            if error.code == _CONFLICT:
                return await self._decide_again(entry)
            if error.is_too_large:
                return self._too_large(entry, error)
            if await self._is_outdated(error, edition=edition):
                self._counted("failed")
                # At once only the first time: of several API servers, each may have others.
                retry_in = _REFUSED_SECONDS[0] if entry.refusals else 0.0
                entry.refusals += 1
                return retry_in
            return self._refused(entry, error)
        except RequestError as error:
            entry.written = None
            return self._unanswered(entry, error)
        if answer.uid == entry.uid:
            self._rivals.written(entry, status.digest, shown=answer.digest, version=answer.version)
            if entry.later is None or entry.later.version != answer.version:
                self._own_writes.record(answer.uid, answer.version)
        else:
            # Without a version it may land on another object of that name: no uids are compared.
            entry.written = None
        entry.written_at = self._clock.monotonic()
        if entry.refusals:
            entry.refusals = 0
            self._told.clear()
        self._ailing.clear()
        self._has_flushed = True
        self._counted("written")
        self._answered()
        return None

    def _pay(self, entry: Entry) -> None:
        now = self._clock.monotonic()
        if entry.budget is None:
            entry.budget = Budget(_ALLOWED, now=now)
        entry.budget.spend(now)
        entry.is_limited = entry.is_limited and entry.budget.next_at(now) > now

    async def _decide_again(self, entry: Entry) -> float | None:
        """Read an object that has changed before it was written to.

        Return in how many seconds it has its turn; None for never.
        """
        self._counted("conflict")
        try:
            found = await self._api.read(entry.identity)
        except RefusedError as error:
            return self._refused(entry, error)
        except RequestError as error:
            return self._unanswered(entry, error)
        self._answered()
        if found.uid != entry.uid:
            return None  # its successor, which a watch shows
        self._rivals.seen(entry, found)
        # At once only the first time: there are objects that change all the time.
        pauses = (0.0, *_REFUSED_SECONDS)
        retry_in = pauses[min(entry.refusals, len(pauses) - 1)]
        entry.refusals += 1
        return retry_in

    def _take_in_later(self, identity: Identity) -> None:
        """Take in what the API server has shown during a write."""
        entry = self._entries.get(identity)
        if entry is None:
            return
        later, entry.later = entry.later, None
        if later is not None and self._rivals.seen(entry, later):
            self._changed_at.setdefault(identity, self._clock.monotonic())

    async def _is_outdated(self, error: RefusedError, *, edition: int) -> bool:
        """Whether the definitions have changed since the write that was refused was made.

        500 is what the API server answers to a field that its schema does not have, and 422 to a
        value that it does not allow.
        """
        if error.code not in (_INTERNAL_ERROR, _INVALID):
            return False
        if self._definitions.edition == edition:
            await self._definitions.look()
        return self._definitions.edition != edition

    def _go_on(self, entry: Entry, *, changed_at: float, retry_in: float | None) -> None:
        """See to what changed during the write, or to the write that has to be repeated.

        `changed_at` is when the first change came that is in the write.
        """
        identity, now = entry.identity, self._clock.monotonic()
        now_there = self._entries.get(identity)
        if now_there is None:
            return
        if now_there is not entry:
            if entry.written is None:  # meant for its predecessor, but perhaps on this one
                now_there.written = None
                self._changed_at.setdefault(identity, now)
        elif retry_in is not None:
            self._changed_at[identity] = changed_at
            self._schedule(identity, at=now + retry_in)
            return
        if identity in self._changed_at:
            self._gather(now_there)
        else:
            self._foresee(now_there)

    def _refused(self, entry: Entry, error: RefusedError) -> float | None:
        """Return in how many seconds to try again; None for never."""
        if self._is_flushing and error.is_denial:
            self._note_shut_out(entry.identity, error)
            return None
        if self._is_in_trouble(entry, error):
            return self._pause(error)
        if error.code != _INTERNAL_ERROR:
            self._answered()
        shown = {"object": str(entry.identity), "error": str(error)}
        if error.code == _NOT_FOUND:
            # Its deletion is on the way; should it not come, the object may not be gone after all.
            logger.debug("status not written: the object is gone", extra=shown)
            self._counted("gone")
            entry.not_before = self._clock.monotonic() + _REFUSED_SECONDS[-1]
            return None if self._is_flushing else _REFUSED_SECONDS[-1]
        # What is wrong with one is most often wrong with all of them.
        level = logging.DEBUG if error.code in self._told else logging.ERROR
        logger.log(level, _SENTENCES.get(error.code, _REFUSED), extra=shown)
        self._told.add(error.code)
        self._counted("failed")
        return None if self._is_flushing else self._pause_of(entry)

    def _too_large(self, entry: Entry, error: RefusedError) -> float | None:
        """Return in how many seconds to write less of it; None for never.

        That is the object's own trouble: whoever declares it has made it that large.
        """
        now = self._clock.monotonic()
        was_small, entry.small_until = now < entry.small_until, now + _SMALL_SECONDS
        self._answered()
        self._counted("failed")
        self._notices.too_large(entry.identity)
        level = logging.DEBUG if was_small else logging.WARNING
        shown = {"object": str(entry.identity), "error": str(error)}
        logger.log(level, "the object has no room for its status", extra=shown)
        if not was_small:
            return 0.0  # with the least of it
        return None if self._is_flushing else self._pause_of(entry)

    def _pause_of(self, entry: Entry) -> float:
        """Return for how long a write of this object is not tried again."""
        retry_in = _REFUSED_SECONDS[min(entry.refusals, len(_REFUSED_SECONDS) - 1)]
        entry.refusals += 1
        entry.not_before = self._clock.monotonic() + retry_in
        return retry_in

    def _note_shut_out(self, identity: Identity, error: RefusedError) -> None:
        """Take it that nothing more can be written of this kind in this namespace.

        So it is when Springline is uninstalled. Where nobody knows it, that is nothing at all.
        """
        if not self._shut_out:
            logger.warning(_SHUT_OUT, extra={"error": str(error)})
        self._shut_out.add(None if error.is_unknown else (identity.kind, identity.namespace))
        self._counted("failed")

    def _is_shut_out(self, identity: Identity) -> bool:
        return None in self._shut_out or (identity.kind, identity.namespace) in self._shut_out

    def _is_in_trouble(self, entry: Entry, error: RefusedError) -> bool:
        """Whether it is the API server that has to recover, and not the object.

        500 is what it answers to a field that its schema does not have. So that is the object's
        own trouble, until others have it too.
        """
        if error.is_too_large:
            return False
        if error.code == _INTERNAL_ERROR:
            self._ailing.add(entry.identity)
            return len(self._ailing) >= _SEVERAL
        if error.code == _NOT_FOUND:
            return not error.is_absence
        return error.may_pass

    def _unanswered(self, entry: Entry, error: RequestError) -> float | None:
        """Return in how many seconds to try again; None for never."""
        refusal = error.refusal if isinstance(error, UnreachableError) else None
        if self._is_flushing and refusal is not None:
            # There is no time to find out whether that is the moment of a start.
            return self._refused(entry, refusal)
        return self._pause(error)

    def _pause(self, error: RequestError) -> float:
        """Hold all writes back for a while, and return for how long."""
        if self._pace.failing_since is None:
            logger.warning("status not written; trying again", extra={"error": str(error)})
        self._counted("failed")
        retry_after = error.retry_after if isinstance(error, RefusedError) else None
        return self._pace.failed(retry_after=retry_after)

    def _answered(self) -> None:
        if self._pace.failing_since is not None:
            logger.info("status taken again", extra={"waiting": len(self._changed_at)})
        self._pace.answered()


def _handled(stored: Mapping[str, Any]) -> dict[Request, str]:
    """Return the requests that `status.lastHandled` says were acted on last."""
    return {each: stored[each.field] for each in Request if stored.get(each.field)}
