"""Addresses that no declaration leads to, whatever the protocol: nothing is sent, status says why.

The operator is told what every pod is, and is allowed no address of its own machine.
"""

import asyncio
import functools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from support import fake_peer, scripted_http
from support.apiserver import APIServer
from support.fake_peer import FakePeer, Talk
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.ports import LOOPBACK
from support.team import CONNECTIONS, RETRY, Team, condition

SERVICE = "192.0.2.1"
"""What the Service `kubernetes` has here; the range is for documentation."""
PROTOCOLS = ("amqp091", "http")


def broker(host: str, port: int, protocol: str) -> dict[str, Any]:
    """Return a Broker, to which a login may be sent in clear text."""
    return {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "Broker",
        "metadata": {"name": "anywhere"},
        "spec": {
            "protocol": protocol,
            "endpoints": [{"host": host, "port": port}],
            "sasl": {"allowInsecure": True},
            "retry": RETRY,
        },
    }


async def declare(team: Team, host: str, port: int, protocol: str, **spec: Any) -> None:
    """Declare a connection to an address. Idempotent."""
    await team.put_secret()
    await team.apply("brokers", broker(host, port, protocol))
    document = team.connection("orders", brokerRef={"name": "anywhere"}, **spec)
    del document["spec"]["virtualHost"]
    await team.apply(CONNECTIONS, document)


def message(status: dict[str, Any], kind: str = "Connected") -> str:
    """Return the message of a condition."""
    [found] = [each["message"] for each in status["conditions"] if each["type"] == kind]
    return str(found)


@pytest.fixture
async def guarded(
    process: OperatorProcess, apiserver: APIServer, tmp_path: Path
) -> AsyncIterator[OperatorProcess]:
    """The operator of the chart as it runs in a pod, in place of the one that all share."""
    await asyncio.to_thread(process.stop)
    other = OperatorProcess(tmp_path, apiserver, with_loopback=False, service_host=SERVICE)
    try:
        other.start()
        await other.until_ready()
        yield other
        await asyncio.to_thread(other.stop)
    finally:
        other.close()


@pytest.fixture
async def bystander() -> AsyncIterator[FakePeer]:
    """A server on this machine that nobody should connect to."""

    async def script(talk: Talk) -> None:
        await talk.reader.read()

    async with fake_peer.serving(script) as peer:
        yield peer


METADATA = "an address of a cloud's metadata service"
ADDRESSES = {
    "169.254.169.254": METADATA,
    "64:ff9b::a9fe:a9fe": METADATA,  # the same, as NAT64 writes it
    "fd00:ec2::254": METADATA,
    "169.254.20.10": "a link-local address",
    "0.0.0.0": "an unspecified address",
    LOOPBACK: "a loopback address",
    "localhost": "a loopback address",
    SERVICE: "an address of the Kubernetes API server",
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_nothing_is_sent_to_an_address_that_is_nobody_s_broker(
    team: Team, guarded: OperatorProcess, bystander: FakePeer, protocol: str
) -> None:
    """Where something listens at one of them, it has no visitor."""
    for host, what in ADDRESSES.items():
        await declare(team, host, bystander.port, protocol)
        status = await team.until(
            "orders", functools.partial(_refused, host=host, what=what), f"{host} is {what}"
        )
        assert status["state"] == "Rejected"
        assert "--allow-addresses" in message(status)
        assert "endpoint" not in status
    assert bystander.talks == []
    assert guarded.running


def _refused(status: dict[str, Any], *, host: str, what: str) -> bool:
    is_so = condition(status, "Connected") == ("False", "AddressNotAllowed")
    return is_so and host in message(status) and f" is {what}, which" in message(status)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_session_stays_where_it_is_when_its_broker_goes_to_such_an_address(
    springline: Operator, team: Team, protocol: str
) -> None:
    """The change is refused, and says so; what is open was allowed."""
    assert springline is not None
    async with fake_peer.serving(_friendly if protocol == "http" else fake_peer.broker) as peer:
        await declare(team, LOOPBACK, peer.port, protocol)
        await team.until_condition("orders", "Connected", "True", "Open")
        since = (await team.status("orders"))["connectedSince"]
        await team.apply("brokers", broker("169.254.169.254", peer.port, protocol))
        status = await team.until_condition("orders", "Synced", "False", "AddressNotAllowed")
        assert f"169.254.169.254 is {METADATA}, which" in message(status, "Synced")
        assert condition(status, "Connected") == ("True", "Open")
        assert status["connectedSince"] == since


async def _friendly(talk: Talk) -> None:
    while True:
        await scripted_http.head(talk)
        scripted_http.answer(talk)


@pytest.mark.parametrize("where", ["http://169.254.169.254/latest/meta-data/", "bystander"])
async def test_a_redirect_to_such_an_address_is_not_followed(
    springline: Operator, team: Team, bystander: FakePeer, where: str
) -> None:
    """Nor to any other; where it leads is not shown."""
    assert springline is not None
    location = f"http://{LOOPBACK}:{bystander.port}/moved" if where == "bystander" else where

    async def script(talk: Talk) -> None:
        while True:
            await scripted_http.head(talk)
            scripted_http.answer(talk, status="302 Found", fields=f"location: {location}\r\n")

    async with fake_peer.serving(script) as peer:
        await declare(team, LOOPBACK, peer.port, "http")
        status = await team.until_condition("orders", "Connected", "False", "UnexpectedStatus")
        assert message(status).endswith(
            "GET / was answered 302 Found, and 200 is expected; no redirect is followed"
        )
        assert location not in str(status)
    assert bystander.talks == []
