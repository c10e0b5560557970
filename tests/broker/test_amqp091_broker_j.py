"""AMQP 0-9-1 with Qpid Broker-J, which has none of RabbitMQ's extensions and other reply codes."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from springline.core.events import EventType
from springline.core.values import ClosedBy
from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    NotOpenError,
    ProbeRefusedError,
    RejectedError,
)
from springline.reasons import Reason
from support import leaks, opening
from support.broker_j import BrokerJ
from support.identities import Certificates
from support.opening import Recorder
from support.running import a_broker, a_connection, a_secret, running
from support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.broker

DRIVER = Amqp091Driver()
USER = "ann"


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with asyncio.timeout(PATIENCE), leaks.checked():
        yield


@pytest.fixture
def user(broker_j: BrokerJ) -> Iterator[str]:
    """A user whose password is `first`."""
    broker_j.add_user(USER, "first")
    yield USER
    broker_j.delete_user(USER)


async def opened(broker: BrokerJ, **changes: Any) -> tuple[Amqp091Connection, Recorder]:
    changes = {
        "virtual_host": broker.virtual_host,
        "credential": opening.password(broker.username, broker.password),
        **changes,
    }
    port = broker.tls_port if changes.get("tls") else broker.port
    connection = await DRIVER.open(opening.request(port, **changes))
    recorder = Recorder()
    connection.observe(recorder)
    return connection, recorder


async def refused(broker: BrokerJ, **changes: Any) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await opened(broker, **changes)
    assert broker.password not in str(caught.value)
    return caught.value


# R1.1, R1.4, R1.5, R1.6, R1.8
async def test_what_was_negotiated_is_shown_and_an_end_is_orderly(broker_j: BrokerJ) -> None:
    """It tells of no blocks, and proposes 256 channels and frames of 256 KiB."""
    connection, recorder = await opened(broker_j, channel_max=0, frame_max=0, heartbeat_seconds=7)
    server = connection.info.server
    assert (server.product, server.version) == ("Apache Qpid Broker-J Core", broker_j.version)
    assert frozenset(server.mechanisms) == broker_j.facts.offers
    assert not server.tells_blocks
    agreed = opening.agreed(connection)
    assert (agreed.mechanism, agreed.locale) == ("PLAIN", "en_US")
    assert (agreed.channel_max, agreed.frame_max) == (256, 262136)
    assert agreed.heartbeat_seconds == 7
    assert await asyncio.to_thread(broker_j.connection_count) == 1
    await connection.close()
    assert recorder.told == ["closed"]
    assert recorder.closes[0].by is ClosedBy.CLIENT
    await eventually(lambda: broker_j.connection_count() == 0)


async def test_a_client_certificate_is_a_login(
    broker_j: BrokerJ, certificates: Certificates
) -> None:
    connection, _ = await opened(
        broker_j,
        tls=certificates.client(with_certificate=True),
        mechanisms=("EXTERNAL",),
        credential=opening.external(),
    )
    assert opening.agreed(connection).mechanism == "EXTERNAL"
    await connection.close()


# R1.7
@pytest.mark.parametrize("username", ["springline", "nobody"])
async def test_a_refused_login_is_a_rejected_credential(broker_j: BrokerJ, username: str) -> None:
    """It says 530, which other brokers keep for virtual hosts."""
    error = await refused(broker_j, credential=opening.password(username, "wrong"))
    assert type(error) is CredentialRejectedError
    assert error.reason is Reason.ACCESS_REFUSED
    assert not error.authenticated
    assert error.message == "the broker refused the login: 530 Authentication failed"


# R1.7
async def test_an_unknown_virtual_host_is_told_from_a_refused_login(broker_j: BrokerJ) -> None:
    """With the code that AMQP 0-9-1 has for what is not found."""
    error = await refused(broker_j, virtual_host=broker_j.unknown_virtual_host)
    assert type(error) is RejectedError
    assert (error.reason, error.authenticated) == (Reason.VIRTUAL_HOST_NOT_FOUND, True)
    assert error.message.startswith("the broker has no such virtual host: 404 ")


# R1.9
async def test_a_forced_close_is_told_with_its_code(broker_j: BrokerJ) -> None:
    connection, recorder = await opened(broker_j)
    assert await asyncio.to_thread(broker_j.close_connections) == 1
    await eventually(lambda: recorder.told == ["closed"])
    [info] = recorder.closes
    assert (info.by, info.reason) == (ClosedBy.SERVER, Reason.CONNECTION_FORCED)
    assert info.codes["code"] == 320
    assert not connection.is_open


async def test_without_confirms_a_probe_is_refused_and_the_connection_stays(
    broker_j: BrokerJ,
) -> None:
    connection, _ = await opened(broker_j)
    with pytest.raises(ProbeRefusedError, match="does not offer publisher confirms"):
        await opening.probe(connection, exchange="", routing_key="probe", timeout=PATIENCE)
    assert connection.is_open
    await connection.close()


# R1.12
async def test_it_is_known_beforehand_that_no_secret_can_be_renewed(broker_j: BrokerJ) -> None:
    """It hangs up on an update-secret, without a word."""
    connection, recorder = await opened(broker_j)
    assert "none of RabbitMQ's extensions" in connection.cannot_renew
    with pytest.raises(NotOpenError):
        await connection.renew(opening.password(broker_j.username, "new"), timeout=PATIENCE)
    await eventually(lambda: recorder.told == ["closed"])
    assert recorder.closes[0].reason is Reason.PEER_CLOSED


async def test_a_changed_password_replaces_the_connection_without_a_gap(
    broker_j: BrokerJ, user: str
) -> None:
    """A wrong one is refused by a connection of its own, and the session stays up."""

    def documents(password: str) -> list[dict[str, Any]]:
        return [
            a_broker(broker_j.port),
            a_secret(user, password),
            a_connection("orders", virtualHost=broker_j.virtual_host),
        ]

    async with running(*documents("first")) as held:
        await held.until_ready("orders")
        blocked = held.condition("orders", "Blocked")
        assert blocked["status"] != "True"
        held.apply(*documents("wrong"))
        await held.until_reason("orders", "CredentialsValid", "Rejected")
        assert held.condition("orders", "Connected")["status"] == "True"
        await asyncio.to_thread(broker_j.change_password, user, "second")
        held.apply(*documents("second"))
        await eventually(
            lambda: held.status("orders").get("credentials", {}).get("method") == "Replaced",
            what="the new password is in use",
        )
        await held.until_ready("orders")
        assert EventType.DISCONNECTED not in held.types("orders")
