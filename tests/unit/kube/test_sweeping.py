"""Finding what went while nobody was looking, and knowing when everything has come."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from springline.kube import paths
from springline.kube import sweeping as module
from springline.kube.client import RefusedError, UnreachableError
from springline.kube.declarations import identify
from springline.kube.sweeping import Sweeper
from support.fake_clock import FakeClock
from support.statuses import (
    ORDERS,
    RABBIT_BROKER,
    Scene,
    a_broker,
    a_connection,
    playing,
    stamped,
)

BROKERS = "/apis/springline.dev/v1alpha1/brokers"
CONNECTIONS = "/apis/springline.dev/v1alpha1/brokerconnections"


class FakeLister:
    """Lists what the test puts into it, as `kube.sweeping.Lister`."""

    def __init__(self) -> None:
        self.there: list[Mapping[str, Any]] = []
        self.failure: Exception | None = None
        self.forbidden: set[str] = set()
        """Namespaces that may not be listed."""
        self.version = "4711"
        self.asked: list[str] = []
        self.held: asyncio.Event | None = None
        """Until it is set, an answer that is ready is on its way."""

    async def list_metadata(self, path: str) -> tuple[list[dict[str, Any]], str]:
        self.asked.append(path)
        if self.failure is not None:
            raise self.failure
        if any(f"/namespaces/{namespace}/" in path for namespace in self.forbidden):
            raise RefusedError(403, "Forbidden", "no Role")
        items = [{"metadata": each["metadata"]} for each in self.there if _is_at(each, path)]
        if self.held is not None:
            await self.held.wait()
        return items, self.version


def _is_at(document: Mapping[str, Any], path: str) -> bool:
    identity = identify(document)
    everywhere = f"{paths.GROUP_VERSION}/{paths.PLURALS[identity.kind]}"
    return path in (everywhere, paths.of_object(identity).rpartition("/")[0])


class Swept:
    """A sweeper and what it compares."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.lister = FakeLister()
        self.sweeper = self.made()

    def made(self, *namespaces: str) -> Sweeper:
        return Sweeper(
            self.lister,
            self.scene.declarations,
            self.scene.clock,
            kinds=["Broker", "BrokerConnection"],
            namespaces=namespaces,
        )

    async def put(self, *documents: Mapping[str, Any]) -> None:
        """Create objects, and show them as a watch does."""
        self.lister.there.extend(documents)
        await self.scene.show(*documents)

    async def advance(self, seconds: float) -> None:
        await self.scene.clock.advance(seconds)

    def is_synced(self) -> bool:
        return self.sweeper.is_synced


@pytest.fixture
async def swept(clock: FakeClock) -> AsyncIterator[Swept]:
    """A running sweeper, and nothing declared."""
    async with playing(clock, is_writing=False) as scene:
        swept = Swept(scene)
        running = asyncio.get_running_loop().create_task(swept.sweeper.run())
        try:
            yield swept
        finally:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running


# --- the start


async def test_it_is_synced_when_all_that_there_is_has_been_taken_in(swept: Swept) -> None:
    swept.lister.there = [a_broker(), a_connection()]
    swept.sweeper = swept.made()
    async with _running(swept.sweeper):
        await swept.advance(1)
        assert not swept.is_synced()
        await swept.scene.show(a_broker())
        await swept.advance(1)
        assert not swept.is_synced()
        await swept.scene.show(a_connection())
        await swept.advance(1)
        assert swept.is_synced()


async def test_waiting_for_the_watches_does_not_ask_the_api_server(swept: Swept) -> None:
    swept.lister.there = [a_broker()]
    swept.lister.asked.clear()
    swept.sweeper = swept.made()
    async with _running(swept.sweeper):
        await swept.advance(4.5)
        assert swept.lister.asked == [BROKERS, CONNECTIONS]


async def test_an_empty_cluster_is_synced_at_once(swept: Swept) -> None:
    await swept.advance(0)
    assert swept.is_synced()


async def test_what_goes_before_it_came_is_not_waited_for_for_ever(swept: Swept) -> None:
    swept.lister.there = [a_connection()]
    swept.sweeper = swept.made()
    async with _running(swept.sweeper):
        await swept.advance(1)
        swept.lister.there.clear()
        await swept.advance(5)
        assert swept.is_synced()


async def test_what_is_being_deleted_is_not_waited_for(swept: Swept) -> None:
    swept.lister.there = [stamped(a_connection())]
    swept.sweeper = swept.made()
    async with _running(swept.sweeper):
        await swept.advance(1)
        assert swept.is_synced()


async def test_without_an_api_server_it_is_not_synced(swept: Swept) -> None:
    swept.lister.failure = UnreachableError("nobody listens")
    swept.sweeper = swept.made()
    async with _running(swept.sweeper):
        await swept.advance(60)
        assert not swept.is_synced()
        swept.lister.failure = None
        await swept.advance(5)
        assert swept.is_synced()


async def test_only_the_given_namespaces_are_listed(swept: Swept) -> None:
    swept.lister.asked.clear()
    async with _running(swept.made("apps", "tools")):
        await swept.advance(1)
    assert swept.lister.asked == [
        f"/apis/springline.dev/v1alpha1/namespaces/{namespace}/{plural}"
        for plural in ("brokers", "brokerconnections")
        for namespace in ("apps", "tools")
    ]


# --- after a gap


async def test_what_went_in_a_gap_is_dropped(swept: Swept) -> None:
    await swept.put(a_broker(), a_connection())
    assert len(swept.scene.open_connections) == 1
    swept.lister.there = [a_broker()]
    await swept.advance(60)
    assert ORDERS in swept.scene.declarations
    swept.sweeper.request()
    swept.sweeper.request()
    swept.lister.asked.clear()
    await swept.advance(2)
    assert swept.scene.declarations.uids() == {RABBIT_BROKER: "broker-1"}
    assert not swept.scene.open_connections
    assert swept.lister.asked == [BROKERS, CONNECTIONS]


async def test_it_is_compared_now_and_again_in_any_case(swept: Swept) -> None:
    await swept.put(a_broker(), a_connection())
    swept.lister.there.clear()
    await swept.advance(module._EVERY_SECONDS + 2)
    assert not swept.scene.declarations.uids()


async def test_what_was_created_anew_in_a_gap_replaces_what_there_was(swept: Swept) -> None:
    await swept.put(a_broker(), a_connection())
    swept.lister.there = [a_broker(), a_connection(uid="connection-2")]
    swept.sweeper.request()
    await swept.advance(2)
    assert ORDERS not in swept.scene.declarations
    await swept.scene.show(a_connection(uid="connection-2"))
    assert swept.scene.declarations.uid(ORDERS) == "connection-2"
    assert len(swept.scene.open_connections) == 1


async def test_what_is_declared_during_a_comparison_stays(swept: Swept) -> None:
    swept.lister.held = asyncio.Event()
    swept.sweeper.request()
    await swept.advance(2)
    await swept.put(a_broker(), a_connection())
    swept.lister.held.set()
    await swept.advance(2)
    assert len(swept.scene.declarations.uids()) == 2


async def test_what_is_created_anew_during_a_comparison_stays(swept: Swept) -> None:
    await swept.put(a_broker(), a_connection())
    swept.lister.there = [a_broker()]
    swept.lister.held = asyncio.Event()
    swept.sweeper.request()
    await swept.advance(2)
    await swept.put(a_connection(uid="connection-2"))
    swept.lister.held.set()
    await swept.advance(2)
    assert swept.scene.declarations.uid(ORDERS) == "connection-2"


async def test_a_comparison_that_failed_is_made_up_for(swept: Swept) -> None:
    await swept.put(a_broker(), a_connection())
    swept.lister.there = [a_broker()]
    swept.lister.failure = UnreachableError("nobody listens")
    swept.sweeper.request()
    await swept.advance(30)
    assert ORDERS in swept.scene.declarations
    swept.lister.failure = None
    await swept.advance(7)
    assert ORDERS not in swept.scene.declarations


async def test_an_answer_that_is_no_list_ends_no_session(
    swept: Swept, caplog: pytest.LogCaptureFixture
) -> None:
    """Something in front of the API server may answer anything."""
    caplog.set_level(logging.WARNING, logger=module.__name__)
    await swept.put(a_broker(), a_connection())
    swept.lister.there, swept.lister.version = [], ""
    swept.sweeper.request()
    await swept.advance(3)
    assert len(swept.scene.declarations.uids()) == 2
    assert "no list" in caplog.text


@contextlib.asynccontextmanager
async def _running(sweeper: Sweeper) -> AsyncIterator[None]:
    task = asyncio.get_running_loop().create_task(sweeper.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


# --- namespaces that cannot be read


async def test_what_cannot_be_listed_is_neither_dropped_nor_waited_for(swept: Swept) -> None:
    """A missing Role says nothing about what is in its namespace."""
    kept, gone = a_connection(), a_connection(uid="connection-2")
    kept["metadata"]["namespace"] = "orders"
    gone["metadata"]["namespace"] = "tools"
    await swept.put(kept, gone)
    swept.lister.there = []
    swept.lister.forbidden = {"orders"}
    swept.sweeper = swept.made("orders", "tools")
    async with _running(swept.sweeper):
        await swept.advance(1)
        assert swept.is_synced()
        assert identify(kept) in swept.scene.declarations
        assert identify(gone) not in swept.scene.declarations
