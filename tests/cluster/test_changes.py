"""An authority that many open sessions share is replaced by a wrong one, and put back.

Every session stays open, each of them tells it once, each tells its end once, and none of it costs
more than one write of a status.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import trustme

from support.apiserver import APIServer
from support.identities import Certificates, Tenant
from support.operator_process import OperatorProcess
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.shared_broker import SharedBroker
from support.team import CONNECTIONS, Team, condition
from support.waiting import eventually

NUMBER = 50
NAMES = [f"orders-{number:02}" for number in range(NUMBER)]


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates.issue(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[RabbitMQNode]:
    """A broker that is reached by TLS."""
    try:
        node = RabbitMQNode(tmp_path_factory.mktemp("changes"), tls=certificates.files)
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with node:
        yield node


@pytest.fixture
def secured(team: Team, node: RabbitMQNode, tenant: Tenant) -> Team:
    """The team at that broker."""
    node.add_vhost(tenant.vhost)
    node.add_user(tenant.username, tenant.secret)
    node.set_permissions(tenant.username, tenant.vhost)
    return team.at(SharedBroker(administration=node, host="localhost", port=node.amqps_port))


def authority(pem: bytes) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "rabbit-ca"},
        "data": {"ca.crt": pem.decode()},
    }


def writes(apiserver: APIServer, team: Team) -> Counter[str]:
    """How often the status of each connection was written so far."""
    return Counter(
        each.name
        for each in apiserver.audit()
        if (each.resource, each.subresource) == (CONNECTIONS, "status")
        and each.namespace == team.namespace
    )


async def told(team: Team, reason: str) -> Counter[str]:
    """How often each connection has told this in Events."""
    items = (await team.get("events", "")).get("items", ())
    return Counter(
        {
            each["involvedObject"]["name"]: each.get("count") or 1
            for each in items
            if each["reason"] == reason
        }
    )


async def test_a_wrong_authority_is_told_once_by_each_session_and_so_is_its_end(
    process: OperatorProcess, apiserver: APIServer, secured: Team, certificates: Certificates
) -> None:
    team = secured
    await team.put_secret()
    await team.apply("configmaps", authority(certificates.authority.cert_pem.bytes()))
    tls = {"enabled": True, "caRef": {"name": "rabbit-ca"}}
    await team.apply("brokers", team.rabbit.document(tls=tls))
    # So that a probe, which is late on a machine with much else to do, is no write of its own.
    probe = {"mode": "None"}
    await asyncio.gather(*(team.declare_connections(name, probe=probe) for name in NAMES))
    await team.until_ready(*NAMES)
    before = await team.until_held(*NAMES)
    once = Counter(dict.fromkeys(NAMES, 1))
    await eventually(lambda: writes(apiserver, team).total() >= NUMBER, what="the log is complete")
    counted = writes(apiserver, team)

    await team.apply("configmaps", authority(trustme.CA().cert_pem.bytes()))
    for name in NAMES:
        status = await team.until_condition(name, "Synced", "False", "TLSFailed")
        assert condition(status, "Ready") == ("False", "TLSFailed")
        assert condition(status, "Connected") == ("True", "Open")
    assert await team.held() == before
    text = process.get("/metrics").text
    of_namespace = f'springline_session_out_of_sync{{namespace="{team.namespace}",name='
    assert text.count(of_namespace) == NUMBER

    await team.apply("configmaps", authority(certificates.authority.cert_pem.bytes()))
    for name in NAMES:
        await team.until_condition(name, "Ready", "True")
        await team.until_condition(name, "Synced", "True", "InSync")
    assert await team.held() == before
    text = process.get("/metrics").text
    assert of_namespace not in text

    for reason in ("TLSFailed", "InSync"):
        for name in NAMES:
            await team.until_events(name, reason)
        assert await told(team, reason) == once
    await eventually(
        lambda: writes(apiserver, team).total() >= 3 * NUMBER, what="the log is complete"
    )
    assert writes(apiserver, team) - counted == Counter(dict.fromkeys(NAMES, 2))
