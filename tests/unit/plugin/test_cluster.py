"""What refusals of the API server mean for a person, and what is done after a gap."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from springline.kube import client
from springline.plugin import cluster, commands
from springline.plugin.choices import Choice
from springline.plugin.cluster import Cluster, Target
from springline.plugin.connection import Connection
from springline.plugin.errors import Exit, PluginError
from springline.plugin.following import Changed, Deleted, Interrupted, Listed
from support import fake_apiserver, leaks
from support.fake_apiserver import FakeAPIServer, answering, refusing
from support.waiting import eventually

TOKEN = "planted-token"
PLURAL = "brokerconnections"


@pytest.fixture
async def server() -> AsyncIterator[FakeAPIServer]:
    """A running API server without objects."""
    async with leaks.checked(), fake_apiserver.serving() as server:
        yield server


@pytest.fixture
async def shop(server: FakeAPIServer, tmp_path: Path) -> AsyncIterator[Cluster]:
    """The namespace `shop` of it."""
    kubeconfig = fake_apiserver.kubeconfig(server, tmp_path, token=TOKEN)
    async with cluster.opened(Target(kubeconfig=str(kubeconfig), namespace="shop")) as shop:
        yield shop


async def refused(request: object) -> PluginError:
    with pytest.raises(PluginError) as caught:
        await request  # type: ignore[misc]
    assert TOKEN not in str(caught.value)
    return caught.value


async def test_cluster_without_our_definitions_is_told(
    server: FakeAPIServer, shop: Cluster
) -> None:
    """The API server has no such page then, and says so in plain text."""
    server.instead = lambda _: answering("404 page not found\n", status=404)
    for request in (shop.connections(), shop.connection("orders")):
        error = await refused(request)
        assert "is Springline installed" in str(error)
        assert error.code is Exit.CLUSTER


@pytest.mark.parametrize(
    ("kind", "path"),
    [
        (None, "/apis/springline.dev/v1alpha1/namespaces/shop/brokers/rabbit"),
        ("ClusterBroker", "/apis/springline.dev/v1alpha1/clusterbrokers/rabbit"),
    ],
)
async def test_protocol_is_what_the_broker_is_declared_to_speak(
    server: FakeAPIServer, shop: Cluster, kind: str | None, path: str
) -> None:
    reference = {"name": "rabbit", **({"kind": kind} if kind else {})}
    connection = Connection({"metadata": {"namespace": "shop"}, "spec": {"brokerRef": reference}})
    server.instead = lambda asked: (
        answering(json.dumps({"spec": {"protocol": "paper"}})) if asked.path == path else None
    )
    assert await shop.protocol(connection) == "paper"
    server.instead = lambda _: refusing(403, "Forbidden", 'User "ann" cannot get')
    assert await shop.protocol(connection) == "amqp091"


async def test_protocol_of_a_broker_in_place_is_in_the_declaration(
    server: FakeAPIServer, shop: Cluster
) -> None:
    assert await shop.protocol(Connection({"spec": {"broker": {"protocol": "paper"}}})) == "paper"
    assert await shop.protocol(Connection({"spec": {"broker": {}}})) == "amqp091"
    assert server.asked == []


async def test_missing_right_is_named(server: FakeAPIServer, shop: Cluster) -> None:
    server.instead = lambda _: refusing(403, "Forbidden", 'User "ann" cannot list')
    error = await refused(shop.connections())
    assert str(error).startswith('you may not list brokerconnections in namespace "shop"')
    assert "springline-view" in str(error)
    assert str(error).endswith('User "ann" cannot list')
    assert error.code is Exit.CLUSTER
    assert await shop.operator_pods(None) == (
        'you may not list pods in namespace "springline-system"'
    )


async def test_missing_login_is_told(server: FakeAPIServer, shop: Cluster) -> None:
    server.instead = lambda _: refusing(401, "Unauthorized", "Unauthorized")
    assert "log in again" in str(await refused(shop.connections()))


async def test_unreachable_cluster_is_told(server: FakeAPIServer, shop: Cluster) -> None:
    await server.stop()
    error = await refused(shop.connections())
    first, second = str(error).splitlines()
    assert first.startswith("the API server cannot be reached: 127.0.0.1:")
    assert first.endswith(": connection refused")
    assert second == f'context "fake" has it at {server.url}'
    assert error.code is Exit.CLUSTER


async def test_wrong_name_brings_up_similar_ones(server: FakeAPIServer, shop: Cluster) -> None:
    for name in ("orders", "billing"):
        server.put(PLURAL, "shop", name)
    error = await refused(shop.connection("order"))
    assert str(error) == (
        'there is no BrokerConnection "order" in namespace "shop"; did you mean orders?'
    )
    assert error.code is Exit.UNUSABLE
    assert "did you mean" not in str(await refused(shop.connection("zzz")))


async def test_after_a_gap_everything_is_listed_again(server: FakeAPIServer, shop: Cluster) -> None:
    """Also after the API server has forgotten the past, which is no reason to say anything."""
    server.put(PLURAL, "shop", "orders")
    news = shop.follow()
    first = await anext(news)
    assert isinstance(first, Listed)
    assert len(first.documents) == 1
    server.put(PLURAL, "shop", "billing", status={"state": "Connected"})
    second = await anext(news)
    assert isinstance(second, Changed)
    assert second.document["status"] == {"state": "Connected"}, "the whole object"
    server.delete(PLURAL, "shop", "orders")
    assert isinstance(await anext(news), Deleted)

    server.forget_history()
    server.end_watches()
    third = await anext(news)
    assert isinstance(third, Listed)
    assert len(third.documents) == 1
    interrupted = asyncio.ensure_future(anext(news))
    await eventually(lambda: server.watching == 1, what="the watch is open")
    server.break_watches()
    assert isinstance(await interrupted, Interrupted)
    assert isinstance(await anext(news), Listed)
    await news.aclose()


async def test_nothing_to_say_is_no_gap(
    server: FakeAPIServer, shop: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "WATCH_SECONDS", 1.3)
    monkeypatch.setattr(client, "SILENCE_SECONDS", 2.0)
    news = shop.follow()
    assert isinstance(await anext(news), Listed)
    following = asyncio.ensure_future(anext(news))
    await eventually(lambda: sum(each.is_watch for each in server.asked) > 2)
    server.put(PLURAL, "shop", "orders")
    assert isinstance(await following, Changed)
    assert sum(not each.is_watch for each in server.asked) == 1
    await news.aclose()


async def test_first_request_that_fails_is_the_end(server: FakeAPIServer, shop: Cluster) -> None:
    server.instead = lambda _: refusing(403, "Forbidden", "no")
    news = shop.follow()
    assert "you may not watch" in str(await refused(anext(news)))


@pytest.mark.parametrize(
    "names", [("orders",), ("orders", "bconn/returns")], ids=["one", "several"]
)
async def test_only_those_that_were_named_are_followed(
    server: FakeAPIServer, shop: Cluster, names: tuple[str, ...]
) -> None:
    """One is asked for by its name; of several, the others are passed over."""
    for name in ("orders", "billing"):
        server.put(PLURAL, "shop", name)
    choice = Choice(names=names).checked(Target(), one_is_needed=False)
    news = commands._news_of(shop, choice)
    first = await anext(news)
    assert isinstance(first, Listed)
    if len(names) > 1:  # the server of the tests knows no selector by fields
        assert [each["metadata"]["name"] for each in first.documents] == ["orders"]
    assert server.asked[0].query.get("fieldSelector", "") == (
        "metadata.name=orders" if len(names) == 1 else ""
    )
    following = asyncio.ensure_future(anext(news))
    await eventually(lambda: server.watching == 1, what="the watch is open")
    server.put(PLURAL, "shop", "billing", status={"state": "Connected"})
    server.put(PLURAL, "shop", "orders", status={"state": "Waiting"})
    changed = await following
    assert isinstance(changed, Changed)
    assert changed.document["metadata"]["name"] == "orders"
    await news.aclose()


async def test_several_are_found_in_their_namespaces_and_the_missing_are_told(
    server: FakeAPIServer, shop: Cluster
) -> None:
    for namespace, name in (("shop", "orders"), ("billing", "invoices")):
        server.put(PLURAL, namespace, name)
    names = ("bconn/billing/invoices", "orders", "bconn/billing/orders")
    choice = Choice(names=names).checked(Target(), one_is_needed=False)
    found, problems = await choice.found(shop)
    assert [(each.namespace, each.name) for each in found] == [
        ("billing", "invoices"),
        ("shop", "orders"),
    ]
    assert [str(each) for each in problems] == [
        'there is no BrokerConnection "orders" in namespace "billing"'
    ]
    server.instead = lambda _: refusing(403, "Forbidden", "no")
    with pytest.raises(PluginError, match="you may not get"):
        await choice.found(shop)
