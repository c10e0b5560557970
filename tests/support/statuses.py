"""Declared objects, their sessions and their status, with an API server that the test plays."""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from springline.api import crds
from springline.api.meta import Identity
from springline.core.binding import Publication
from springline.core.session import Session
from springline.core.values import SessionKey
from springline.kube import paths, schemas
from springline.kube.client import RefusedError
from springline.kube.declarations import Declarations, identify
from springline.kube.entries import Entries
from springline.kube.holders import Life
from springline.kube.own_writes import OwnWrites
from springline.kube.schemas import Fitted, Schema
from springline.kube.status import StatusWriter
from support.builders import RABBIT, server_close
from support.fake_clock import FakeClock
from support.fakes import Silence
from support.fleet import Fleet

__all__ = [
    "CLUSTER_RABBIT",
    "ORDERS",
    "RABBIT_BROKER",
    "FakeApplier",
    "FakeDefinitions",
    "FakeLives",
    "FakePublications",
    "RecordingNotices",
    "Scene",
    "Write",
    "a_broker",
    "a_connection",
    "lacking",
    "playing",
    "refused",
    "stamped",
]

RABBIT_BROKER = Identity("Broker", "apps", "rabbit")
CLUSTER_RABBIT = Identity("ClusterBroker", "", "rabbit")
ORDERS = Identity("BrokerConnection", "apps", "orders")


def a_broker(
    identity: Identity = RABBIT_BROKER,
    *,
    uid: str = "broker-1",
    generation: int = 1,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return a broker as an API server shows it."""
    spec = {"endpoints": [{"host": RABBIT.host}], **spec}
    return _document(identity, uid, generation, spec, status=status)


def a_connection(
    name: str = "orders",
    *,
    uid: str = "connection-1",
    generation: int = 1,
    broker: Identity = RABBIT_BROKER,
    annotations: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
    **spec: Any,
) -> dict[str, Any]:
    """Return a connection as an API server shows it."""
    spec = {
        "brokerRef": {"kind": broker.kind, "name": broker.name},
        "credentials": {"secretRef": {"name": f"{name}-amqp"}},
        "probe": {"mode": "None"},
        **spec,
    }
    identity = ORDERS._replace(name=name)
    return _document(identity, uid, generation, spec, annotations=annotations, status=status)


def _document(
    identity: Identity,
    uid: str,
    generation: int,
    spec: Mapping[str, Any],
    *,
    annotations: Mapping[str, str] | None = None,
    status: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    metadata: dict[str, Any] = {
        "name": identity.name,
        "uid": uid,
        "generation": generation,
        "resourceVersion": "4711",
        "creationTimestamp": "2026-11-21T07:00:00Z",
        "managedFields": [{"manager": "kubectl"}],
    }
    if identity.namespace:
        metadata["namespace"] = identity.namespace
    if annotations is not None:
        metadata["annotations"] = dict(annotations)
    document = {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": identity.kind,
        "metadata": metadata,
        "spec": dict(spec),
    }
    return document if status is None else {**document, "status": dict(status)}


def stamped(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object as it is while somebody's finalizer keeps it from being deleted."""
    metadata = {**document["metadata"], "deletionTimestamp": "2026-11-21T08:00:00Z"}
    return {**document, "metadata": metadata}


def refused(code: int, *, retry_after: float | None = None) -> RefusedError:
    """Return what the client makes of such an answer of the API server."""
    reason = "NotFound" if code == 404 else "Reason"
    return RefusedError(code, reason, "words", retry_after=retry_after)


@dataclass(frozen=True, slots=True)
class Write:
    """A status that was sent, and when."""

    at: float
    path: str
    document: Mapping[str, Any]

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.document["status"])


class FakeApplier:
    """Takes what is written, as `kube.applying.Applier`.

    `at` answers for a path; else the next of `then`; else `otherwise`. None is a success, and
    SILENCE an answer that the test gives later.
    """

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self.writes: list[Write] = []
        self.uids: dict[str, str] = {}
        """The uid of the object that is there, by its path."""
        self.versions: dict[str, int] = {}
        """The version of each object."""
        self.managers: dict[str, str] = {}
        """The field manager that wrote the status of an object last."""
        self.reads: list[str] = []
        """The paths of objects that were read."""
        self.read_error: Exception | None = None
        """What a read is answered."""
        self._version = 5000
        self.stored: dict[str, dict[str, Any]] = {}
        """The status that each object has."""
        self.at: dict[str, Exception | Silence | None] = {}
        self.otherwise: Exception | Silence | None = None
        self.in_flight: list[str] = []
        self.most_in_flight = 0
        self.violations: list[str] = []
        """Writes that should never have come."""
        self.added: dict[str, dict[str, Any]] = {}
        """What other managers have added to the status of an object."""
        self.schemas: dict[str, Schema] = {}
        """What it takes as the status of a kind; anything, where nothing is said."""
        self.is_declared: Callable[[str], bool] = lambda _: True
        self.answer: dict[str, Any] | None = None
        """What is answered in place of the object."""
        self.encode: Callable[[Mapping[str, Any]], str] = json.JSONEncoder(
            sort_keys=True, separators=(",", ":"), ensure_ascii=False
        ).encode
        """How an answer is written; by default as an API server does it."""
        self.before_answer: Callable[[], None] = lambda: None
        """What happens between a write and its answer."""
        self._script: deque[Exception | Silence | None] = deque()
        self._held: list[asyncio.Future[None]] = []

    def then(self, *answers: Exception | Silence | None) -> None:
        """Answer the next writes so, one by one."""
        self._script.extend(answers)

    def release(self, error: Exception | None = None) -> None:
        """Let the writes that hang succeed, or fail."""
        held, self._held = self._held, []
        for each in held:
            if each.done():
                continue
            if error is None:
                each.set_result(None)
            else:
                each.set_exception(error)

    def clear_script(self) -> None:
        """Let every further write succeed."""
        self._script.clear()

    async def apply(self, path: str, body: bytes, *, manager: str) -> bytes:
        assert manager == "springline"
        document = json.loads(body)
        version = document["metadata"].get("resourceVersion")
        # Noted and not raised: whoever writes survives defects.
        if path in self.in_flight:
            self.violations.append(f"a second write of {path}")
        if not self.is_declared(path):
            self.violations.append(f"a write of {path}, which is gone")
        self.writes.append(Write(self._clock.elapsed, path, document))
        self.in_flight.append(path)
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        try:
            await self._answer(path)
        finally:
            self.in_flight.remove(path)
        if path not in self.uids:
            raise refused(404)
        if version is not None and version != str(self.versions[path]):
            raise refused(409)
        if _cut(document["kind"], document["status"], self.schemas).left_out:
            raise refused(500)
        # What another manager has added stays.
        added = self.added.get(path, {})
        self.store(path, {**added, **document["status"]}, manager="springline")
        self.before_answer()
        shown = self.shown(path) if self.answer is None else self.answer
        return self.encode(shown).encode()

    async def merge(
        self, path: str, change: Mapping[str, Any], *, manager: str
    ) -> Mapping[str, Any]:
        assert manager == "springline"
        if change["metadata"]["resourceVersion"] != str(self.versions[path]):
            raise refused(409)
        assert set(change["status"].values()) == {None}, "this fake removes fields alone"
        for name in change["status"]:
            self.added[path].pop(name)
        kept = {
            name: each for name, each in self.stored[path].items() if name not in change["status"]
        }
        self.store(path, kept, manager="springline")
        return self.shown(path)

    async def get(self, path: str) -> Mapping[str, Any]:
        self.reads.append(path)
        if self.read_error is not None:
            raise self.read_error
        path = f"{path}/status"
        if path not in self.uids:
            raise refused(404)
        return self.shown(path)

    def changed(self, path: str) -> None:
        """Give an object another version."""
        self._version += 1
        self.versions[path] = self._version

    def store(self, path: str, status: Mapping[str, Any], *, manager: str) -> None:
        """Give an object another status."""
        self.stored[path] = dict(status)
        self.managers[path] = manager
        self.changed(path)

    def shown(self, path: str) -> dict[str, Any]:
        """Return an object as it is, as far as its status goes."""
        manager = self.managers.get(path, "")
        written = {"manager": manager, "subresource": "status", "time": "2026-11-21T08:00:00Z"}
        metadata = {
            "uid": self.uids[path],
            "resourceVersion": str(self.versions[path]),
            "managedFields": [written],
        }
        return {"metadata": metadata, "status": self.stored.get(path, {})}

    async def _answer(self, path: str) -> None:
        answer = self.otherwise
        if path in self.at:
            answer = self.at[path]
        elif self._script:
            answer = self._script.popleft()
        if isinstance(answer, Silence):
            held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._held.append(held)
            await held
        elif answer is not None:
            raise answer


class FakeDefinitions:
    """Those of a played API server, as `kube.status.Fitting`. They are known only by looking."""

    def __init__(self, api: FakeApplier) -> None:
        self._api = api
        self._known: dict[str, Schema] = {}
        self.edition = 0
        self.looks = 0
        self.on_change: Callable[[], None] = lambda: None

    def fitted(self, kind: str, status: dict[str, Any]) -> Fitted:
        return _cut(kind, status, self._known)

    async def look(self) -> None:
        self.looks += 1
        await asyncio.sleep(0)
        if self._known != self._api.schemas:
            self._known = dict(self._api.schemas)
            self.edition += 1
            self.on_change()


def lacking(kind: str, *fields: str) -> Schema:
    """Return the schema of a kind's status without some fields, as an older definition has it."""
    [version] = crds.crd(kind)["spec"]["versions"]
    status = schemas.compact(version["schema"]["openAPIV3Schema"]["properties"]["status"])
    kept = {name: each for name, each in status["properties"].items() if name not in fields}
    required = [name for name in status["required"] if name not in fields]
    return {**status, "properties": kept, "required": required}


def _cut(kind: str, status: dict[str, Any], known: Mapping[str, Schema]) -> Fitted:
    if kind not in known:
        return Fitted(value=status)
    return schemas.fitted(status, known[kind], "status")


class FakePublications:
    """Knows of bindings what the test puts into it, as `core.binding.Publications`."""

    def __init__(self) -> None:
        self.known: dict[SessionKey, Publication] = {}

    def publication(self, key: SessionKey) -> Publication | None:
        return self.known.get(key)


class FakeLives:
    """Knows of holders what the test puts into it, as `kube.rivals.Lives`; others are gone."""

    def __init__(self) -> None:
        self.known: dict[str, Life | None] = {}

    def life(self, holder: str) -> Life | None:
        return self.known.get(holder, Life.GONE)


class RecordingNotices:
    """Remembers what it is told, as `kube.rivals.StatusNotices`."""

    def __init__(self) -> None:
        self.held: dict[Identity, tuple[str, str]] = {}
        """By whom an object is held, and which replica says so."""
        self.overwriters: list[tuple[Identity, str, str]] = []
        self.large: set[Identity] = set()
        """Those that have no room for their status."""

    def held_elsewhere(self, identity: Identity, *, holder: str, replica: str) -> None:
        self.held[identity] = (holder, replica)

    def ended(self, identity: Identity) -> None:
        self.held.pop(identity, None)

    def too_large(self, identity: Identity) -> None:
        self.large.add(identity)

    def overwritten(self, identity: Identity, *, manager: str, holder: str) -> None:
        self.overwriters.append((identity, manager, holder))


class Scene(Fleet):
    """A manager among fakes, whose declarations and status go through the Kubernetes adapter."""

    def __init__(self, clock: FakeClock) -> None:
        self.api = FakeApplier(clock)
        self.counted: list[str] = []
        self.publications = FakePublications()
        self.definitions = FakeDefinitions(self.api)
        self.lives = FakeLives()
        self.notices = RecordingNotices()
        super().__init__(clock)
        self.entries = Entries()
        self.own_writes = OwnWrites()
        self.statuses = StatusWriter(
            self.api,
            self.manager,
            clock,
            holder="system/pod-1",
            publications=self.publications,
            definitions=self.definitions,
            lives=self.lives,
            notices=self.notices,
            counted=self.counted.append,
            entries=self.entries,
            own_writes=self.own_writes,
        )
        self.definitions.on_change = self.statuses.definitions_changed
        self.declarations = Declarations(self.manager, self.statuses)
        self._declared: dict[str, tuple[Any, ...]] = {}
        self.api.is_declared = self._is_declared
        self.writing: asyncio.Task[None] | None = None

    def _is_declared(self, path: str) -> bool:
        return any(paths.status_of(each) == path for each in self.declarations.uids())

    def _session_changed(self, session: Session) -> None:
        super()._session_changed(session)
        self.statuses.session_changed(session)

    async def show(self, *documents: Mapping[str, Any]) -> None:
        """Show objects as a watch does, without letting time pass."""
        for document in documents:
            self.appear(document)
        await self.clock.settle()

    def appear(self, document: Mapping[str, Any]) -> None:
        """Create or change an object and show it. Nothing follows from it yet."""
        path, metadata = paths.status_of(identify(document)), document["metadata"]
        declared = (metadata["generation"], metadata.get("annotations"), document["spec"])
        if self.api.uids.get(path) != metadata["uid"]:
            self.api.uids[path] = metadata["uid"]
            self.api.added.pop(path, None)
            self.api.store(path, document.get("status") or {}, manager="")
        elif self._declared.get(path) != declared:
            self.api.changed(path)
        self._declared[path] = declared
        there = self.api.shown(path)
        self.declarations.appeared(
            {**document, **there, "metadata": {**metadata, **there["metadata"]}}
        )

    def write_over(
        self,
        identity: Identity = ORDERS,
        *,
        manager: str = "kubectl-edit",
        is_missed: bool = False,
        adding: bool = False,
        **fields: Any,
    ) -> None:
        """Have another writer change fields of a status, and show it as a watch does.

        `adding` says that they are fields that a server-side apply leaves alone.
        """
        path = paths.status_of(identity)
        if adding:
            self.api.added.setdefault(path, {}).update(fields)
        status = {**self.api.stored[path], **fields}
        present = {name: each for name, each in status.items() if each is not None}
        self.api.store(path, present, manager=manager)
        if not is_missed:
            self.show_status(identity)

    def show_status(self, identity: Identity = ORDERS) -> None:
        """Show an object as it is now, as a watch does after a write of its status."""
        there = self.api.shown(paths.status_of(identity))
        metadata = {"name": identity.name, "namespace": identity.namespace, **there["metadata"]}
        self.declarations.status_shown({**there, "kind": identity.kind, "metadata": metadata})

    def line(self, identity: Identity = ORDERS) -> bytes:
        """Return what a watch says of an object as it is now, after a write."""
        text = self.api.encode(self.api.shown(paths.status_of(identity)))
        return f'{{"type":"MODIFIED","object":{text}}}'.encode()

    def delete(self, identity: Identity) -> None:
        """Delete an object, and tell nobody."""
        path = paths.status_of(identity)
        self.api.uids.pop(path, None)
        self.api.stored.pop(path, None)

    async def vanish(self, identity: Identity, *, uid: str) -> None:
        """Delete an object and show that it is gone."""
        self.delete(identity)
        self.declarations.vanished(identity, uid=uid)
        await self.clock.settle()

    def written(self, identity: Identity = ORDERS) -> list[dict[str, Any]]:
        """Return every status of an object that was sent."""
        path = paths.status_of(identity)
        return [write.status for write in self.api.writes if write.path == path]

    def times(self, identity: Identity = ORDERS) -> list[float]:
        """Return when they were sent."""
        path = paths.status_of(identity)
        return [write.at for write in self.api.writes if write.path == path]

    def is_behind(self) -> bool:
        """Whether the API server takes no writes."""
        return self.statuses.behind_since is not None

    def lose(self, name: str = "orders") -> None:
        """Have the broker end a session's connection."""
        connection = self.session(SessionKey("apps", name)).connection
        next(each for each in self.open_connections if each is connection).end(server_close())


@contextlib.asynccontextmanager
async def playing(clock: FakeClock, *, is_writing: bool = True) -> AsyncIterator[Scene]:
    """Run a scene; afterwards nothing of it may be left."""
    before = asyncio.all_tasks()
    scene = Scene(clock)
    await scene.start()
    if is_writing:
        scene.writing = asyncio.get_running_loop().create_task(scene.statuses.run())
    try:
        yield scene
    finally:
        assert scene.task is not None
        for task in (scene.task, scene.writing):
            if task is not None:
                task.cancel()
        await clock.settle()
    if scene.writing is not None:
        assert scene.writing.cancelled(), "the writer ended by itself"
    assert not scene.api.violations
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    assert not left, f"left behind: {left}"
