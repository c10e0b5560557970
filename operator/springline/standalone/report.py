"""Keeps the status of every declared resource, and writes it to files where that is asked for.

Sessions say that they changed; what they have become is projected once for all changes of the last
moment, so a burst costs one projection and one write. Files are written off the event loop, because
a disk may take its time. Meanwhile only the newest status of each waits.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from springline.api import status as api_status
from springline.api import v1alpha1
from springline.api.conditions import Condition, ConditionStatus, ConditionType
from springline.api.meta import Identity
from springline.core import binding, ports, stalling
from springline.core import status as projection
from springline.core.binding import Publication, Publications
from springline.core.manager import Manager
from springline.core.session import Session
from springline.core.state import Phase
from springline.core.values import SessionKey
from springline.core.view import SessionView
from springline.standalone import status_files
from springline.threads import OffLoop, Threads

__all__ = ["Report", "Shown"]

T = TypeVar("T")

logger = logging.getLogger(__name__)

_GATHER_SECONDS = 0.05
"""How long changes are gathered before they are projected; well below what a person notices."""

_RETRY_SECONDS = 5.0
"""How long to wait before a status that could not be written is written again."""

_BATCH = 25
"""How many files are written in one call."""

_SLOW_SECONDS = 10.0
"""After so long it is told that the disk does not answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One declared connection as it was last projected."""

    view: SessionView
    conditions: tuple[Condition, ...]
    binding: Publication | None = None
    """What has become of the files for applications."""

    def condition(self, kind: ConditionType) -> Condition:
        """The condition of that type, where there always is one: Connected, Blocked."""
        return next(condition for condition in self.conditions if condition.type is kind)

    @property
    def readiness(self) -> Condition:
        """Why it is Ready, or is not: while it is suspended there is only Connected to say so."""
        is_suspended = self.view.state.phase is Phase.SUSPENDED
        return self.condition(ConditionType.CONNECTED if is_suspended else ConditionType.READY)

    @property
    def is_ready(self) -> bool:
        return self.readiness.status is ConditionStatus.TRUE


class Report:
    """The current status of everything declared. `run` it next to the manager."""

    def __init__(
        self,
        manager: Manager,
        clock: ports.Clock,
        *,
        status_dir: Path | None = None,
        generation: Callable[[Identity], int] = lambda _: 1,
        publications: Publications,
        off_loop: OffLoop | None = None,
    ) -> None:
        self._off_loop = off_loop or Threads(at_once=1, name="status-files")
        self._manager = manager
        self._clock = clock
        self._status_dir = status_dir
        self._generation = generation
        self._publications = publications
        self._shown: dict[SessionKey, Shown] = {}
        self._brokers: dict[Identity, tuple[api_status.BrokerStatus, tuple[Condition, ...]]] = {}
        self._changed: dict[SessionKey, Session] = {}
        self._changed_brokers: set[Identity] = set()
        self._problems: Mapping[Identity, Sequence[str]] = {}
        self._stalls_at: dict[SessionKey, float] = {}
        """When a status changes by the mere passing of time, on the monotonic clock."""
        self._wake = asyncio.Event()
        self._written: dict[Path, dict[str, Any]] = {}
        """What is in the files, but for those that are just being written."""
        self._unwritten: dict[Path, dict[str, Any]] = {}
        self._declared_names: frozenset[str] | None = None
        """The files that there may be; None as long as none is to be removed."""
        self._writing = asyncio.Lock()
        self._is_failing = False

    @property
    def shown(self) -> Mapping[SessionKey, Shown]:
        """Every declared connection as it was last projected."""
        return self._shown

    def current(self) -> list[Shown]:
        """Return what is shown, with figures that change too often to be projected each time."""
        found = ((shown, self._manager.session(key)) for key, shown in self._shown.items())
        return [
            replace(shown, view=session.view) if session is not None else shown
            for shown, session in found
        ]

    def session_changed(self, session: Session) -> None:
        """Note that a session is not what it was. Returns at once."""
        self._changed[session.key] = session
        broker = self._manager.broker_of(session)
        if broker in self._brokers:
            self._changed_brokers.add(broker)
        self._wake.set()

    def declare(
        self,
        identities: Collection[Identity],
        *,
        unusable: Mapping[Identity, Sequence[str]] = MappingProxyType({}),
    ) -> None:
        """Say which resources there are now; the status of all others is forgotten.

        `unusable` says what is wrong with those among them that cannot be used.
        """
        self._problems = unusable
        declared = {identity for identity in identities if identity.kind in status_files.KINDS}
        for key in list(self._shown):
            if Identity("BrokerConnection", key.namespace, key.name) not in declared:
                del self._shown[key]
                self._changed.pop(key, None)
                self._stalls_at.pop(key, None)
        for broker in self._brokers.keys() - declared:
            del self._brokers[broker]
            self._changed_brokers.discard(broker)
        for identity in declared:
            if identity.kind != "BrokerConnection":
                # A new Broker has a status before anything connects to it.
                self._brokers.setdefault(identity, _empty_broker_status())
                self._changed_brokers.add(identity)
        if self._status_dir is not None:
            names = frozenset(map(status_files.name, declared))
            self._declared_names = names
            self._unwritten = {
                path: content for path, content in self._unwritten.items() if path.name in names
            }
        self._wake.set()

    async def run(self) -> None:
        """Project and write until cancelled."""
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._pause_seconds):
                    await self._wake.wait()
            await asyncio.sleep(_GATHER_SECONDS)
            try:
                self.project()
                await self._write_out()
            except Exception:  # a defect of ours must not end the sessions that it reports on
                logger.exception("status not reported")

    @property
    def _pause_seconds(self) -> float | None:
        """How long nothing has to be done unless something changes; None for ever."""
        pauses = [_RETRY_SECONDS] if self._unwritten else []
        if self._stalls_at:
            first = min(self._stalls_at.values()) - self._clock.monotonic()
            pauses.append(max(first, 0.0))
        return min(pauses, default=None)

    async def finish(self, *, limit: float) -> None:
        """Project and write what has changed, now; what takes longer than `limit` is left."""
        self.project()
        try:
            async with asyncio.timeout(limit):
                await self._write_out()
        except TimeoutError:
            logger.warning(
                "last status not written in time",
                extra={"path": self._status_dir, "waiting": len(self._unwritten)},
            )

    def project(self) -> None:
        """Project what has changed since the last time."""
        self._wake.clear()
        changed, self._changed = self._changed, {}
        now = self._clock.monotonic()
        for key in [key for key, at in self._stalls_at.items() if at <= now]:
            del self._stalls_at[key]
            if (session := self._manager.session(key)) is not None:
                changed.setdefault(key, session)
        brokers, self._changed_brokers = self._changed_brokers, set()
        for key, session in changed.items():
            if self._manager.session(key) is session:
                self._project(session)
        for broker in brokers & self._brokers.keys():
            self._project_broker(broker)

    def connection_document(self, key: SessionKey) -> dict[str, Any]:
        """Return the BrokerConnection's identity and status as a document."""
        shown = self._shown[key]
        status = projection.connection_status(shown.view, shown.conditions, binding=shown.binding)
        return _document(Identity("BrokerConnection", key.namespace, key.name), status)

    def _project(self, session: Session) -> None:
        before = self._shown.get(session.key)
        view = session.view
        published = binding.current(
            view, self._publications, before=before.binding if before else None
        )
        if before is not None and self._is_told(before, view, published):
            return
        conditions = projection.conditions(
            view,
            previous=before.conditions if before else (),
            binding=published,
            now=self._clock.now(),
        )
        self._shown[session.key] = Shown(view=view, conditions=conditions, binding=published)
        if (seconds := stalling.stalls_in(view)) is not None:
            self._stalls_at[session.key] = self._clock.monotonic() + seconds
        else:
            self._stalls_at.pop(session.key, None)
        self._write(
            Identity("BrokerConnection", session.key.namespace, session.key.name),
            lambda: self.connection_document(session.key),
        )

    def _is_told(self, before: Shown, view: SessionView, published: Publication | None) -> bool:
        """Whether what a session is now is shown, and written where it is written.

        Many changes of a session change nothing that is shown.
        """
        if (before.view, before.binding) != (view, published):
            return False
        if self._status_dir is None:
            return True
        key = view.key
        identity = Identity("BrokerConnection", key.namespace, key.name)
        path = self._status_dir / status_files.name(identity)
        return path in self._written or path in self._unwritten

    def _project_broker(self, broker: Identity) -> None:
        if self._status_dir is None:
            return  # nothing else shows it, and it costs a look at every session of the broker
        _, previous = self._brokers[broker]
        status, conditions = projection.broker_status(
            [session.view for session in self._manager.sessions(broker)],
            generation=self._generation(broker),
            problem="; ".join(self._problems.get(broker, ())) or None,
            previous=previous,
            now=self._clock.now(),
        )
        self._brokers[broker] = (status, conditions)
        self._write(broker, lambda: _document(broker, api_status.as_document(status)))

    def _write(self, identity: Identity, document: Callable[[], dict[str, Any]]) -> None:
        if self._status_dir is None:
            return
        path = self._status_dir / status_files.name(identity)
        content = document()
        if self._written.get(path) == content:
            self._unwritten.pop(path, None)
        else:
            self._unwritten[path] = content

    async def _write_out(self) -> None:
        """Write what has changed. What cannot be written stays to be written later."""
        async with self._writing:
            await self._remove_others()
            for batch in _batches(self._unwritten):
                contents = {
                    path: self._unwritten[path]
                    for path in batch
                    if path in self._unwritten  # else no longer declared
                }
                for path in contents:
                    # Until it is written, a status that is as it was before is to be written, too.
                    self._written.pop(path, None)
                failures = await self._patiently(functools.partial(_written, contents))
                self._note_written(contents, failures)

    async def _remove_others(self) -> None:
        names, self._declared_names = self._declared_names, None
        if names is None or self._status_dir is None:
            return
        there = await self._patiently(functools.partial(_tidied, self._status_dir, names))
        self._written = {
            path: content for path, content in self._written.items() if path.name in there
        }

    def _note_written(
        self, contents: Mapping[Path, dict[str, Any]], failures: Mapping[Path, OSError]
    ) -> None:
        for path, content in contents.items():
            if (error := failures.get(path)) is not None:
                # Sessions matter more than their reports.
                if not self._is_failing:
                    logger.warning(
                        "status not written; trying again until it is",
                        extra={"path": path, "error": error.strerror},
                    )
                self._is_failing = True
                if isinstance(error, FileNotFoundError):
                    self._expect_nothing()
                continue
            self._written[path] = content
            if self._unwritten.get(path) is content:  # or it has changed meanwhile
                del self._unwritten[path]
        if self._is_failing and not self._unwritten:
            logger.info("status written again", extra={"path": self._status_dir})
            self._is_failing = False

    def _expect_nothing(self) -> None:
        """Note that the directory is gone, and all files with it: they are written again later."""
        self._unwritten = {**self._written, **self._unwritten}
        self._written = {}

    async def _patiently(self, call: Callable[[], T]) -> T:
        """Return what the call returns, however long that takes; that it takes long is told."""
        calling = asyncio.ensure_future(self._off_loop.run(call))
        try:
            await asyncio.wait({calling}, timeout=_SLOW_SECONDS)
            if not calling.done() and not self._is_failing:
                logger.warning(
                    "status not written: the disk does not answer",
                    extra={"path": self._status_dir},
                )
                self._is_failing = True
            return await calling
        finally:
            calling.cancel()


def _written(contents: Mapping[Path, Mapping[str, Any]]) -> Mapping[Path, OSError]:
    """Write these files, and return what kept which from being written."""
    failures = {}
    for path, content in contents.items():
        try:
            status_files.write(path, content)
        except OSError as error:
            failures[path] = error
    return failures


def _tidied(directory: Path, names: Collection[str]) -> Collection[str]:
    """Remove all files of status but these, and return the names of those that are there."""
    status_files.remove_others(directory, names)
    with contextlib.suppress(OSError):
        return {path.name for path in directory.iterdir()}
    return ()


def _batches(paths: Iterable[Path]) -> list[list[Path]]:
    ordered = list(paths)
    return [ordered[start : start + _BATCH] for start in range(0, len(ordered), _BATCH)]


def _empty_broker_status() -> tuple[api_status.BrokerStatus, tuple[Condition, ...]]:
    counts = api_status.ConnectionCounts(declared=0, ready=0, blocked=0)
    return api_status.BrokerStatus(observed_generation=0, conditions=(), connections=counts), ()


def _document(identity: Identity, status: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": identity.name}
    if identity.namespace:
        metadata["namespace"] = identity.namespace
    return {
        "apiVersion": v1alpha1.API_VERSION,
        "kind": identity.kind,
        "metadata": metadata,
        "status": status,
    }
