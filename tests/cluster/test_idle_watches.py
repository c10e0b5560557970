"""An API server that has nothing to say for a long time, because its etcd has not either.

etcd is as Debian has it: without changes it says how far it is every ten minutes, so nobody gets a
bookmark meanwhile. What is an hour there is a minute here: watches are asked to last two seconds.
"""

import http.client
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support import bare_operator
from support.apiserver import APIServer, APIServerMissing
from support.bare_operator import BareOperator
from support.definitions import Definitions
from support.waiting import eventually

CONNECTIONS = "/apis/springline.dev/v1alpha1/namespaces/default/brokerconnections"
WATCHED = (
    "brokers",
    "brokerconnections",
    "clusterbrokers",
    "configmaps",
    "namespaces",
    "secrets",
)
HASTY = """
from springline.kube import client
client.WATCH_SECONDS, client.SILENCE_SECONDS = 2.0, 6.0
from springline.cli import main
main()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[APIServer]:
    """An API server without controllers, which would change something now and again."""
    try:
        server = APIServer(tmp_path_factory.mktemp("apiserver"), controllers=False)
    except APIServerMissing as error:
        pytest.skip(f"the cluster tests did not run: {error}")
    with server:
        Definitions(server).install()
        yield server


@pytest.fixture
async def operator(server: APIServer, tmp_path: Path) -> AsyncIterator[BareOperator]:
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(server.kubeconfig())
    program = (sys.executable, "-c", HASTY)
    with bare_operator.running(tmp_path, kubeconfig, program=program) as operator:
        await operator.until_ready()
        yield operator


def lists(server: APIServer) -> dict[str, int]:
    """Count how often everything that is watched has been listed."""
    return {each: server.requests(each, verb="LIST") for each in WATCHED}


def declare(server: APIServer, name: str) -> None:
    """Declare a connection whose broker is missing."""
    connection = {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "metadata": {"name": name},
        "spec": {
            "brokerRef": {"name": "missing"},
            "credentials": {"secretRef": {"name": "missing"}},
        },
    }
    assert server.request("POST", CONNECTIONS, connection).code == http.client.CREATED


async def watches_ended(server: APIServer, more: int) -> None:
    """Wait until so many more watches of each resource have ended."""
    before = {each: server.requests(each, verb="WATCH") for each in WATCHED}
    await eventually(
        lambda: all(server.requests(each, verb="WATCH") >= before[each] + more for each in WATCHED),
        timeout=60,
        what="watches have ended",
    )


async def test_silence_is_neither_an_outage_nor_a_reason_to_list(
    server: APIServer, operator: BareOperator
) -> None:
    """And what changes afterwards is seen."""
    await watches_ended(server, 1)
    listed = lists(server)
    await watches_ended(server, 4)
    assert lists(server) == listed
    declare(server, "orders")
    await eventually(
        lambda: server.request("GET", f"{CONNECTIONS}/orders").content["status"].get("conditions"),
        timeout=30,
        what="its status is written",
    )
    assert lists(server) == listed
    warnings = [line for line in operator.output.splitlines() if " WARNING " in line]
    assert [line for line in warnings if "declaration cannot be used" not in line] == []


async def test_version_that_is_too_old_by_then_is_made_up_for(
    server: APIServer, operator: BareOperator
) -> None:
    """Without bookmarks a watch goes on from where it was long ago, which may be forgotten."""
    await watches_ended(server, 1)
    server.forget_history()
    await watches_ended(server, 2)
    declare(server, "billing")
    await eventually(
        lambda: server.request("GET", f"{CONNECTIONS}/billing").content["status"].get("conditions"),
        timeout=60,
        what="its status is written",
    )
    assert "Traceback" not in operator.output
