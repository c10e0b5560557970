"""Definitions of another version than the operator's: what they do not take is left out, and told.

The API server is real, and the definitions are those of crds/ with fields taken away, as the
version before had them, or with more, as a later one may have. They also change under a running
operator.
"""

import asyncio
import http.client
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from springline.api import crds
from springline.kube.access import Access
from springline.kube.client import Client
from springline.kube.definitions import Definitions
from support import scrapes
from support.apiserver import APIServer
from support.definitions import Definitions as Installed
from support.operator_process import OperatorProcess
from support.team import CONNECTIONS, Team, condition
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("mended")

OLDER = "the API server's definitions are older than this version"
NEWER = "the API server's definitions are newer than this version"
CAUGHT_UP = "the API server's definitions know every field of this version"
REFUSED_VALUE = "the API server's definitions do not take a value"
PARTS = ("spec", "status")
MISSING = "springline_definitions_missing_fields"


def schema(definition: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that a definition has for its objects."""
    [version] = definition["spec"]["versions"]
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]["properties"]
    return found


def older(definition: dict[str, Any]) -> None:
    """Take away what a former version of the definitions may not have had, at every depth."""
    status = schema(definition)["status"]["properties"]
    del status["server"]["properties"]["clusterName"]
    if definition["spec"]["names"]["kind"] != "BrokerConnection":
        counts = status["connections"]
        del counts["properties"]["blocked"]
        counts["required"].remove("blocked")
        [version] = definition["spec"]["versions"]
        version["additionalPrinterColumns"] = [
            each for each in version["additionalPrinterColumns"] if each["name"] != "Blocked"
        ]
        return
    del schema(definition)["spec"]["properties"]["whenClosed"]
    for name in ("binding", "holder", "lastHandled"):
        del status[name]
    del status["credentials"]["properties"]["verifiedAt"]
    del status["conditions"]["items"]["properties"]["observedGeneration"]


LACKING = (
    "spec.whenClosed, status.binding, status.conditions[].observedGeneration,"
    " status.credentials.verifiedAt, status.holder, status.lastHandled, status.server.clusterName"
)


def newer(definition: dict[str, Any]) -> None:
    """Add what a later version of the definitions may have."""
    properties = schema(definition)
    properties["spec"]["properties"]["colour"] = {"type": "string"}
    status = properties["status"]["properties"]
    status["shade"] = {"type": "string", "enum": ["Light", "Dark"]}
    status["server"]["properties"]["edition"] = {"type": "string"}
    status["conditions"]["items"]["properties"]["severity"] = {"type": "string", "default": "None"}


@pytest.fixture
def since(process: OperatorProcess) -> Iterator[Callable[[str], list[str]]]:
    """What finds the lines with a text that the operator has logged since the test began."""
    before = len(process.output)
    yield lambda text: [line for line in process.output[before:].splitlines() if text in line]
    assert "Traceback" not in process.output[before:]


def missing(process: OperatorProcess) -> dict[tuple[str, str], float]:
    """Return what the metric says, by kind and part."""
    families = {family.name: family for family in scrapes.read(process.get("/metrics").text)}
    return {
        (sample.labels["kind"], sample.labels["part"]): sample.value
        for sample in families[MISSING].samples
        if sample.value
    }


def written(apiserver: APIServer, team: Team, name: str) -> list[int]:
    """Return what the status writes of a connection were answered so far."""
    return [
        each.code
        for each in apiserver.audit()
        if (each.verb, each.resource, each.subresource, each.namespace, each.name)
        == ("patch", CONNECTIONS, "status", team.namespace, name)
    ]


def is_whole(status: Mapping[str, Any]) -> bool:
    """Whether a status has what the older definitions lack."""
    return (
        "holder" in status
        and "clusterName" in status.get("server", {})
        and "verifiedAt" in status.get("credentials", {})
        and all("observedGeneration" in each for each in status["conditions"])
    )


async def lose(team: Team, name: str, *others: str) -> None:
    """Have the broker close a connection, and wait for the one that is opened in its place."""
    [lost] = [each for each in await team.until_held(name, *others) if each.name == name]
    await asyncio.to_thread(team.rabbit.administration.close_connection, lost.pid, "maintenance")
    await team.until(
        name,
        lambda status: "lastClose" in status and condition(status, "Ready")[0] == "True",
        "it is told how it was lost, and that it is back",
    )


async def test_definitions_of_this_version_are_recognised(
    cluster: APIServer, tmp_path: Path
) -> None:
    """The API server publishes them as they were installed, so no status is looked through."""
    kubeconfig = tmp_path / "kubeconfig"
    kubeconfig.write_text(cluster.kubeconfig())
    access = Access(kubeconfig=str(kubeconfig))
    await access.load()
    async with Client(access) as client:
        compared = Definitions(client, kinds=tuple(crds.KINDS))
        reading = asyncio.create_task(compared.run())
        await compared.look()
        reading.cancel()
    assert compared.missing == {(kind, part): 0 for kind in crds.KINDS for part in PARTS}
    for kind in crds.KINDS:
        status = {"state": "Connected"}
        assert compared.fitted(kind, status).value is status


async def test_older_definitions_get_what_they_know(
    process: OperatorProcess,
    apiserver: APIServer,
    definitions: Installed,
    team: Team,
    since: Callable[[str], list[str]],
) -> None:
    """The log and a metric say what is left out; with newer definitions it comes by itself."""
    await asyncio.to_thread(process.stop)
    await asyncio.to_thread(definitions.install, older)
    process.start()
    await process.until_ready()
    names = ["orders", "billing"]
    await team.declare(*names)
    await team.until_ready(*names)
    await team.until(
        "rabbit",
        lambda status: status.get("connections") == {"declared": 2, "ready": 2},
        "the broker counts what it can show",
        plural="brokers",
    )
    for name in names:
        status = await team.status(name)
        assert status["state"] == "Connected"
        assert status["server"]["product"] == "RabbitMQ"
        assert "clusterName" not in status["server"]
        assert {"binding", "holder", "lastHandled"}.isdisjoint(status)
        assert written(apiserver, team, name) == [http.client.OK]
    told = since(OLDER)
    assert sorted(_kind(line) for line in told) == ["Broker", "BrokerConnection", "ClusterBroker"]
    [connections] = [line for line in told if _kind(line) == "BrokerConnection"]
    assert LACKING in connections
    assert missing(process) == {
        ("BrokerConnection", "spec"): 1,
        ("BrokerConnection", "status"): 6,
        ("Broker", "status"): 2,
        ("ClusterBroker", "status"): 2,
    }
    assert not since("status refused")

    await asyncio.to_thread(definitions.install)
    for name in names:
        await team.until(name, is_whole, "nothing is left out any more")
    await team.until(
        "rabbit",
        lambda status: status["connections"] == {"declared": 2, "ready": 2, "blocked": 0},
        "nor for the broker",
        plural="brokers",
    )
    assert missing(process) == {}
    assert len(since(CAUGHT_UP)) == 3
    assert [written(apiserver, team, name) for name in names] == [[http.client.OK] * 2] * 2
    assert len(since(OLDER)) == 3


def _kind(line: str) -> str:
    """Return the kind that a line of the log is about."""
    return str(json.loads(line)["kind"])


async def test_definitions_are_rolled_back_under_a_running_operator(
    process: OperatorProcess,
    apiserver: APIServer,
    definitions: Installed,
    team: Team,
    since: Callable[[str], list[str]],
) -> None:
    """What changes afterwards is shown without what they lack, and the last word is, too."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    await asyncio.to_thread(definitions.install, older)
    await lose(team, "orders", "billing")
    assert "holder" not in await team.status("orders")
    new = ["invoices-1", "invoices-2", "invoices-3", "invoices-4"]
    await team.declare(*new)
    await team.until_ready(*new)
    # Whichever came first found out.
    for name in ("orders", *new):
        refused = written(apiserver, team, name).count(http.client.INTERNAL_SERVER_ERROR)
        assert refused == 0 if name in new else refused <= 1
    assert not since("status refused")
    # The API server publishes them one by one, and each is told when it is seen.
    await eventually(lambda: len(since(OLDER)) == 3, what="all three kinds are told")
    assert written(apiserver, team, "billing") == [http.client.OK]  # nothing of it has changed
    await asyncio.to_thread(process.stop)
    for name in ("orders", "billing", *new):
        await team.until(name, lambda status: status["state"] == "Closed", "it says goodbye")
    await asyncio.to_thread(definitions.install)
    process.start()
    for name in ("orders", "billing"):
        await team.until(
            name,
            lambda status: is_whole(status) and status["state"] == "Connected",
            "everything is there again",
        )


async def test_newer_definitions_change_nothing(
    process: OperatorProcess,
    apiserver: APIServer,
    definitions: Installed,
    team: Team,
    since: Callable[[str], list[str]],
) -> None:
    """An operator that is older than its definitions does what it knows, and says so once."""
    await asyncio.to_thread(process.stop)
    await asyncio.to_thread(definitions.install, newer)
    process.start()
    await process.until_ready()
    await team.declare("orders", colour="orange")
    await team.until_ready("orders")
    assert (await team.get(CONNECTIONS, "orders"))["spec"]["colour"] == "orange"
    assert is_whole(await team.status("orders"))
    assert written(apiserver, team, "orders") == [http.client.OK]
    [told] = [line for line in since(NEWER) if _kind(line) == "BrokerConnection"]
    assert "spec.colour, status.conditions[].severity, status.server.edition, status.shade" in told
    assert missing(process) == {}
    assert not since(OLDER)


async def test_a_value_that_is_not_taken_is_left_out_alone(
    process: OperatorProcess,
    apiserver: APIServer,
    definitions: Installed,
    team: Team,
    since: Callable[[str], list[str]],
) -> None:
    """As one that only a later version knows; once it is taken, it is there."""

    def strict(definition: dict[str, Any]) -> None:
        if definition["spec"]["names"]["kind"] == "BrokerConnection":
            status = schema(definition)["status"]["properties"]
            status["server"]["properties"]["product"]["enum"] = ["QuackMQ"]
            status["negotiated"]["properties"]["mechanism"]["maxLength"] = 1

    await asyncio.to_thread(process.stop)
    await asyncio.to_thread(definitions.install, strict)
    process.start()
    await process.until_ready()
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    status = await team.status("orders")
    assert "product" not in status["server"]
    assert "version" in status["server"]
    assert "negotiated" not in status  # it has to have a mechanism
    assert "holder" in status
    assert written(apiserver, team, "orders") == [http.client.OK]
    assert len(since(REFUSED_VALUE)) == 2
    assert missing(process) == {("BrokerConnection", "status"): 2}
    await asyncio.to_thread(definitions.install)
    await team.until(
        "orders",
        lambda status: status["server"].get("product") == "RabbitMQ" and "negotiated" in status,
        "they are there",
    )
    assert missing(process) == {}


async def test_definitions_without_a_status_hold_up_no_session(
    process: OperatorProcess, definitions: Installed, team: Team
) -> None:
    """Nothing can be shown, and nothing is sent in vain; the broker is looked after."""

    def without(definition: dict[str, Any]) -> None:
        if definition["spec"]["names"]["kind"] == "BrokerConnection":
            del schema(definition)["status"]
            [version] = definition["spec"]["versions"]
            version["selectableFields"] = [{"jsonPath": ".spec.brokerRef.name"}]

    await asyncio.to_thread(process.stop)
    await asyncio.to_thread(definitions.install, without)
    process.start()
    await process.until_ready()
    await team.declare("orders")
    await team.until_held("orders")
    await team.until(
        "rabbit",
        lambda status: status.get("connections", {}).get("ready") == 1,
        "the status of others is written",
        plural="brokers",
    )
    await asyncio.to_thread(definitions.install)
    await team.until_ready("orders")
