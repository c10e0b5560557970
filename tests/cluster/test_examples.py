"""Every example, applied as it stands: the API server takes it, and the operator has an answer."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from springline.reasons import Reason
from support.kubectl import Kubectl
from support.ports import LOOPBACK
from support.shared_broker import SharedBroker
from support.team import condition

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
FOLDERS = {
    folder.relative_to(EXAMPLES).as_posix(): folder
    for folder in sorted({path.parent for path in EXAMPLES.rglob("*.yaml")})
}

NOWHERE = {Reason.NAME_RESOLUTION_FAILED, Reason.CONNECT_TIMEOUT, Reason.CONNECTION_REFUSED}
EXPECTED: dict[str, set[Reason]] = {
    # What comes of each, as the reason of Ready, where it has no broker with the user guest: names
    # are of nobody, and certificates say PLACEHOLDER.
    "allowed-namespaces": NOWHERE,
    # RabbitMQ 3 hangs up, as it has no plugin for it here; of RabbitMQ 4 they want what it has not,
    # but for those that are for RabbitMQ.
    "amqp10": {
        Reason.PEER_CLOSED,
        Reason.ACCESS_REFUSED,
        Reason.CONNECTED,
        Reason.NO_AUTHENTICATION_MECHANISM,
    },
    "broker-secret": NOWHERE,
    "client-certificate": {Reason.TLS_FAILED},
    "cluster-broker": {Reason.TLS_FAILED},
    "demo/manifests": {Reason.ACCESS_REFUSED},
    "dns-srv": NOWHERE,
    "inline-broker": NOWHERE,
    "oauth2": {Reason.TOKEN_REQUEST_FAILED},
    "rotation": NOWHERE,
    "service": {Reason.TLS_FAILED},
    "service-account-token": {Reason.TOKEN_REQUEST_FAILED},
    "several-endpoints": NOWHERE,
    "suspended": {Reason.SUSPENDED},
    "tls": {Reason.TLS_FAILED},
    "token": NOWHERE,
    "token-file": {Reason.TOKEN_FILE_NOT_FOUND},
}
READY = {Reason.CONNECTED}


@pytest.fixture(scope="module")
def _namespaces(kubectl: Kubectl) -> Iterator[None]:
    """The namespaces that the examples are for."""
    made = [
        name
        for name in sorted({each["metadata"].get("namespace") for each in in_all()} - {None})
        if not kubectl.get_json("namespace", name)
    ]
    for name in made:
        kubectl.run("create", "namespace", name)
    yield
    for name in made:
        kubectl.delete("namespace", name, wait=False)


def in_all() -> list[dict[str, Any]]:
    return [document for folder in FOLDERS.values() for document in documents(folder)]


def documents(folder: Path) -> list[dict[str, Any]]:
    """What an example declares."""
    return [
        document
        for path in sorted(folder.glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8"))
    ]


def is_local(broker: dict[str, Any]) -> bool:
    """Whether a broker is meant to be on the machine where the example is tried."""
    endpoints = broker["spec"].get("endpoints", ())
    return any(each["host"] in ("localhost", LOOPBACK) for each in endpoints)


def reason(status: dict[str, Any]) -> str:
    """Return why a connection is Ready or is not; a suspended one says so by Connected alone."""
    return condition(status, "Ready" if status.get("state") != "Suspended" else "Connected")[1]


@pytest.mark.usefixtures("springline", "_namespaces")
@pytest.mark.parametrize("example", FOLDERS)
async def test_an_example_is_accepted_and_answered(
    kubectl: Kubectl, rabbit: SharedBroker, example: str
) -> None:
    """Unknown fields are refused; only the ports of a broker on this machine are others."""
    declared = documents(FOLDERS[example])
    connections = [each["metadata"] for each in declared if each["kind"] == "BrokerConnection"]
    assert connections
    for each in declared:
        if each["kind"] == "Broker" and is_local(each):
            is_http = each["spec"].get("protocol") == "http"
            here = rabbit.management() if is_http else rabbit.document()
            each["spec"]["endpoints"] = here["spec"]["endpoints"]
    text = yaml.safe_dump_all(declared)
    options = ["--server-side", "--force-conflicts", "--validate=strict", "--filename=-"]
    try:
        kubectl.run("apply", *options, given=text)
        expected = EXPECTED.get(example, READY)
        for each in connections:
            await kubectl.until(
                "bconn",
                each["name"],
                lambda found: reason(found.get("status", {})) in expected,
                namespace=each["namespace"],
                what=f"the reason is one of {sorted(expected)}",
            )
    finally:
        kept = [each for each in declared if each["kind"] != "Namespace"]
        options = ["--ignore-not-found", "--filename=-"]
        await asyncio.to_thread(kubectl.run, "delete", *options, given=yaml.safe_dump_all(kept))
