"""Connections with a binding, and an API server that keeps Secrets as the test says."""

import asyncio
import base64
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Mapping
from typing import Any

from springline import errors
from springline.api.meta import Identity
from springline.core import ports
from springline.core.binding import Publication
from springline.core.session import Session
from springline.core.values import SessionKey
from springline.kube.binding import BindingWriter
from springline.kube.bound_secrets import BoundSecrets
from springline.kube.client import RefusedError
from springline.kube.watching import Metadata
from springline.reasons import Reason
from support.fake_clock import FakeClock
from support.fakes import SILENCE, Silence
from support.fleet import ORDERS, Fleet

__all__ = ["FakePorts", "FakeSecretAPI", "Scene", "StaticReader", "playing", "values"]

_MANAGED = ("app.kubernetes.io/managed-by", "springline")


class FakeSecretAPI:
    """Keeps Secrets, as `kube.bound_secrets.SecretAPI`, and tells a writer of ours as a watch does.

    `then` answers the next writes, one by one; else `otherwise`. None is a success.
    """

    def __init__(self) -> None:
        self.secrets: dict[str, dict[str, Any]] = {}
        """By path."""
        self.asked: list[tuple[str, str]] = []
        """Verb and path of every request; `metadata` for a get of no more."""
        self.otherwise: Exception | Silence | None = None
        self.writer: BindingWriter | None = None
        """Who is told; None while the watch is away."""
        self.in_flight: list[str] = []
        self.violations: list[str] = []
        """Requests that should never have come."""
        self._script: deque[Exception | Silence | None] = deque()
        self._held: list[asyncio.Future[None]] = []
        self._version = 100

    def then(self, *answers: Exception | Silence | None) -> None:
        """Answer the next writes so, one by one."""
        self._script.extend(answers)

    def release(self) -> None:
        """Let the writes that hang succeed."""
        held, self._held = self._held, []
        for each in held:
            each.set_result(None)

    @property
    def writes(self) -> list[str]:
        """The verbs of everything but looking, in order."""
        return [verb for verb, _ in self.asked if verb not in ("get", "metadata")]

    # --- what somebody else does

    def put(self, name: str, *, namespace: str = "apps", **document: Any) -> dict[str, Any]:
        """Create or replace a Secret."""
        metadata = {"name": name, "namespace": namespace, **document.pop("metadata", {})}
        return self._store(path(name, namespace), {"metadata": metadata, **document})

    def edit(self, name: str, **data: str) -> None:
        """Change values of a Secret."""
        found = self.secrets[path(name)]
        encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
        self._store(path(name), {**found, "data": {**found["data"], **encoded}})

    def remove(self, name: str) -> None:
        """Delete a Secret."""
        self._drop(path(name))

    # --- the port

    async def get(self, path: str, *, accept: str = "application/json", **_: str) -> dict[str, Any]:
        is_metadata = "PartialObjectMetadata" in accept
        self.asked.append(("metadata" if is_metadata else "get", path))
        found = self.secrets.get(path)
        if found is None:
            raise absent()
        return {"metadata": found["metadata"]} if is_metadata else found

    async def create(self, path: str, document: Mapping[str, Any], **_: str) -> dict[str, Any]:
        await self._answer("create", path)
        where = f"{path}/{document['metadata']['name']}"
        if where in self.secrets:
            raise conflict("AlreadyExists")
        return self._store(where, document)

    async def update(self, path: str, document: Mapping[str, Any], **_: str) -> dict[str, Any]:
        await self._answer("update", path)
        found = self.secrets.get(path)
        if found is None:
            raise absent()
        version = document["metadata"]["resourceVersion"]
        if version != found["metadata"]["resourceVersion"]:
            raise conflict("Conflict")
        if document["type"] != found["type"]:
            self.violations.append("the type of a Secret cannot be changed")
        return self._store(path, document)

    async def delete(self, path: str, *, uid: str, version: str) -> None:
        await self._answer("delete", path)
        found = self.secrets.get(path)
        if found is None:
            raise absent()
        metadata = found["metadata"]
        if (metadata["uid"], metadata["resourceVersion"]) != (uid, version):
            raise conflict("Conflict")
        self._drop(path)

    # --- keeping

    async def _answer(self, verb: str, path: str) -> None:
        self.asked.append((verb, path))
        if path in self.in_flight and verb != "create":
            self.violations.append(f"a second write of {path}")
        self.in_flight.append(path)
        try:
            answer = self._script.popleft() if self._script else self.otherwise
            if answer is SILENCE:
                held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._held.append(held)
                await held
            elif isinstance(answer, Exception):
                raise answer
        finally:
            self.in_flight.remove(path)

    def _store(self, path: str, document: Mapping[str, Any]) -> dict[str, Any]:
        self._version += 1
        before = self.secrets.get(path)
        uid = before["metadata"]["uid"] if before is not None else f"secret-{self._version}"
        metadata = {**document["metadata"], "uid": uid, "resourceVersion": str(self._version)}
        after = {"kind": "Secret", "type": "Opaque", "data": {}, **document, "metadata": metadata}
        self.secrets[path] = after
        self._tell(before, after)
        return after

    def _drop(self, path: str) -> None:
        before = self.secrets.pop(path)
        self._version += 1
        self._tell(before, None)

    def _tell(self, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
        if self.writer is None:
            return
        if after is not None and is_managed(after):
            self.writer.appeared(Metadata.of(after))
        elif before is not None and is_managed(before):
            self.writer.deleted(Metadata.of(before))

    def listed(self) -> list[Metadata]:
        """What a list of our Secrets says."""
        return [Metadata.of(each) for each in self.secrets.values() if is_managed(each)]


def path(name: str, namespace: str = "apps") -> str:
    return f"/api/v1/namespaces/{namespace}/secrets/{name}"


def is_managed(document: Mapping[str, Any]) -> bool:
    key, value = _MANAGED
    return bool((document["metadata"].get("labels") or {}).get(key) == value)


def values(document: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of a Secret."""
    return {key: base64.b64decode(value).decode() for key, value in document["data"].items()}


def absent() -> RefusedError:
    return RefusedError(404, "NotFound", "not found")


def conflict(reason: str) -> RefusedError:
    return RefusedError(409, reason, "somebody else was faster")


class StaticReader:
    """Knows the objects that the test puts into it, as `core.ports.ObjectReader`."""

    def __init__(self) -> None:
        self.objects: dict[Identity, ports.DataObject] = {}
        self.failure: errors.ObjectReadError | None = None

    async def read(self, identity: Identity) -> ports.DataObject | None:
        if self.failure is not None:
            raise self.failure
        return self.objects.get(identity)


class FakePorts:
    """Knows the port of every Service, as `core.verified.ServicePorts`."""

    def __init__(self) -> None:
        self.number: int | None = 5672
        self.failure: errors.ConnectError | None = None

    async def port_number(self, namespace: str, name: str, port: str | int) -> int | None:  # noqa: ARG002
        if self.failure is not None:
            raise self.failure
        return self.number


class Scene(Fleet):
    """A manager among fakes, and a writer that keeps the bindings of its connections."""

    def __init__(self, clock: FakeClock) -> None:
        self.api = FakeSecretAPI()
        self.reader = StaticReader()
        self.services = FakePorts()
        self.uids: dict[SessionKey, str] = {}
        self.held_elsewhere: set[Identity] = set()
        """Connections that another live replica looks after."""
        self.shown: list[SessionKey] = []
        """Whose publication changed."""
        super().__init__(clock)
        self.writer = self.new_writer()
        self.writing: asyncio.Task[None] | None = None

    def new_writer(self) -> BindingWriter:
        """Return a writer that knows nothing yet, as after a start."""
        writer = BindingWriter(
            BoundSecrets(self.api),
            self.manager,
            self.clock,
            uid_of=lambda identity: self.uids.get(SessionKey(identity.namespace, identity.name)),
            reader=self.reader,
            services=self.services,
            events=self.events,
            on_change=lambda session: self.shown.append(session.key),
            is_held_elsewhere=lambda identity: identity in self.held_elsewhere,
        )
        self.api.writer = writer
        return writer

    def _session_changed(self, session: Session) -> None:
        super()._session_changed(session)
        self.writer.session_changed(session)

    async def declare(self, *names: str, uid: str = "uid", **spec: Any) -> None:
        """Declare connections, and let what follows from it happen."""
        for name in names or ("orders",):
            self.uids[SessionKey("apps", name)] = f"{uid}-{name}"
            await self.put(name, **spec)
        await self.clock.advance(1)

    async def drop(self, key: SessionKey = ORDERS) -> None:
        """Delete a connection."""
        self.uids.pop(key)
        self.manager.drop_connection(key)
        await self.clock.advance(1)

    async def restart(self) -> None:
        """Go on as another process would: with the same Secrets and new sessions."""
        await self.stop_writing()
        keys = [session.key for session in self.manager.sessions()]
        assert not keys, "drop them first"
        self.writer = self.new_writer()
        self.start_writing()
        self.writer.listed("", self.api.listed())

    def start_writing(self) -> None:
        self.writing = asyncio.get_running_loop().create_task(self.writer.run())

    async def stop_writing(self) -> None:
        assert self.writing is not None
        self.writing.cancel()
        await asyncio.wait({self.writing})

    def secret(self, name: str = "orders-binding") -> dict[str, Any]:
        """Return a Secret as it is."""
        return self.api.secrets[path(name)]

    def values(self, name: str = "orders-binding") -> dict[str, str]:
        """Return the values of a Secret as it is."""
        return values(self.secret(name))

    def told(self, key: SessionKey = ORDERS) -> Reason:
        """Return the reason of the condition as it would be shown."""
        return self.publication(key).verdict.reason

    def publication(self, key: SessionKey = ORDERS) -> Publication:
        found = self.writer.publication(key)
        assert found is not None
        return found


@contextlib.asynccontextmanager
async def playing(clock: FakeClock) -> AsyncIterator[Scene]:
    """Run a scene with one broker; the event loop is driven by `clock`."""
    scene = Scene(clock)
    await scene.start()
    scene.start_writing()
    await scene.put_broker()
    try:
        yield scene
    finally:
        await scene.stop_writing()
        scene.manager.stop()
        await clock.advance(5)
        assert scene.task is not None
        assert scene.task.done()
        assert not scene.api.violations
