"""The labels of namespaces: told when they are new, and no oftener."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

import pytest

from springline.kube.client import Client
from springline.kube.namespaces import EndingNamespaces, NamespaceWatch
from springline.kube.watching import Metadata
from support.fake_apiserver import FakeAPIServer
from support.fake_clock import FixedRandom
from support.hasty_clock import HastyClock
from support.waiting import eventually

NAME = "kubernetes.io/metadata.name"


class Notes:
    """What the manager would be told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, Mapping[str, str] | None]] = []

    def put_namespace(self, name: str, labels: Mapping[str, str]) -> None:
        self.told.append((name, labels))

    def drop_namespace(self, name: str) -> None:
        self.told.append((name, None))


@pytest.fixture
def notes() -> Notes:
    return Notes()


@contextlib.asynccontextmanager
async def followed(client: Client, notes: Notes) -> AsyncIterator[NamespaceWatch]:
    watch = NamespaceWatch(client, HastyClock(), FixedRandom(), notes)
    task = asyncio.ensure_future(watch.run())
    try:
        async with asyncio.timeout(10):
            await watch.synced.wait()
        yield watch
    finally:
        task.cancel()
        await asyncio.wait({task})


async def test_labels_of_all_namespaces_are_told(
    server: FakeAPIServer, client: Client, notes: Notes
) -> None:
    """The label with the name is always there."""
    server.put("namespaces", "", "apps", labels={"team": "orders", NAME: "apps"})
    server.put("namespaces", "", "bare")
    async with followed(client, notes):
        assert notes.told == [("apps", {"team": "orders", NAME: "apps"}), ("bare", {NAME: "bare"})]


async def test_labels_that_change_are_told(
    server: FakeAPIServer, client: Client, notes: Notes
) -> None:
    async with followed(client, notes):
        server.put("namespaces", "", "apps")
        server.put("namespaces", "", "apps", labels={"team": "orders"})
        server.put("namespaces", "", "apps", labels={"team": "orders"}, status={"phase": "Active"})
        server.delete("namespaces", "", "apps")
        await eventually(lambda: ("apps", None) in notes.told)
    assert notes.told == [
        ("apps", {NAME: "apps"}),
        ("apps", {"team": "orders", NAME: "apps"}),
        ("apps", None),
    ]


async def test_a_namespace_that_is_being_deleted_is_known_until_it_is_gone(
    client: Client, notes: Notes
) -> None:
    doomed = EndingNamespaces()
    watch = NamespaceWatch(client, HastyClock(), FixedRandom(), notes, doomed)
    there, ending = (
        Metadata.of({"metadata": {"name": "apps", "resourceVersion": "1", **more}})
        for more in ({}, {"deletionTimestamp": "2026-11-21T12:00:00Z"})
    )
    watch.changed(there)
    assert not doomed.is_ending("apps")
    watch.changed(ending)
    assert doomed.is_ending("apps")
    watch.deleted(ending)
    assert not doomed.is_ending("apps")
    watch.listed([ending])
    assert doomed.is_ending("apps")
    watch.listed([there])  # another one of that name
    assert not doomed.is_ending("apps")
    watch.listed([ending])
    watch.listed([])
    assert not doomed.is_ending("apps")


async def test_what_changed_during_an_outage_is_told_after_it(
    server: FakeAPIServer, client: Client, notes: Notes
) -> None:
    for name in ("gone", "kept", "labelled"):
        server.put("namespaces", "", name)
    async with followed(client, notes):
        await eventually(lambda: server.watching)
        del notes.told[:]
        await server.stop()
        server.delete("namespaces", "", "gone")
        server.put("namespaces", "", "labelled", labels={"team": "orders"})
        server.put("namespaces", "", "new")
        server.forget_history()
        await server.start()
        await eventually(lambda: len(notes.told) == 3)
    assert sorted(notes.told, key=lambda each: each[0]) == [
        ("gone", None),
        ("labelled", {"team": "orders", NAME: "labelled"}),
        ("new", {NAME: "new"}),
    ]
