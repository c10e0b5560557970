"""Waiting for our kinds at the start, and taking in the brokers that there are."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from springline.api.meta import Identity
from springline.clock import SystemClock
from springline.kube import installed as module
from springline.kube.client import Client
from springline.kube.installed import await_installed, take_in_brokers
from support.fake_apiserver import Asked, Deed, FakeAPIServer, answering, refusing
from support.waiting import eventually

GROUP = "/apis/springline.dev/v1alpha1"
KINDS = ["ClusterBroker", "Broker", "BrokerConnection"]


class Taken:
    """Remembers what is taken in, as `kube.declarations.Shown`."""

    def __init__(self) -> None:
        self.documents: list[Mapping[str, Any]] = []

    def appeared(self, document: Mapping[str, Any]) -> None:
        self.documents.append(document)

    def status_shown(self, document: Mapping[str, Any]) -> None:  # noqa: ARG002 - as it is called
        raise AssertionError("a list shows what is declared")

    def vanished(self, identity: Identity, *, uid: str) -> None:
        raise AssertionError(f"nobody said that {identity} ({uid}) is gone")

    def __contains__(self, identity: Identity) -> bool:
        return False


class QuickClock(SystemClock):
    """Real time, but every pause is short."""

    async def sleep(self, seconds: float) -> None:
        assert seconds == module._RETRY_SECONDS
        await asyncio.sleep(0.01)


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    """What was said of what is in the way."""
    caplog.set_level(logging.WARNING, logger=module.__name__)
    return caplog


def problems(said: pytest.LogCaptureFixture) -> list[str]:
    """Return what was said to be in the way."""
    return [str(record.__dict__["problem"]) for record in said.records]


def serving(*plurals: str) -> dict[str, Any]:
    return {"resources": [{"name": plural} for plural in plurals]}


@contextlib.asynccontextmanager
async def waiting(client: Client) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.get_running_loop().create_task(
        await_installed(client, QuickClock(), kinds=KINDS)
    )
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def test_kinds_that_are_missing_are_waited_for_and_named_once(
    server: FakeAPIServer, client: Client, said: pytest.LogCaptureFixture
) -> None:
    answer: list[Deed] = [refusing(404, "NotFound", "no such group")]
    server.instead = lambda _: answer[0]
    async with waiting(client) as task:
        await eventually(lambda: len(server.asked_for(GROUP)) > 3)
        [problem] = problems(said)
        assert "clusterbrokers, brokers, brokerconnections are not installed" in problem
        answer[0] = answering(serving("clusterbrokers", "clusterbrokers/status", "brokers"))
        await eventually(lambda: len(said.records) == 2)
        assert "of brokerconnections are" in problems(said)[1]
        answer[0] = answering(serving("clusterbrokers", "brokers", "brokerconnections"))
        await eventually(task.done)


@pytest.mark.parametrize("deed", [refusing(403, "Forbidden", "no"), answering("no JSON")])
async def test_an_api_server_that_does_not_say_is_waited_for(
    server: FakeAPIServer, client: Client, said: pytest.LogCaptureFixture, deed: Deed
) -> None:
    server.instead = lambda _: deed
    async with waiting(client) as task:
        await eventually(lambda: len(server.asked_for(GROUP)) > 3)
        assert not task.done()
        assert len(said.records) == 1
        server.instead = lambda _: answering(
            serving("clusterbrokers", "brokers", "brokerconnections")
        )
        await eventually(task.done)


async def test_brokers_are_taken_in_and_connections_are_not(
    server: FakeAPIServer, client: Client
) -> None:
    server.put("clusterbrokers", "", "rabbit", kind=None, apiVersion=None)
    server.put("brokers", "apps", "rabbit", kind=None, apiVersion=None)
    server.put("brokerconnections", "apps", "orders")
    taken = Taken()
    await take_in_brokers(client, QuickClock(), taken, kinds=KINDS, namespaces=())
    assert [
        Identity(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"])
        for each in taken.documents
    ] == [Identity("ClusterBroker", "", "rabbit"), Identity("Broker", "apps", "rabbit")]
    assert {each["apiVersion"] for each in taken.documents} == {"springline.dev/v1alpha1"}


async def test_only_the_given_namespaces_are_looked_into(
    server: FakeAPIServer, client: Client
) -> None:
    server.put("brokers", "apps", "rabbit")
    server.put("brokers", "elsewhere", "rabbit")
    taken = Taken()
    await take_in_brokers(client, QuickClock(), taken, kinds=KINDS, namespaces=("apps", "tools"))
    assert [each["metadata"]["namespace"] for each in taken.documents] == ["apps"]
    assert [asked.path for asked in server.asked] == [
        f"{GROUP}/clusterbrokers",
        f"{GROUP}/namespaces/apps/brokers",
        f"{GROUP}/namespaces/tools/brokers",
    ]


async def test_a_list_that_is_refused_is_tried_again_and_told_once(
    server: FakeAPIServer, client: Client, said: pytest.LogCaptureFixture
) -> None:
    server.put("brokers", "apps", "rabbit")

    def forbidden(asked: Asked) -> Deed | None:
        is_refused = asked.path.endswith("/brokers") and len(server.asked) < 6
        return refusing(403, "Forbidden", "no") if is_refused else None

    server.instead = forbidden
    taken = Taken()
    await take_in_brokers(client, QuickClock(), taken, kinds=KINDS, namespaces=())
    assert len(taken.documents) == 1
    assert len(said.records) == 1


async def test_a_namespace_that_stays_forbidden_does_not_keep_the_others_waiting(
    server: FakeAPIServer, client: Client, said: pytest.LogCaptureFixture
) -> None:
    """Its Role is missing, or it is gone together with its Role."""
    server.put("brokers", "tools", "rabbit")

    def forbidden(asked: Asked) -> Deed | None:
        return refusing(403, "Forbidden", "no Role") if "/apps/" in asked.path else None

    server.instead = forbidden
    taken = Taken()
    await take_in_brokers(client, QuickClock(), taken, kinds=KINDS, namespaces=("apps", "tools"))
    assert [each["metadata"]["namespace"] for each in taken.documents] == ["tools"]
    assert len(said.records) == 1
