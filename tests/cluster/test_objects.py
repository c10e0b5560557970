"""Secrets and ConfigMaps of a real API server: changes noticed, whatever happens to it.

Its restarts and compactions are those of a server of this module's own.
"""

import asyncio
import base64
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest

from springline import errors
from springline.api.meta import Identity
from springline.clock import SystemClock
from springline.core.values import Endpoint, ResolvedEndpoint
from springline.kube import client as requests
from springline.kube.access import Access
from springline.kube.client import Client, RefusedError
from springline.kube.namespaces import NamespaceWatch
from springline.kube.objects import ObjectReader, ObjectWatch
from springline.kube.services import KubernetesServices
from springline.kube.watching import Metadata, Watch
from support.apiserver import APIServer
from support.waiting import eventually

SYSTEM_NAMESPACES = "/api/v1/namespaces"

_numbers = itertools.count()


@pytest.fixture(scope="module")
def server(disposable_apiserver: APIServer) -> APIServer:
    """An API server that tests here may stop."""
    return disposable_apiserver


@pytest.fixture
def namespace(server: APIServer) -> Iterator[str]:
    """A namespace for one test."""
    name = f"objects-{next(_numbers)}"
    document = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}
    assert server.request("POST", SYSTEM_NAMESPACES, document).code == 201
    yield name
    server.request("DELETE", f"{SYSTEM_NAMESPACES}/{name}")


@pytest.fixture
async def client(server: APIServer, tmp_path: Path) -> AsyncIterator[Client]:
    """An administrator's client."""
    async with client_of(server, tmp_path) as client:
        yield client


@contextlib.asynccontextmanager
async def client_of(server: APIServer, directory: Path, **user: str) -> AsyncIterator[Client]:
    path = directory / "kubeconfig"
    path.write_text(server.kubeconfig(**user))
    access = Access(kubeconfig=str(path))
    await access.load()
    async with Client(access) as client:
        yield client


@dataclass
class Followed:
    """A reader and a watch, and what the watch tells of the objects that are read."""

    reader: ObjectReader
    watch: ObjectWatch
    is_read: set[Identity]
    told: list[Identity]
    gaps: list[str] = field(default_factory=list)

    async def value(self, identity: Identity) -> str | None:
        """Return what is under the key `password` now; None if there is no object."""
        found = await self.reader.read(identity)
        value = found.get("password") if found is not None else None
        return value.decode() if value is not None else None

    async def told_of(self, identity: Identity) -> None:
        """Wait until a change is told, and forget it."""
        await eventually(lambda: identity in self.told)
        assert set(self.told) == {identity}
        self.told.clear()


@contextlib.asynccontextmanager
async def followed(
    client: Client,
    *identities: Identity,
    namespaces: tuple[str, ...] = (),
    require_label: bool = False,
) -> AsyncIterator[Followed]:
    """Follow the objects, once everything that there is has been listed."""
    is_read, told, gaps = set(identities), list[Identity](), list[str]()
    clock = SystemClock()
    reader = ObjectReader(client, clock, is_read=is_read.__contains__, require_label=require_label)
    watch = ObjectWatch(
        client,
        clock,
        Random(1),  # noqa: S311  # draws must be the same every time
        reader,
        on_change=told.append,
        on_gap=lambda: gaps.append("gap"),
        namespaces=namespaces,
    )
    task = asyncio.ensure_future(watch.run())
    try:
        await eventually(lambda: watch.is_synced)
        yield Followed(reader, watch, is_read, told, gaps)
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def ask(server: APIServer, method: str, path: str, body: object = None) -> dict[str, Any]:
    """Ask as an administrator, from async code."""
    answer = await asyncio.to_thread(server.request, method, path, body)
    assert answer.code in (200, 201), answer.message
    return answer.content


def path_of(identity: Identity, *, collection: bool = False) -> str:
    plural = {"Secret": "secrets", "ConfigMap": "configmaps"}[identity.kind]
    path = f"{SYSTEM_NAMESPACES}/{identity.namespace}/{plural}"
    return path if collection else f"{path}/{identity.name}"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


async def create(
    server: APIServer, identity: Identity, password: str, **labels: str | None
) -> None:
    secret = identity.kind == "Secret"
    document = {
        "apiVersion": "v1",
        "kind": identity.kind,
        "metadata": {"name": identity.name, "labels": labels},
        "data": {"password": encoded(password) if secret else password},
    }
    await ask(server, "POST", path_of(identity, collection=True), document)


async def change(server: APIServer, identity: Identity, password: str) -> None:
    secret = identity.kind == "Secret"
    data = {"password": encoded(password) if secret else password}
    await ask(server, "PATCH", path_of(identity), {"data": data})


async def delete(server: APIServer, identity: Identity) -> None:
    await ask(server, "DELETE", path_of(identity))


async def label(server: APIServer, identity: Identity, value: str | None) -> None:
    labels = {"springline.dev/allowed": value}
    await ask(server, "PATCH", path_of(identity), {"metadata": {"labels": labels}})


@pytest.mark.parametrize("kind", ["Secret", "ConfigMap"])
async def test_life_of_an_object_is_followed(
    server: APIServer, client: Client, namespace: str, kind: str
) -> None:
    """Created, changed, deleted and created again: each time the reader has the new answer."""
    identity = Identity(kind, namespace, "rabbit")
    async with followed(client, identity) as followed_:
        assert await followed_.value(identity) is None
        await create(server, identity, "first")
        await followed_.told_of(identity)
        assert await followed_.value(identity) == "first"
        await change(server, identity, "second")
        await followed_.told_of(identity)
        assert await followed_.value(identity) == "second"
        await delete(server, identity)
        await followed_.told_of(identity)
        assert await followed_.value(identity) is None
        await create(server, identity, "third")
        await followed_.told_of(identity)
        assert await followed_.value(identity) == "third"


async def test_only_what_is_read_is_told_and_remembered(
    server: APIServer, client: Client, namespace: str
) -> None:
    identity = Identity("Secret", namespace, "rabbit")
    async with followed(client, identity) as followed_:
        await create(server, Identity("Secret", namespace, "other"), "x")
        await create(server, identity, "first")
        await followed_.told_of(identity)
        assert followed_.reader.objects_in_use() == [identity]


async def test_only_the_given_namespaces_are_followed(
    server: APIServer, client: Client, namespace: str
) -> None:
    here, elsewhere = (Identity("Secret", each, "rabbit") for each in (namespace, "default"))
    async with followed(client, here, elsewhere, namespaces=(namespace,)) as followed_:
        await create(server, elsewhere, "x")
        await create(server, here, "first")
        await followed_.told_of(here)
    await delete(server, elsewhere)


async def test_label_decides_where_it_is_required(
    server: APIServer, client: Client, namespace: str
) -> None:
    identity = Identity("Secret", namespace, "rabbit")
    await create(server, identity, "first")
    async with followed(client, identity, require_label=True) as followed_:
        with pytest.raises(errors.ObjectNotAllowedError):
            await followed_.value(identity)
        await label(server, identity, "true")
        await followed_.told_of(identity)
        assert await followed_.value(identity) == "first"
        await change(server, identity, "second")
        await followed_.told_of(identity)
        assert await followed_.value(identity) == "second"
        await label(server, identity, None)
        await followed_.told_of(identity)
        with pytest.raises(errors.ObjectNotAllowedError):
            await followed_.value(identity)


async def test_watch_that_ends_in_order_loses_nothing(
    server: APIServer, client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API server ends every watch after a while."""
    monkeypatch.setattr(requests, "WATCH_SECONDS", 1.3)
    identity = Identity("Secret", namespace, "rabbit")
    await create(server, identity, "0")
    async with followed(client, identity) as followed_:
        assert await followed_.value(identity) == "0"
        secrets, _ = followed_.watch.watches
        for number in range(1, 4):
            before = secrets.last_contact
            await eventually(lambda before=before: secrets.last_contact != before)  # type: ignore[misc]
            await change(server, identity, str(number))
            await followed_.told_of(identity)
            assert await followed_.value(identity) == str(number)
        assert followed_.gaps == []


@pytest.mark.slow
async def test_restart_of_the_api_server_loses_nothing(
    server: APIServer, client: Client, namespace: str
) -> None:
    """Meanwhile the last value serves; afterwards changes are noticed again."""
    kept, changed = (Identity("Secret", namespace, name) for name in ("kept", "changed"))
    for identity in (kept, changed):
        await create(server, identity, "first")
    async with followed(client, kept, changed) as followed_:
        assert await followed_.value(kept) == "first"
        assert await followed_.value(changed) == "first"
        await asyncio.to_thread(server.stop)
        try:
            await eventually(lambda: len(followed_.gaps) == 2)
            assert await followed_.value(kept) == "first"
        finally:
            await asyncio.to_thread(server.start)
        await change(server, changed, "second")
        await followed_.told_of(changed)
        assert await followed_.value(changed) == "second"
        assert await followed_.value(kept) == "first"


@pytest.mark.slow
async def test_history_that_the_api_server_forgot_is_made_up_for(
    server: APIServer, client: Client, namespace: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A watch from before a compaction is answered 410, and everything is listed again."""
    identity = Identity("Secret", namespace, "rabbit")
    await create(server, identity, "first")
    async with followed(client, identity) as followed_:
        assert await followed_.value(identity) == "first"
        await asyncio.to_thread(server.forget_history)
        await eventually(lambda: len(followed_.gaps) == 2)
        await change(server, identity, "second")
        await followed_.told_of(identity)
        assert await followed_.value(identity) == "second"
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


class Notes:
    """A listener that notes what it is told, by name."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def listed(self, items: Sequence[Metadata]) -> None:
        self.told.append(f"listed {len([each for each in items if each.name == 'rabbit'])}")

    def changed(self, metadata: Metadata) -> None:
        self.told.append(f"changed {metadata.name}")

    def deleted(self, metadata: Metadata) -> None:
        self.told.append(f"deleted {metadata.name}")

    def interrupted(self) -> None:
        self.told.append("interrupted")


@pytest.mark.slow
async def test_watch_from_a_version_that_is_gone_begins_anew(
    server: APIServer, client: Client, namespace: str
) -> None:
    """So a watch finds it that slept through an outage, with a pod that was frozen for example."""
    identity = Identity("Secret", namespace, "rabbit")
    await create(server, identity, "first")
    _, version = await client.list_metadata(path_of(identity, collection=True))
    await asyncio.to_thread(server.forget_history)
    notes = Notes()
    rng = Random(1)  # noqa: S311  # draws must be the same every time
    path = path_of(identity, collection=True)
    watch = Watch(client, SystemClock(), rng, path, listener=notes)
    watch._version = version
    async with contextlib.aclosing(client.watch(path, since=version, seconds=5)) as events:
        with pytest.raises(RefusedError) as caught:
            await anext(events)
    assert caught.value.code == 410
    task = asyncio.ensure_future(watch.run())
    await eventually(lambda: notes.told == ["interrupted", "listed 1"])
    await change(server, identity, "second")
    await eventually(lambda: notes.told[2:] == ["changed rabbit"])
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.slow
async def test_frozen_api_server_does_not_keep_a_session_waiting(
    server: APIServer, client: Client, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connections are accepted, and nobody answers."""
    monkeypatch.setattr("springline.kube.objects._IMPATIENT_SECONDS", 0.5)
    monkeypatch.setattr("springline.kube.objects._FRESH_SECONDS", 0.0)
    identity = Identity("Secret", namespace, "rabbit")
    await create(server, identity, "first")
    async with followed(client, identity) as followed_:
        assert await followed_.value(identity) == "first"
        server.pause()
        try:
            assert await followed_.value(identity) == "first"
        finally:
            server.resume()
        await change(server, identity, "second")
        await followed_.told_of(identity)
        assert await followed_.value(identity) == "second"


async def test_missing_permissions_are_named(
    server: APIServer, namespace: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A ServiceAccount without any role may log in, and nothing else."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "nobody"}}
    await ask(server, "POST", f"{SYSTEM_NAMESPACES}/{namespace}/serviceaccounts", account)
    token = await asyncio.to_thread(server.token_for, namespace, "nobody")
    identity = Identity("Secret", namespace, "rabbit")
    async with client_of(server, tmp_path, token=token) as client:
        rng = Random(1)  # noqa: S311  # draws must be the same every time
        reader = ObjectReader(client, SystemClock(), is_read=lambda _: True)
        with pytest.raises(errors.ObjectUnavailableError, match="lacks the permission to get"):
            await reader.read(identity)
        with pytest.raises(errors.RejectedError, match="lacks the permission to get services"):
            await KubernetesServices(client, rng).endpoints(namespace, "rabbit", "amqp")
        watch = ObjectWatch(client, SystemClock(), rng, reader, on_change=lambda _: None)
        task = asyncio.ensure_future(watch.run())
        await eventually(lambda: len(caplog.records) == 2)
        task.cancel()
        await asyncio.wait({task})
    assert [record.message for record in caplog.records] == 2 * [
        (
            "watching is forbidden; bind a role that allows list and watch of this resource to "
            "Springline's ServiceAccount"
        )
    ]
    assert f'"system:serviceaccount:{namespace}:nobody"' in caplog.records[0].__dict__["error"]
    assert token not in caplog.text


class Labels:
    """The labels of namespaces, as the manager would have them."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, str]] = {}

    def put_namespace(self, name: str, labels: Any) -> None:
        self.known[name] = dict(labels)

    def drop_namespace(self, name: str) -> None:
        del self.known[name]


async def test_labels_of_namespaces_are_followed(
    server: APIServer, client: Client, namespace: str
) -> None:
    labels = Labels()
    rng = Random(1)  # noqa: S311  # draws must be the same every time
    watch = NamespaceWatch(client, SystemClock(), rng, labels)
    task = asyncio.ensure_future(watch.run())
    try:
        name = "kubernetes.io/metadata.name"
        await eventually(lambda: labels.known.get(namespace) == {name: namespace})
        change_ = {"metadata": {"labels": {"team": "orders"}}}
        await ask(server, "PATCH", f"{SYSTEM_NAMESPACES}/{namespace}", change_)
        expected = {name: namespace, "team": "orders"}
        await eventually(lambda: labels.known.get(namespace) == expected)
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_pods_behind_a_service_are_found(
    server: APIServer, client: Client, namespace: str
) -> None:
    """Slices are as the API server stores them; nothing here runs pods."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "rabbit"},
        "spec": {"ports": [{"name": "amqp", "port": 15672, "targetPort": 5672}]},
    }
    await ask(server, "POST", f"{SYSTEM_NAMESPACES}/{namespace}/services", service)
    addresses = {"IPv4": ["192.0.2.1", "192.0.2.2"], "IPv6": ["2001:db8::1"]}
    for family, pods in addresses.items():
        slice_ = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {
                "name": f"rabbit-{family.lower()}",
                "labels": {"kubernetes.io/service-name": "rabbit"},
            },
            "addressType": family,
            "ports": [{"name": "amqp", "port": 5672}],
            "endpoints": [
                {"addresses": [pod], "conditions": {"ready": pod != "192.0.2.2"}} for pod in pods
            ],
        }
        path = f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices"
        await ask(server, "POST", path, slice_)
    services = KubernetesServices(client, Random(1))  # noqa: S311  # the same every time
    for port in ("amqp", 15672):
        [found] = await services.endpoints(namespace, "rabbit", port)
        assert found.endpoint == Endpoint("rabbit." + namespace + ".svc", 5672)
        assert isinstance(found, ResolvedEndpoint)
        assert set(found.addresses) == {"192.0.2.1", "2001:db8::1"}
