"""The examples for AMQP 1.0, each with the broker that it is for, under `springline run`.

Only what is of the test's own broker is another: host and port, the login and the virtual host.
"""

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.amqp10_brokers import Amqp10Broker
from support.springline_process import running

EXAMPLES = Path(__file__).resolve().parents[2] / "examples" / "amqp10"
BROKERS = {
    "rabbitmq-3.yaml": ("rabbitmq_installed",),
    "rabbitmq-4.yaml": ("rabbitmq_native", "rabbitmq_newer"),
    "artemis.yaml": ("artemis",),
    "broker-j.yaml": ("broker_j",),
}

pytestmark = pytest.mark.broker


def test_every_file_has_its_broker() -> None:
    assert {path.name for path in EXAMPLES.iterdir()} == BROKERS.keys()


@pytest.mark.parametrize(
    ("file", "fixture"),
    [(file, fixture) for file, fixtures in BROKERS.items() for fixture in fixtures],
)
async def test_an_example_is_ready_with_its_links_and_its_probe(
    file: str, fixture: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    broker: Amqp10Broker = request.getfixturevalue(fixture)
    documents = list(yaml.safe_load_all((EXAMPLES / file).read_text(encoding="utf-8")))
    adapt(documents, broker)
    connection = next(each for each in documents if each["kind"] == "BrokerConnection")
    name, declared = connection["metadata"]["name"], connection["spec"]["amqp10"]
    for address in set(addresses(declared)):
        queue = address.rpartition("/")[2]
        # What is declared is an address as this broker writes it.
        assert await asyncio.to_thread(broker.add_queue, queue) == address
    async with running(tmp_path, broker.password) as springline:
        springline.write("all.yaml", *documents)
        await springline.until("Ready", "True", name=name)
        await springline.until("Blocked", "False", "NotBlocked", name=name)

        def settled() -> bool:
            states = {each["name"]: each["state"] for each in links(springline.status(name))}
            wanted = {each["name"]: expected(each["role"]) for each in declared["links"]}
            return states == wanted

        await springline.eventually(settled, "its links are as they should be")
        if broker.virtual_host:
            host = springline.status(name)["negotiated"]["amqp10"]["hostname"]
            assert host == broker.hostname
    for address in set(addresses(declared)):
        await asyncio.to_thread(broker.delete_queue, address.rpartition("/")[2])


def adapt(documents: Iterable[dict[str, Any]], broker: Amqp10Broker) -> None:
    """Put in the test's broker, in the namespace of the test."""
    for each in documents:
        del each["metadata"]["namespace"]
        match each["kind"]:
            case "Broker":
                here = broker.endpoint
                each["spec"]["endpoints"] = [{"host": here.host, "port": here.port}]
            case "Secret":
                each["stringData"] = {"username": broker.username, "password": broker.password}
            case "BrokerConnection" if broker.virtual_host:
                each["spec"]["virtualHost"] = broker.virtual_host
            case _:
                pass


def addresses(declared: dict[str, Any]) -> Iterator[str]:
    """Return all addresses that are declared."""
    for link in declared["links"]:
        yield link["target" if link["role"] == "Sender" else "source"]["address"]
    if "probe" in declared:
        yield declared["probe"]["address"]


def links(status: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = status["negotiated"].get("amqp10", {}).get("links", [])
    return found


def expected(role: str) -> str:
    return "Attached" if role == "Sender" else "Detached"
