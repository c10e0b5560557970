"""Connecting once, to see how it goes: what is declared, or what a rotation would bring.

Nothing is kept: every connection that is opened here is closed again in an orderly way, and no
session that somebody else holds is touched.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

from springline.api import core_v1, labels, v1alpha1
from springline.api.documents import Document
from springline.api.meta import Identity
from springline.app import Standalone
from springline.core import desired, ports, rehearsal
from springline.core.attempt import Means
from springline.core.desired import SessionSpec
from springline.core.events import Event
from springline.core.rehearsal import Reading, Rehearsal
from springline.core.state import Failure
from springline.core.values import SessionKey
from springline.errors import ConnectError, CredentialError, ManifestError
from springline.positions import Position
from springline.reasons import Reason
from springline.settings import CheckSettings
from springline.standalone import loader
from springline.standalone.loader import Manifests
from springline.standalone.report import Shown
from springline.threads import Threads

__all__ = ["Checked", "Rehearsed", "check", "rehearse"]


_GOODBYE_SECONDS: Final = 5.0
"""How long brokers may take to answer a goodbye, when a check is broken off."""


class _Quiet:
    """Results are shown here, not what happened on the way."""

    async def report(self, event: Event) -> None:
        pass


# --- what is declared


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What one round of connecting found."""

    shown: Sequence[Shown]
    documents: Sequence[dict[str, Any]]
    """The same as BrokerConnections with `status`."""
    ignored: Sequence[str]
    """What the files also hold, and others read."""
    at: datetime
    positions: Mapping[SessionKey, Position] = field(default_factory=dict)
    """Where each connection is declared."""

    @property
    def all_ready(self) -> bool:
        return all(shown.is_ready for shown in self.shown)


async def check(settings: CheckSettings) -> Checked:
    """Open each declared connection once, note what its status would be, and close it again.

    Every wait is bounded by the connectTimeout and probe.timeout of what is checked. Raises
    `ManifestError` if a file cannot be used or declares no connection. Safe to cancel: what is open
    is closed.
    """
    manifests = await _off_the_loop(partial(_declared, settings))
    parts = Standalone(
        _Quiet(), token_dir=settings.token_dir, allow_addresses=settings.allow_addresses
    )
    news = asyncio.Event()
    parts.changes.follow(lambda _: news.set())
    async with asyncio.TaskGroup() as tasks:
        managing = tasks.create_task(parts.manager.run(), name="manager")
        parts.apply(manifests)
        try:
            while not all(session.view.has_result for session in parts.manager.sessions()):
                await news.wait()
                news.clear()
        except asyncio.CancelledError:
            # What is open already gets its goodbye; leaving this block would drop it.
            parts.manager.stop()
            await asyncio.wait({managing}, timeout=_GOODBYE_SECONDS)
            raise
        parts.report.project()
        # Noted while the sessions are open; closing them is not part of the result.
        shown = tuple(parts.report.shown.values())
        documents = [parts.report.connection_document(each.view.key) for each in shown]
        parts.manager.stop()
    ignored = [each.told("ignored") for each in manifests.problems]
    return Checked(
        shown=shown,
        documents=documents,
        ignored=ignored,
        at=parts.clock.now(),
        positions=_positions(manifests),
    )


def _positions(manifests: Manifests) -> dict[SessionKey, Position]:
    return {
        SessionKey(identity.namespace, identity.name): position
        for identity, position in manifests.positions.items()
        if identity.kind == "BrokerConnection"
    }


async def _off_the_loop(read: Callable[[], Manifests]) -> Manifests:
    """Read files in a thread: standard input may be a terminal at which nobody types."""
    return await Threads(at_once=1, name="manifests").run(read)


def _declared(settings: CheckSettings) -> Manifests:
    manifests = _loaded(settings.files)
    if not any(identity.kind == "BrokerConnection" for identity in manifests.objects):
        raise ManifestError(["there is no BrokerConnection to check"])
    return manifests


def _loaded(files: Iterable[Path]) -> Manifests:
    """Return what the files hold. What others read is the only problem that it can have."""
    paths: list[Path] = []
    for path in files:
        paths.extend(loader.manifest_files(path) if path.is_dir() else [path])
    manifests = loader.load(paths)
    mistakes = [problem for problem in manifests.problems if not problem.is_foreign]
    if mistakes:
        raise ManifestError(
            [each.text for each in mistakes], positions=[each.position for each in mistakes]
        )
    return manifests


# --- what a rotation would bring


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsed:
    """What a rotation would come to."""

    rehearsals: Sequence[Rehearsal]
    ignored: Sequence[str]
    """What the files also hold, and others read."""
    at: datetime
    positions: Mapping[SessionKey, Position] = field(default_factory=dict)
    """Where each connection is declared."""

    @property
    def all_would_succeed(self) -> bool:
        return all(each.would_succeed for each in self.rehearsals)


async def rehearse(settings: CheckSettings) -> Rehearsed:
    """Try what `settings.credentials` holds for each declared connection that reads it.

    What the manifests hold under the same names is taken for what the sessions use now. Every wait
    is bounded by the connectTimeout of what is tried. Raises `ManifestError` if a file cannot be
    used, or nothing reads what is new.
    """
    manifests = await _off_the_loop(partial(_declared, settings))
    new = await _off_the_loop(partial(_loaded, settings.credentials))
    parts = Standalone(
        _Quiet(), token_dir=settings.token_dir, allow_addresses=settings.allow_addresses
    )
    connections = _connections(manifests, parts.environment.adapters)
    _all_must_be_read(new.objects, connections)
    readers = [each for each in connections if each.reads & new.objects.keys()]
    trials = {
        each.key: _Trial(parts, each.spec) for each in readers if isinstance(each.spec, SessionSpec)
    }
    _put(parts, manifests.objects, version=1)
    async with asyncio.TaskGroup() as tasks:
        for key, trial in trials.items():
            tasks.create_task(trial.read_before(), name=f"read/{key}")
    _put(parts, new.objects, version=2)
    limits = {each.spec.broker: asyncio.Semaphore(each.spec.concurrent) for each in trials.values()}
    async with asyncio.TaskGroup() as tasks:
        running = {
            key: tasks.create_task(trial.run(limits[trial.spec.broker]), name=f"rehearsal/{key}")
            for key, trial in trials.items()
        }
    return Rehearsed(
        rehearsals=[
            rehearsal.not_tried(each.key, each.spec.reason, each.spec.message)
            if isinstance(each.spec, Failure)
            else running[each.key].result()
            for each in readers
        ],
        ignored=[each.told("ignored") for each in (*manifests.problems, *new.problems)],
        at=parts.clock.now(),
        positions=_positions(manifests),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Connection:
    """A declared connection, and what its session is to do, or why that cannot be said."""

    document: v1alpha1.BrokerConnection
    spec: SessionSpec | Failure

    @property
    def key(self) -> SessionKey:
        return SessionKey(self.document.namespace, self.document.name)

    @property
    def reads(self) -> frozenset[Identity]:
        """The Secrets and ConfigMaps that it reads, as far as that is known without its broker."""
        if isinstance(self.spec, SessionSpec):
            return desired.references(self.spec)
        return desired.read_by_credentials(self.key.namespace, self.document.spec.credentials)


def _connections(manifests: Manifests, adapters: Mapping[str, ports.Adapter]) -> list[_Connection]:
    brokers: dict[Identity, v1alpha1.BrokerSpec] = {}
    namespaces: dict[str, Mapping[str, str]] = {}
    for identity, document in manifests.objects.items():
        match document:
            case v1alpha1.Broker() | v1alpha1.ClusterBroker():
                brokers[identity] = document.spec
            case core_v1.Namespace():
                namespaces[identity.name] = document.metadata.labels
            case _:
                pass
    return [
        _Connection(
            document=document,
            spec=desired.session_spec(
                document,
                generation=1,
                adapters=adapters,
                find_broker=brokers.get,
                namespace_labels=labels.of_namespace(
                    document.namespace, namespaces.get(document.namespace, {})
                ),
                unserved=(),
            ),
        )
        for document in manifests.objects.values()
        if isinstance(document, v1alpha1.BrokerConnection)
    ]


def _all_must_be_read(new: Collection[Identity], connections: Sequence[_Connection]) -> None:
    """Raise `ManifestError` for what no connection reads; whoever gave it expects an answer."""
    mistakes = []
    read = frozenset[Identity]().union(*(each.reads for each in connections))
    for identity in new:
        where = f"{identity.namespace}/" if identity.namespace else ""
        what = f"{identity.kind} {where}{identity.name}"
        if identity.kind not in ("Secret", "ConfigMap"):
            mistakes.append(f"{what}: --credentials takes Secrets and ConfigMaps only")
        elif identity not in read:
            mistakes.append(f"{what}: no declared connection reads it")
    if not new:
        mistakes.append("--credentials: there is no Secret and no ConfigMap")
    if mistakes:
        raise ManifestError(mistakes)


def _put(parts: Standalone, objects: Mapping[Identity, Document], *, version: int) -> None:
    for identity, document in objects.items():
        if isinstance(document, core_v1.Secret | core_v1.ConfigMap):
            parts.reader.put(identity, document, version=version)


class _Trial:
    """One connection, before and with what is new."""

    def __init__(self, parts: Standalone, spec: SessionSpec) -> None:
        self.spec = spec
        self._parts = parts
        self._before: Reading | None = None

    async def read_before(self) -> None:
        """Read what the session uses now, if that is to be had."""
        if self.spec.suspend:
            return
        try:
            self._before = await rehearsal.read(self.spec, self._means(asyncio.Semaphore()))
        except (ConnectError, CredentialError):
            self._before = None

    async def run(self, limit: asyncio.Semaphore) -> Rehearsal:
        """Try what there is to read now."""
        if self.spec.suspend:
            return rehearsal.not_tried(
                self.spec.key, Reason.SUSPENDED, "spec.suspend is true, so nothing is opened"
            )
        return await rehearsal.rehearse(self.spec, self._means(limit), before=self._before)

    def _means(self, limit: asyncio.Semaphore) -> Means:
        environment, sources = self._parts.environment, self._parts.sources
        return Means(
            driver=environment.adapters[self.spec.target.protocol].driver,
            resolver=environment.resolver,
            clock=environment.clock,
            credentials=sources.credentials(self.spec),
            tls=sources.tls(self.spec),
            endpoints=sources.endpoints(self.spec),
            limit=limit,
            addresses=environment.addresses,
        )
