"""From the declared set to running sessions: starts, updates and ends them, and shares limits.

Handlers of any kind (files, Kubernetes) hand documents in and return at once; nothing here waits
for a broker. The manager resolves references between documents, so a changed Broker reaches the
sessions that use it and a changed Secret the sessions that read it.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from springline.api import labels, v1alpha1
from springline.api.meta import Identity
from springline.core import desired, ports
from springline.core.desired import SessionSpec
from springline.core.fair_turns import FairTurns, Share
from springline.core.read_objects import ReadObjects
from springline.core.session import Desired, Environment, Session, Unusable
from springline.core.state import Failure
from springline.core.values import SessionKey
from springline.core.view import SessionView
from springline.reasons import Reason
from springline.veil import Veil

__all__ = ["Manager", "Sources"]

logger = logging.getLogger(__name__)


class Sources(Protocol):
    """Makes the sources a session reads its credential, certificates and endpoints from."""

    def credentials(self, spec: SessionSpec) -> ports.CredentialSource:
        """The source that `spec.credentials` declares."""

    def tls(self, spec: SessionSpec) -> ports.TLSSource:
        """The source that the broker's `tls` declares."""

    def endpoints(self, spec: SessionSpec) -> ports.EndpointSource:
        """The source that the broker's `endpoints` or `endpointsFrom` declares."""


@dataclass(slots=True)
class _Entry:
    """A declared connection and the session that keeps it."""

    session: Session
    declaration: v1alpha1.BrokerConnection | Failure
    generation: int
    broker: Identity | None = None
    veil: Veil = field(default_factory=Veil)
    """What brokers say is shown through it, also where it is of a secret that was replaced."""


class Manager:
    """Keeps one session for each declared connection. Call everything from one event loop."""

    def __init__(
        self,
        environment: Environment,
        sources: Sources,
        *,
        on_change: Callable[[Session], None] = lambda _: None,
        unserved: Collection[str] = (),
        reads: ReadObjects | None = None,
    ) -> None:
        """`unserved` are the kinds of brokers that will never be declared here.

        `reads` is where the objects are noted that connections read.
        """
        self._environment = environment
        self._sources = sources
        self._on_change = on_change
        self._unserved = unserved
        self._entries: dict[SessionKey, _Entry] = {}
        self._brokers: dict[Identity, v1alpha1.BrokerSpec] = {}
        self._namespaces: dict[str, dict[str, str]] = {}
        self._reads = reads if reads is not None else ReadObjects()
        self._limits: dict[Identity, tuple[int, FairTurns]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._context = contextvars.copy_context()
        self._stop = asyncio.Event()

    # --- what is declared

    def put_broker(self, identity: Identity, spec: v1alpha1.BrokerSpec) -> None:
        """Declare a Broker or ClusterBroker, or what it has become."""
        self._brokers[identity] = spec
        self._redeclare(entry for entry in self._entries.values() if entry.broker == identity)

    def drop_broker(self, identity: Identity) -> None:
        """Forget a broker. Its sessions close and say that it is missing."""
        self._brokers.pop(identity, None)
        self._limits.pop(identity, None)
        self._redeclare(entry for entry in self._entries.values() if entry.broker == identity)

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        """Say which labels a namespace has, for the brokers that select by them. Idempotent."""
        self._relabel(name, labels)

    def drop_namespace(self, name: str) -> None:
        """Forget a namespace. It has only the label with its name then."""
        self._relabel(name, {})

    def put_connection(self, document: v1alpha1.BrokerConnection, *, generation: int) -> None:
        """Declare a connection, or what it has become."""
        self._put(SessionKey(document.namespace, document.name), document, generation=generation)

    def put_unusable(self, key: SessionKey, problem: str, *, generation: int) -> None:
        """Declare a connection whose document cannot be used, so that its status can say why."""
        failure = Failure(reason=Reason.INVALID_SPEC, message=problem)
        self._put(key, failure, generation=generation)

    def drop_connection(self, key: SessionKey) -> None:
        """Forget a connection. Its session closes in the background."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        self._reads.note(key, frozenset())
        if entry.broker is not None and entry.broker not in self._brokers:
            self._limits.pop(entry.broker, None)  # the broker in place goes with its connection
        if self._tasks is not None:
            self._tasks.create_task(entry.session.close(), name=f"close/{key}")

    def object_changed(self, identity: Identity) -> None:
        """Say that a Secret or ConfigMap appeared, changed or went."""
        for key in self._reads.readers(identity):
            self._entries[key].session.credential_changed()

    def renew(self, key: SessionKey) -> None:
        """Ask one session for its credential to be renewed, and tried even if it is the same."""
        if (entry := self._entries.get(key)) is not None:
            entry.session.renew()

    def reconnect(self, key: SessionKey) -> None:
        """Ask one session for a fresh connection."""
        if (entry := self._entries.get(key)) is not None:
            entry.session.reconnect()

    # --- what there is

    def is_read(self, identity: Identity) -> bool:
        """Whether a declared connection reads this Secret or ConfigMap now."""
        return self._reads.is_read(identity)

    def session(self, key: SessionKey) -> Session | None:
        """The session of a declared connection."""
        entry = self._entries.get(key)
        return entry.session if entry is not None else None

    def sessions(self, broker: Identity | None = None) -> list[Session]:
        """All sessions, or those of one broker."""
        return [
            entry.session
            for entry in self._entries.values()
            if broker is None or entry.broker == broker
        ]

    def views(self) -> Iterator[SessionView]:
        """Yield what can be shown of each session now."""
        return (entry.session.view for entry in self._entries.values())

    def broker_of(self, session: Session) -> Identity | None:
        """The broker a session is declared for."""
        entry = self._entries.get(session.key)
        return entry.broker if entry is not None else None

    # --- running

    async def run(self) -> None:
        """Keep the sessions until `stop`; then close each in an orderly way and return."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            for entry in self._entries.values():
                self._start(entry.session)
            await self._stop.wait()
            for entry in self._entries.values():
                tasks.create_task(entry.session.close(), name=f"close/{entry.session.key}")
        self._tasks = None

    def stop(self) -> None:
        """Have `run` close everything and return. Idempotent."""
        self._stop.set()

    def _start(self, session: Session) -> None:
        if self._tasks is not None:
            # Not in the context of whoever declared it, which may hold on to a whole event of
            # theirs: the task would keep that for as long as the session lives.
            self._context.run(
                self._tasks.create_task, self._keep(session), name=f"session/{session.key}"
            )

    async def _keep(self, session: Session) -> None:
        try:
            await session.run()
        except Exception:  # the top of a task: a defect ends one session, not the process
            logger.exception("session ended unexpectedly", extra={"session": session.key})
            await self._replace_crashed(session)

    async def _replace_crashed(self, crashed: Session) -> None:
        entry = self._entries.get(crashed.key)
        if entry is None or entry.session is not crashed:
            return
        await self._stopped_within(_RESTART_SECONDS)
        if self._entries.get(crashed.key) is not entry or self._stop.is_set():
            return
        entry.session = Session(crashed.key, self._environment, on_change=self._session_changed)
        self._redeclare([entry])
        self._start(entry.session)

    async def _stopped_within(self, seconds: float) -> None:
        """Return after so many seconds, or as soon as the manager is to stop."""
        waits = {
            asyncio.ensure_future(self._environment.clock.sleep(seconds)),
            asyncio.ensure_future(self._stop.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for each in waits:
                each.cancel()

    def _session_changed(self, session: Session) -> None:
        entry = self._entries.get(session.key)
        if entry is not None and entry.session is session:
            self._on_change(session)

    # --- declaring

    def _put(
        self,
        key: SessionKey,
        declaration: v1alpha1.BrokerConnection | Failure,
        *,
        generation: int,
    ) -> None:
        entry = self._entries.get(key)
        if entry is None:
            session = Session(key, self._environment, on_change=self._session_changed)
            entry = _Entry(session=session, declaration=declaration, generation=generation)
            self._entries[key] = entry
            self._start(session)
        else:
            entry.declaration, entry.generation = declaration, generation
        self._redeclare([entry])

    def _redeclare(self, entries: Iterable[_Entry]) -> None:
        for entry in entries:
            entry.session.declare(self._resolved(entry))

    def _relabel(self, namespace: str, declared: Mapping[str, str]) -> None:
        before = self._labels(namespace)
        if declared:
            self._namespaces[namespace] = labels.of_namespace(namespace, declared)
        else:
            self._namespaces.pop(namespace, None)
        if self._labels(namespace) == before:
            return  # most changes of a namespace are none of its labels
        self._redeclare(
            entry
            for key, entry in self._entries.items()
            if key.namespace == namespace and self._asks_for_labels(entry.broker)
        )

    def _labels(self, namespace: str) -> Mapping[str, str]:
        return self._namespaces.get(namespace) or labels.of_namespace(namespace, {})

    def _asks_for_labels(self, broker: Identity | None) -> bool:
        spec = self._brokers.get(broker) if broker is not None else None
        return spec is not None and desired.allowed_namespaces(spec) is not None

    def _resolved(self, entry: _Entry) -> Desired | Unusable:
        """Resolve the entry's references, and note what they are."""
        key = entry.session.key
        self._reads.note(key, frozenset())
        if isinstance(entry.declaration, Failure):
            entry.broker = None
            return Unusable(generation=entry.generation, problem=entry.declaration)
        entry.broker = desired.broker_of(entry.declaration)
        spec = desired.session_spec(
            entry.declaration,
            generation=entry.generation,
            adapters=self._environment.adapters,
            find_broker=self._brokers.get,
            namespace_labels=self._labels(key.namespace),
            unserved=self._unserved,
            limits=self._environment.limits,
        )
        if isinstance(spec, Failure):
            return Unusable(generation=entry.generation, problem=spec)
        self._reads.note(key, desired.references(spec))
        return Desired(
            spec=spec,
            credentials=self._sources.credentials(spec),
            tls=self._sources.tls(spec),
            endpoints=self._sources.endpoints(spec),
            limit=self._limit(spec),
            veil=entry.veil,
        )

    def _limit(self, spec: SessionSpec) -> Share:
        """Return whose turn it is at the broker of a session.

        Whoever has it may still wait for a turn of the process, which others of its namespace
        take up. So one namespace has no more than half of a broker that others use, too.
        """
        known = self._limits.get(spec.broker)
        if known is None or known[0] != spec.concurrent:
            known = (spec.concurrent, FairTurns(spec.concurrent, share=_share(spec.broker)))
            self._limits[spec.broker] = known
        return known[1].turn(spec.key.namespace)


def _share(broker: Identity) -> float:
    """Return how much of a broker's turns one namespace has at most."""
    return 1.0 if broker.namespace else 0.5


_RESTART_SECONDS = 10.0
"""After a defect of ours; long enough not to turn it into load on the broker."""
