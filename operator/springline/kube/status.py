"""The status of every declared object, written by server-side apply.

A session says that it changed; when it is the object's turn, what has become of it is projected and
written, if it differs from what the API server has. So a burst of changes costs one write, and
without changes there is none. At most one write an object is in flight. While the API server does
not answer, one write after the other is tried, and as soon as one succeeds all that has gathered
follows.
"""

import asyncio
import hashlib
import heapq
import itertools
import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from springline.api import conditions as api_conditions
from springline.api import status as api_status
from springline.api.conditions import Condition
from springline.api.meta import Identity
from springline.api.v1alpha1 import API_VERSION
from springline.core import ports
from springline.core import status as projection
from springline.core.manager import Manager
from springline.core.session import Session
from springline.core.state import NOT_PROBED, Phase
from springline.core.values import SessionKey
from springline.core.view import SessionView
from springline.kube import paths
from springline.kube.client import Client, RefusedError, RequestError

__all__ = ["FIELD_MANAGER", "StatusWriter"]

logger = logging.getLogger(__name__)

FIELD_MANAGER: Final = "springline"

_CONCURRENT = 16
"""Writes in flight together; more do not make an API server faster."""

_GATHER_SECONDS = 0.05
"""How long changes of a session are gathered; below what a person notices."""

_GATHER_BROKER_SECONDS = 0.5
"""The same for a broker, whose counts change with each of its sessions."""

_SETTLE_SECONDS = 3.0
"""How long a session may take to get its first result before "Connecting" is worth a write."""

_COUNT_SECONDS = 300.0
"""How often a status is written in which nothing but the number of failed attempts has changed."""

_RETRY_SECONDS = (0.5, 1.0, 2.0, 5.0)
"""Pauses while the API server does not answer; the last one again and again."""

_REFUSED_SECONDS = (1.0, 5.0, 20.0, 60.0)
"""Pauses before the write of one object is tried again that the API server did not take."""

_NOT_FOUND = 404
_CONFLICT = 409
_INTERNAL_ERROR = 500


@dataclass(slots=True)
class _Entry:
    """One declared object and its status."""

    identity: Identity
    uid: str
    generation: int
    conditions: tuple[Condition, ...]
    request: str | None
    """The last request for a fresh connection that was acted on."""
    problem: str | None = None
    """Why the broker's declaration cannot be used."""
    written: "_Digest | None" = None
    """What the API server has; None if that is not known."""
    written_at: float = float("-inf")
    changed_at: float | None = None
    """When the first change came that has not been written; None if there is none."""
    due: float | None = None
    is_writing: bool = False
    is_deferred: bool = False
    """Only a count has changed; see _COUNT_SECONDS."""
    refusals: int = 0
    """How often in a row the API server did not take the write of this object."""
    broker: Identity | None = None
    """The broker that the session was last seen with."""


@dataclass(frozen=True, slots=True)
class _Digest:
    """A status, as far as it takes to see whether another one is the same."""

    whole: bytes
    without_count: bytes

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> "_Digest":
        rest = {key: value for key, value in status.items() if key != "attempts"}
        return cls(_hashed(status), _hashed(rest))


class StatusWriter:
    """Writes status, as `kube.declarations.Statuses`. `run` it beside the manager."""

    def __init__(
        self,
        client: Client,
        manager: Callable[[], Manager],
        clock: ports.Clock,
        *,
        holder: str,
        counted: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`counted` is told the outcome of each write: written, unchanged, gone or failed."""
        self._client = client
        self._manager = manager
        self._clock = clock
        self._holder = holder
        self._counted = counted
        self._entries: dict[Identity, _Entry] = {}
        self._queue: list[tuple[float, int, Identity]] = []
        self._numbers = itertools.count()
        self._wake = asyncio.Event()
        self._in_flight = 0
        self._failures = 0
        self._paused_until = float("-inf")
        self._is_flushing = False
        self._failing_since: float | None = None

    # --- what there is to write

    def declared(
        self, identity: Identity, *, uid: str, generation: int, stored: Mapping[str, Any]
    ) -> None:
        entry = self._entries.get(identity)
        if entry is not None and entry.uid == uid:
            if entry.generation != generation:
                entry.generation = generation
                self._changed(entry)
            return
        entry = _Entry(
            identity=identity,
            uid=uid,
            generation=generation,
            conditions=api_conditions.stored(stored.get("conditions")),
            request=(stored.get("lastHandled") or {}).get("reconnectRequestedAt"),
            written=_Digest.of(stored) if stored else None,
        )
        self._entries[identity] = entry
        self._changed(entry)

    def unusable(self, identity: Identity, problem: str | None) -> None:
        entry = self._entries.get(identity)
        if entry is not None and entry.problem != problem:
            entry.problem = problem
            self._changed(entry)

    def last_reconnect(self, identity: Identity) -> str | None:
        entry = self._entries.get(identity)
        return entry.request if entry is not None else None

    def reconnected(self, identity: Identity, request: str) -> None:
        entry = self._entries.get(identity)
        if entry is not None:
            entry.request = request
            self._changed(entry)

    def gone(self, identity: Identity) -> None:
        entry = self._entries.pop(identity, None)
        if entry is not None:
            self._broker_changed(entry.broker)

    def session_changed(self, session: Session) -> None:
        """Note that a session is not what it was. Returns at once."""
        key = session.key
        entry = self._entries.get(Identity("BrokerConnection", key.namespace, key.name))
        if entry is None:
            return
        self._changed(entry)
        before, entry.broker = entry.broker, self._manager().broker_of(session)
        self._broker_changed(entry.broker)
        if before != entry.broker:
            self._broker_changed(before)

    def _broker_changed(self, broker: Identity | None) -> None:
        if broker is not None and (entry := self._entries.get(broker)) is not None:
            self._changed(entry)

    # --- how it goes

    @property
    def behind_since(self) -> float | None:
        """Since when, on the monotonic clock, writes fail; None while they succeed."""
        return self._failing_since

    @property
    def waiting(self) -> int:
        """How many objects have a status that is not written yet."""
        return sum(entry.changed_at is not None for entry in self._entries.values())

    # --- writing

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._until_due()
                while (entry := self._next()) is not None:
                    document = self._to_write(entry)
                    if document is None:
                        await asyncio.sleep(0)  # there may be thousands with nothing to write
                        continue
                    entry.is_writing = True
                    self._in_flight += 1
                    tasks.create_task(
                        self._write(entry, document), name=f"status/{'/'.join(entry.identity)}"
                    )

    async def flush(self) -> None:
        """Write everything that has changed, now, and return when it is written.

        It waits as long as the API server does not answer; whoever calls sets the limit.
        """
        self._is_flushing = True
        try:
            for entry in self._entries.values():
                if entry.changed_at is not None:
                    self._schedule(entry, at=self._clock.monotonic())
            while self.waiting or self._in_flight:
                await self._clock.sleep(_GATHER_SECONDS)
        finally:
            self._is_flushing = False

    def _changed(self, entry: _Entry) -> None:
        now = self._clock.monotonic()
        if entry.changed_at is None or entry.is_deferred:
            entry.changed_at = now
            entry.is_deferred = False
        self._schedule(entry, at=now + self._gather(entry))

    def _gather(self, entry: _Entry) -> float:
        """Return for how long changes of the entry are gathered, in seconds."""
        if self._is_flushing:
            return 0.0
        is_broker = entry.identity.kind != "BrokerConnection"
        return _GATHER_BROKER_SECONDS if is_broker else _GATHER_SECONDS

    def _schedule(self, entry: _Entry, *, at: float) -> None:
        """Have the entry's turn come at that time, unless it comes sooner already."""
        if entry.is_writing or (entry.due is not None and entry.due <= at):
            return
        entry.due = at
        heapq.heappush(self._queue, (at, next(self._numbers), entry.identity))
        self._wake.set()

    async def _until_due(self) -> None:
        """Return when the next entry's turn has come and there is room for its write."""
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            if self._has_room and self._queue:
                at = max(self._queue[0][0], self._paused_until)
                if at <= now:
                    return
                await self._woken_within(at - now)
            else:
                await self._wake.wait()

    async def _woken_within(self, seconds: float) -> None:
        waiting = {
            asyncio.ensure_future(self._wake.wait()),
            asyncio.ensure_future(self._clock.sleep(seconds)),
        }
        try:
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waiting:
                each.cancel()

    @property
    def _has_room(self) -> bool:
        return self._in_flight < (1 if self._failures else _CONCURRENT)

    def _next(self) -> _Entry | None:
        """Take the next entry whose turn it is from the queue."""
        now = self._clock.monotonic()
        if now < self._paused_until:
            return None
        while self._has_room and self._queue and self._queue[0][0] <= now:
            at, _, identity = heapq.heappop(self._queue)
            entry = self._entries.get(identity)
            if entry is None or entry.due != at:
                continue  # gone, or its turn comes at another time
            entry.due = None
            if entry.changed_at is not None:
                return entry
        return None

    def _to_write(self, entry: _Entry) -> dict[str, Any] | None:
        """Return what is to be written now; None if it is nothing, or its time has not come."""
        if entry.changed_at is None:
            return None
        now = self._clock.monotonic()
        settled_at = entry.changed_at + _SETTLE_SECONDS
        if now < settled_at and not self._is_flushing and not self._is_settled(entry):
            self._schedule(entry, at=settled_at)
            return None
        status = self._project(entry)
        if status is None:  # its session is not there yet, or not any more
            entry.changed_at = None
            return None
        digest = _Digest.of(status)
        if entry.written is not None:
            if digest.whole == entry.written.whole:
                entry.changed_at = None
                self._counted("unchanged")
                return None
            count_at = entry.written_at + _COUNT_SECONDS
            is_count_only = digest.without_count == entry.written.without_count
            if is_count_only and now < count_at and not self._is_flushing:
                entry.is_deferred = True
                self._schedule(entry, at=count_at)
                return None
        entry.changed_at = None
        return status

    async def _write(self, entry: _Entry, status: dict[str, Any]) -> None:
        identity = entry.identity
        metadata = {"name": identity.name}
        if identity.namespace:
            metadata["namespace"] = identity.namespace
        document = {
            "apiVersion": API_VERSION,
            "kind": identity.kind,
            "metadata": metadata,
            "status": status,
        }
        retry_in: float | None = None
        try:
            applied = await self._client.apply(
                paths.status_of(identity), document, manager=FIELD_MANAGER
            )
        except RefusedError as error:
            retry_in = self._refused(entry, error)
        except RequestError as error:
            retry_in = self._pause(error, seconds=None)
        else:
            entry.written = _Digest.of(status)
            entry.written_at = self._clock.monotonic()
            entry.refusals = 0
            self._succeeded()
            self._look_after(identity, uid=applied["metadata"]["uid"], meant=entry)
        finally:
            entry.is_writing = False
            self._in_flight -= 1
            self._wake.set()
        self._go_on(entry, retry_in=retry_in)

    def _look_after(self, identity: Identity, *, uid: str, meant: _Entry) -> None:
        """Write again what landed on another object: the API server does not compare uids."""
        now_there = self._entries.get(identity)
        if uid != meant.uid and now_there is not None and now_there is not meant:
            now_there.written = None
            self._changed(now_there)

    def _go_on(self, entry: _Entry, *, retry_in: float | None) -> None:
        """See to what changed during the write, or to the write that has to be repeated."""
        if self._entries.get(entry.identity) is not entry:
            return
        now = self._clock.monotonic()
        if retry_in is not None:
            entry.written = None  # the write may have been done all the same
            entry.changed_at = entry.changed_at or now
            self._schedule(entry, at=now + retry_in)
        elif entry.changed_at is not None:
            self._schedule(entry, at=now + self._gather(entry))

    def _refused(self, entry: _Entry, error: RefusedError) -> float | None:
        """Return in how many seconds to try again; None for never."""
        # 500 is what the API server answers to a field that its schema does not have, so it is the
        # object's own trouble until others have it, too.
        if error.may_pass and error.code != _INTERNAL_ERROR:
            return self._pause(error, seconds=error.retry_after)
        shown = {"object": "/".join(entry.identity), "error": str(error)}
        if error.code == _NOT_FOUND:
            # Its deletion is on the way; should it not come, the next list tells.
            logger.debug("status not written: the object is gone", extra=shown)
            self._counted("gone")
            return None
        if error.code != _CONFLICT and entry.refusals == 0:
            logger.error(
                "status refused by the API server; are the CustomResourceDefinitions those of this "
                "version?",
                extra=shown,
            )
        self._counted("failed")
        entry.refusals += 1
        return _REFUSED_SECONDS[min(entry.refusals, len(_REFUSED_SECONDS)) - 1]

    def _pause(self, error: RequestError, *, seconds: float | None) -> float:
        """Hold all writes back for a while, and return for how long."""
        now = self._clock.monotonic()
        if self._failing_since is None:
            self._failing_since = now
            logger.warning("status not written; trying again", extra={"error": str(error)})
        pause = seconds or _RETRY_SECONDS[min(self._failures, len(_RETRY_SECONDS) - 1)]
        if now >= self._paused_until:  # writes that were in flight together count once
            self._failures += 1
            self._paused_until = now + pause
        self._counted("failed")
        return pause

    def _succeeded(self) -> None:
        self._counted("written")
        if self._failing_since is not None:
            logger.info("status written again", extra={"waiting": self.waiting})
        self._failures = 0
        self._failing_since = None

    # --- what is written

    def _is_settled(self, entry: _Entry) -> bool:
        """Whether there is a result to show; a session that has just begun has none yet."""
        session = self._session(entry.identity)
        return session is None or _has_result(session.view)

    def _session(self, identity: Identity) -> Session | None:
        if identity.kind != "BrokerConnection":
            return None
        return self._manager().session(SessionKey(identity.namespace, identity.name))

    def _project(self, entry: _Entry) -> dict[str, Any] | None:
        if entry.identity.kind != "BrokerConnection":
            return self._project_broker(entry)
        session = self._session(entry.identity)
        if session is None:
            return None
        view = session.view
        entry.conditions = projection.conditions(
            view, previous=entry.conditions, now=self._clock.now()
        )
        handled = None
        if entry.request is not None:
            handled = api_status.LastHandledStatus(reconnect_requested_at=entry.request)
        return api_status.as_document(
            projection.connection_status(
                view, entry.conditions, holder=self._holder, last_handled=handled
            )
        )

    def _project_broker(self, entry: _Entry) -> dict[str, Any]:
        sessions = self._manager().sessions(entry.identity)
        status, entry.conditions = projection.broker_status(
            [session.view for session in sessions],
            generation=entry.generation,
            problem=entry.problem,
            previous=entry.conditions,
            now=self._clock.now(),
        )
        return api_status.as_document(status)


def _has_result(view: SessionView) -> bool:
    """Whether an attempt has ended, and for an open session the first probe too."""
    if view.state.phase is Phase.CONNECTED:
        return view.state.blocked != NOT_PROBED
    return view.state.failure is not None


def _hashed(value: Mapping[str, Any]) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
