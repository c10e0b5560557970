"""Events on their way to the API server, at the cost of nobody but their own namespace.

They wait in a queue for each namespace, of bounded length; the oldest is left out for the newest.
Namespaces take turns. One whose Events are not taken is tried again with growing pauses, or left
alone for a while; the others do not notice. An Event that could not be posted is counted, and the
log says so once for each namespace and cause, not for each Event.

The same said again of an object becomes a higher count of the Event that there is.
"""

import asyncio
import contextlib
import enum
import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from random import Random
from typing import Any, Final, Protocol

from springline.api.meta import Identity
from springline.core import ports
from springline.kube import event_objects
from springline.kube.client import RefusedError, RequestError, UnreachableError
from springline.kube.event_objects import Content
from springline.kube.stored import FIELD_MANAGER
from springline.kube.turns import Queue

__all__ = ["EventAPI", "EventPoster", "Outcome"]

logger = logging.getLogger(__name__)

_TRY_SECONDS = 5.0
"""How long one request may take: a slow webhook of one namespace must not hold it for longer."""

_PATIENCE_SECONDS = 60.0
"""How old an Event may be that is tried again when there was no answer at all."""

_TRIES = 2
"""How often one is sent that the API server answers to, and does not take for now."""

_PAUSES: Final = (1.0, 2.0, 5.0, 10.0)
"""Seconds between tries in one namespace; the last one again and again."""

_SKIP_SECONDS = 60.0
"""How long nothing is posted into a namespace that takes no Events."""

_WAITING = 10_000
_WAITING_IN_NAMESPACE = 2_000
"""How many Events may wait in all, and of one namespace."""

_WIDTH = 4
"""How many may be in flight in one namespace, once the first has gone well."""

_REMEMBERED = 2_000
"""Events that can still be counted up."""

_TIDY = 1000
"""Namespaces there may be before those are looked for of which nothing is to be known."""

_REPEAT_SECONDS = 600.0
"""How often the log has the same of a namespace."""

_FORBIDDEN = 403
_CONFLICT = 409


class Outcome(enum.StrEnum):
    """What becomes of an Event, as it is counted."""

    POSTED = "posted"
    COUNTED = "counted"  # the one that says the same got a higher count
    REFUSED = "refused"
    UNANSWERED = "unanswered"
    ENDING = "ending"  # its namespace is being deleted
    OVERFLOW = "overflow"  # more waited than are kept, and it was the oldest
    LIMITED = "limited"  # its object has had too many


_SENTENCES: Final[Mapping[str, str]] = {
    Outcome.ENDING: "events not posted any more: the namespace is being deleted",
    Outcome.UNANSWERED: "events not posted: no answer of the API server; trying again",
    Outcome.OVERFLOW: "events left out: more wait to be posted than are kept",
    str(_FORBIDDEN): (
        "events not posted: forbidden; if it is for want of a right, bind a role that allows "
        "create and patch of events to Springline's ServiceAccount"
    ),
}
_REFUSED: Final = "events not posted: refused by the API server"


class EventAPI(Protocol):
    """The requests that it takes; `kube.client.Client` has them. Both raise `RequestError`."""

    async def create(self, path: str, document: Mapping[str, Any]) -> Mapping[str, Any]:
        """Create what `document` says in the collection at `path`, and return it."""

    async def merge(
        self, path: str, change: Mapping[str, Any], *, manager: str
    ) -> Mapping[str, Any]:
        """Merge `change` into the object at `path`, and return it."""


@dataclass(slots=True)
class _Waiting:
    """What has happened of one content since the last that was posted."""

    first: datetime
    last: datetime
    since: float  # by the monotonic clock
    count: int = 1
    tries: int = 0
    name: str = ""
    """Of the object that was tried to be created; the answer may have been lost."""


@dataclass(slots=True)
class _Namespace:
    """The Events of one namespace."""

    waiting: OrderedDict[Content, _Waiting] = field(default_factory=OrderedDict)
    in_flight: int = 0
    width: int = 1
    """How many may be in flight."""
    failures: int = 0
    not_before: float = float("-inf")
    skipped_until: float = float("-inf")
    skipped_as: Outcome = Outcome.REFUSED
    """The outcome of what is reported until then."""

    def is_idle(self, now: float) -> bool:
        """Whether there is nothing to know about it."""
        is_left_alone = max(self.not_before, self.skipped_until) > now
        return not (self.waiting or self.in_flight or is_left_alone)


@dataclass(slots=True)
class _Posted:
    name: str
    count: int


class EventPoster:
    """Posts Events in the background. `run` it, and `drain` it before that ends."""

    def __init__(
        self,
        client: EventAPI,
        clock: ports.Clock,
        rng: Random,
        *,
        instance: str,
        is_ending: Callable[[str], bool] = lambda _: False,
        counted: Callable[[Outcome, int], None] = lambda _outcome, _events: None,
    ) -> None:
        """`instance` names this replica; `is_ending` knows namespaces that are being deleted.

        `counted` is told an `Outcome` and of how many Events.
        """
        self._client = client
        self._clock = clock
        self._rng = rng
        self._instance = instance
        self._is_ending = is_ending
        self._counted = counted
        self._namespaces: dict[str, _Namespace] = {}
        self._tidy_at = _TIDY
        self._total = 0
        self._in_flight = 0
        self._queue = Queue(clock, in_flight=lambda: self._in_flight)
        self._idle = asyncio.Event()
        self._idle.set()
        self._is_draining = False
        self._posted: OrderedDict[bytes, _Posted] = OrderedDict()
        """By the digest of the content, which takes less memory than the content."""
        self._answered_at = float("-inf")
        self._told_at: OrderedDict[tuple[str, str], float] = OrderedDict()

    # --- what is to be posted

    def put(self, content: Content, *, at: datetime) -> None:
        """Have it posted that this happened at that time. Returns at once."""
        now, name = self._clock.monotonic(), content.namespace
        namespace = self._namespaces.get(name)
        if namespace is not None and namespace.skipped_until > now:
            self._counted(namespace.skipped_as, 1)
            return
        if self._is_ending(name):
            self._counted(Outcome.ENDING, 1)
            return
        if namespace is None:
            self._tidy(now)
            namespace = self._namespaces[name] = _Namespace()
        if (known := namespace.waiting.get(content)) is not None:
            known.last = at
            known.count += 1
        else:
            if len(namespace.waiting) >= _WAITING_IN_NAMESPACE:
                self._leave_out_of(name, namespace)
            elif self._total >= _WAITING:
                self._leave_out_of(*self._longest())
            namespace.waiting[content] = _Waiting(first=at, last=at, since=now)
            self._total += 1
            self._idle.clear()
        self._give_turn(name, namespace)

    def _tidy(self, now: float) -> None:
        """Forget namespaces that were left alone, and of which nothing more was reported."""
        if len(self._namespaces) >= self._tidy_at:
            idle = [name for name, each in self._namespaces.items() if each.is_idle(now)]
            for name in idle:
                del self._namespaces[name]
            self._tidy_at = max(2 * len(self._namespaces), _TIDY)

    def _longest(self) -> tuple[str, _Namespace]:
        return max(self._namespaces.items(), key=lambda each: len(each[1].waiting))

    def _leave_out_of(self, name: str, namespace: _Namespace) -> None:
        """Drop the oldest of a namespace."""
        _, oldest = namespace.waiting.popitem(last=False)
        self._total -= 1
        self._counted(Outcome.OVERFLOW, oldest.count)
        self._tell(name, Outcome.OVERFLOW)

    @property
    def waiting(self) -> int:
        """How many Events wait to be posted, or are on their way."""
        return self._total + self._in_flight

    # --- whose turn it is

    async def run(self) -> None:
        """Post until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                await self._queue.until_due()
                while (turn := self._queue.take()) is not None:
                    name = turn.name
                    namespace = self._namespaces.get(name)
                    if namespace is None or not namespace.waiting:
                        continue
                    content, waiting = namespace.waiting.popitem(last=False)
                    self._total -= 1
                    self._in_flight += 1
                    namespace.in_flight += 1
                    self._give_turn(name, namespace)
                    tasks.create_task(self._post(name, namespace, content, waiting), name="event")

    async def drain(self, *, limit: float) -> None:
        """Return when nothing waits any more, after `limit` seconds at most.

        What the API server does not take is not tried again.
        """
        self._is_draining = True
        now = self._clock.monotonic()
        for name, namespace in self._namespaces.items():
            namespace.not_before = now
            self._give_turn(name, namespace)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._idle.wait()
        if self.waiting:
            logger.warning("last events not posted in time", extra={"events": self.waiting})

    def _give_turn(self, name: str, namespace: _Namespace) -> None:
        """Have the namespace's next Event posted when it may be."""
        if namespace.waiting and namespace.in_flight < namespace.width:
            at = max(self._clock.monotonic(), namespace.not_before)
            self._queue.put(Identity("Namespace", "", name), at=at)

    async def _post(
        self, name: str, namespace: _Namespace, content: Content, waiting: _Waiting
    ) -> None:
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(_TRY_SECONDS):
                outcome = await self._send(content, waiting)
            self._answered_at = self._clock.monotonic()
            self._succeeded(namespace)
            self._counted(outcome, waiting.count)
        except TimeoutError:
            error = UnreachableError("no answer in time")
            self._failed(name, namespace, content, waiting, error, started=started)
        except RequestError as error:
            self._failed(name, namespace, content, waiting, error, started=started)
        except Exception:  # the top of a task: a defect in this costs one Event
            logger.exception("event not posted")
            self._counted(Outcome.REFUSED, waiting.count)
        finally:
            self._in_flight -= 1
            namespace.in_flight -= 1
            self._queue.ended()
            self._give_turn(name, namespace)
            is_known = self._namespaces.get(name) is namespace
            if is_known and namespace.is_idle(self._clock.monotonic()):
                del self._namespaces[name]
            if not self.waiting:
                self._idle.set()

    # --- one Event

    async def _send(self, content: Content, waiting: _Waiting) -> Outcome:
        """Create the Event, or count up the one that says the same. Raises `RequestError`."""
        waiting.tries += 1
        digest = content.digest
        known = self._posted.get(digest)
        if known is not None:
            count = known.count + waiting.count
            change = event_objects.change(last=waiting.last, count=count)
            try:
                where = event_objects.path(content, known.name)
                await self._client.merge(where, change, manager=FIELD_MANAGER)
            except RefusedError as error:
                if error.may_pass:
                    raise
                self._posted.pop(digest, None)  # the API server has forgotten it, most likely
            else:
                self._remember(digest, known.name, count)
                return Outcome.COUNTED
        is_again = bool(waiting.name)
        waiting.name = waiting.name or f"springline-{self._rng.getrandbits(64):016x}"
        document = event_objects.document(
            content,
            name=waiting.name,
            instance=self._instance,
            first=waiting.first,
            last=waiting.last,
            count=waiting.count,
        )
        try:
            await self._client.create(event_objects.path(content), document)
        except RefusedError as error:
            if error.code != _CONFLICT or not is_again:
                raise
            # The answer to the try before was lost.
        self._remember(digest, waiting.name, waiting.count)
        return Outcome.POSTED

    def _remember(self, digest: bytes, name: str, count: int) -> None:
        self._posted[digest] = _Posted(name, count)
        self._posted.move_to_end(digest)
        if len(self._posted) > _REMEMBERED:
            self._posted.popitem(last=False)

    # --- how it went

    def _succeeded(self, namespace: _Namespace) -> None:
        namespace.failures = 0
        namespace.not_before = float("-inf")
        namespace.width = min(namespace.width + 1, _WIDTH)

    def _failed(
        self,
        name: str,
        namespace: _Namespace,
        content: Content,
        waiting: _Waiting,
        error: RequestError,
        *,
        started: float,
    ) -> None:
        refusal = error if isinstance(error, RefusedError) else None
        if isinstance(error, UnreachableError) and error.refusal is not None:
            # After an outage "forbidden" may be that of a start, but this one is certain.
            refusal = error.refusal if error.refusal.is_of_ending_namespace else None
        if refusal is not None:
            self._answered_at = self._clock.monotonic()
        if refusal is None:
            is_outage = self._answered_at < started
            self._tell("" if is_outage else name, Outcome.UNANSWERED, error)
            is_young = self._clock.monotonic() - waiting.since < _PATIENCE_SECONDS
            self._again(namespace, content, waiting, Outcome.UNANSWERED, may=is_young)
        elif refusal.is_of_ending_namespace or refusal.is_absence:
            self._tell(name, Outcome.ENDING, error, level=logging.INFO)
            self._skip(namespace, waiting, Outcome.ENDING)
        elif refusal.may_pass:
            self._tell(name, str(refusal.code), error)
            may = waiting.tries < _TRIES
            wait = min(refusal.retry_after or 0.0, _PAUSES[-1])
            self._again(namespace, content, waiting, Outcome.REFUSED, may=may, wait=wait)
        else:
            self._tell(name, str(refusal.code), error)
            if refusal.is_denial:
                self._skip(namespace, waiting, Outcome.REFUSED)
            else:
                self._counted(Outcome.REFUSED, waiting.count)

    def _again(
        self,
        namespace: _Namespace,
        content: Content,
        waiting: _Waiting,
        outcome: Outcome,
        *,
        may: bool,
        wait: float = 0.0,
    ) -> None:
        """Pause the namespace, and have the Event tried again if it may be."""
        namespace.width = 1
        pause = max(_PAUSES[min(namespace.failures, len(_PAUSES) - 1)], wait)
        namespace.failures += 1
        namespace.not_before = self._clock.monotonic() + pause
        if not may or self._is_draining:
            self._counted(outcome, waiting.count)
            if self._is_draining:
                self._drop_all(namespace, outcome)
            return
        later = namespace.waiting.pop(content, None)
        if later is not None:  # reported again meanwhile
            waiting.last = later.last
            waiting.count += later.count
            self._total -= 1
        namespace.waiting[content] = waiting
        namespace.waiting.move_to_end(content, last=False)
        self._total += 1

    def _skip(self, namespace: _Namespace, waiting: _Waiting, outcome: Outcome) -> None:
        """Leave the namespace alone for a while: it takes none of its Events."""
        self._counted(outcome, waiting.count)
        self._drop_all(namespace, outcome)
        namespace.width = 1
        namespace.skipped_as = outcome
        namespace.skipped_until = self._clock.monotonic() + _SKIP_SECONDS

    def _drop_all(self, namespace: _Namespace, outcome: Outcome) -> None:
        for each in namespace.waiting.values():
            self._counted(outcome, each.count)
        self._total -= len(namespace.waiting)
        namespace.waiting.clear()

    def _tell(
        self,
        namespace: str,
        cause: str,
        error: RequestError | None = None,
        *,
        level: int = logging.WARNING,
    ) -> None:
        """Log it, unless the log has it already. No namespace is all of them."""
        now, key = self._clock.monotonic(), (namespace, cause)
        while self._told_at and next(iter(self._told_at.values())) + _REPEAT_SECONDS <= now:
            self._told_at.popitem(last=False)
        if key in self._told_at:
            return
        self._told_at[key] = now
        told = {"namespace": namespace} if namespace else {}
        if error is not None:
            told["error"] = str(error)
        logger.log(level, _SENTENCES.get(cause, _REFUSED), extra=told)
