"""The AMQP 0-9-1 driver against a real RabbitMQ: renewal, alarms, the probe, and every end."""

import asyncio
import traceback
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from springline.core.values import ClosedBy, CloseInfo
from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.errors import (
    NotOpenError,
    ProbeRefusal,
    ProbeRefusedError,
    SecretRefusedError,
    SecretUpdateTimeoutError,
    TransientError,
)
from springline.reasons import Reason
from support import leaks, opening
from support.administration import Alarm
from support.identities import Certificates, Issuer, Tenant
from support.opening import Recorder
from support.rabbitmq import RabbitMQNode
from support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.broker

DRIVER = Amqp091Driver()
DEADLINE = PATIENCE
PROBE: dict[str, Any] = {"exchange": "", "routing_key": "springline.probe", "timeout": 10.0}


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with leaks.checked():
        yield


@pytest.fixture
def alarmed(broker: RabbitMQNode) -> Iterator[RabbitMQNode]:
    """A broker whose alarms are cleared after the test."""
    yield broker
    broker.clear_alarm("memory")
    broker.clear_alarm("disk")


async def opened(node: RabbitMQNode, **changes: Any) -> tuple[Amqp091Connection, Recorder]:
    port = node.amqps_port if changes.get("tls") else node.amqp_port
    connection = await DRIVER.open(opening.request(port, **changes))
    recorder = Recorder()
    connection.observe(recorder)
    return connection, recorder


async def opened_by(
    node: RabbitMQNode, tenant: Tenant, **changes: Any
) -> tuple[Amqp091Connection, Recorder]:
    return await opened(node, credential=tenant.credential, virtual_host=tenant.vhost, **changes)


async def end_of(recorder: Recorder, *, timeout: float = DEADLINE) -> CloseInfo:
    """Return how it ended, told exactly once."""
    await eventually(lambda: recorder.closes, timeout=timeout)
    assert recorder.told.count("closed") == 1
    assert recorder.told[-1] == "closed"
    return recorder.closes[0]


# R1.8, R2.6
async def test_a_forced_close_is_told_with_the_reason_given(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    connection, recorder = await opened_by(broker, tenant)
    (theirs,) = [each for each in broker.connections() if each.user == tenant.username]
    broker.close_connection(theirs.pid, "maintenance of the shelf")
    info = await end_of(recorder)
    assert not connection.is_open
    assert (info.by, info.reason) == (ClosedBy.SERVER, Reason.CONNECTION_FORCED)
    assert (info.codes["code"], info.text) == (320, "CONNECTION_FORCED - maintenance of the shelf")
    with pytest.raises(NotOpenError):
        await connection.close()
    await eventually(lambda: theirs.pid not in [each.pid for each in broker.connections()])


async def test_a_deleted_user_ends_the_connection(broker: RabbitMQNode) -> None:
    broker.add_user("gone", "s3cret")
    broker.set_permissions("gone", "/")
    _, recorder = await opened(
        broker, credential=opening.password("gone", "s3cret"), virtual_host="/"
    )
    broker.delete_user("gone")
    info = await end_of(recorder)
    assert (info.codes["code"], info.reason) == (320, Reason.CONNECTION_FORCED)
    assert info.text == "CONNECTION_FORCED - user 'gone' is deleted"


async def test_a_deleted_virtual_host_ends_the_connection(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    """RabbitMQ takes it down and deletes it side by side, and says what it comes to first."""
    _, recorder = await opened_by(broker, tenant)
    broker.delete_vhost(tenant.vhost)
    info = await end_of(recorder)
    broker.add_vhost(tenant.vhost)  # it is the tenant's to delete
    words = {
        f"CONNECTION_FORCED - vhost '{tenant.vhost}' is deleted": Reason.VIRTUAL_HOST_NOT_FOUND,
        f"CONNECTION_FORCED - vhost '{tenant.vhost}' is down": Reason.VIRTUAL_HOST_DOWN,
    }
    assert info.codes["code"] == 320
    assert info.reason is words[info.text]


async def test_a_virtual_host_that_goes_down_ends_the_connection(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    """The reason is the virtual host, although the code is that of a connection closed by hand."""
    _, recorder = await opened_by(broker, tenant)
    broker.stop_vhost(tenant.vhost)
    try:
        info = await end_of(recorder)
    finally:
        broker.start_vhost(tenant.vhost)
    assert (info.codes["code"], info.reason) == (320, Reason.VIRTUAL_HOST_DOWN)
    assert info.text == f"CONNECTION_FORCED - vhost '{tenant.vhost}' is down"


async def test_a_changed_password_leaves_the_connection_open(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    connection, _ = await opened_by(broker, tenant)
    broker.change_password(tenant.username, "an0ther")
    assert await opening.probe(connection, **PROBE) is not None
    await connection.close()


async def test_an_orderly_shutdown_is_told_as_such(disposable_broker: RabbitMQNode) -> None:
    _, recorder = await opened(disposable_broker)
    await asyncio.to_thread(disposable_broker.stop)
    info = await end_of(recorder)
    assert (info.by, info.reason) == (ClosedBy.SERVER, Reason.SERVER_SHUTDOWN)
    assert info.codes["code"] == 320
    with pytest.raises(TransientError) as caught:
        await opened(disposable_broker)
    assert caught.value.reason is Reason.CONNECTION_REFUSED


@pytest.mark.parametrize("with_tls", [False, True], ids=["plaintext", "TLS"])
async def test_a_killed_broker_is_the_transports_end(
    disposable_broker: RabbitMQNode, certificates: Certificates, with_tls: bool
) -> None:
    _, recorder = await opened(disposable_broker, tls=certificates.client() if with_tls else None)
    await asyncio.to_thread(disposable_broker.kill)
    info = await end_of(recorder)
    assert (info.by, info.reason) == (ClosedBy.TRANSPORT, Reason.PEER_CLOSED)
    assert not info.codes


@pytest.mark.parametrize("with_tls", [False, True], ids=["plaintext", "TLS"])
async def test_a_frozen_broker_misses_its_heartbeats(
    disposable_broker: RabbitMQNode, certificates: Certificates, with_tls: bool
) -> None:
    connection, recorder = await opened(
        disposable_broker,
        heartbeat_seconds=1,
        tls=certificates.client() if with_tls else None,
    )
    disposable_broker.pause()
    try:
        info = await end_of(recorder)
    finally:
        disposable_broker.resume()
    assert not connection.is_open
    assert (info.by, info.reason) == (ClosedBy.TRANSPORT, Reason.HEARTBEAT_MISSED)


async def test_heartbeats_keep_an_idle_connection(broker: RabbitMQNode, tenant: Tenant) -> None:
    """Both sides give up after two heartbeats of silence; here ten and more are exchanged."""
    connection, recorder = await opened_by(broker, tenant, heartbeat_seconds=1)
    (theirs,) = [each for each in broker.connections() if each.user == tenant.username]
    asked = (
        "proplists:get_value(recv_oct, rabbit_networking:connection_info("
        f'list_to_pid("{theirs.pid}"), [recv_oct]))'
    )
    heartbeat = 8  # octets
    at_first = int(broker.eval(asked))
    await eventually(lambda: int(broker.eval(asked)) >= at_first + 5 * heartbeat)
    assert connection.is_open
    assert recorder.told == []
    await connection.close()


@pytest.mark.parametrize("with_tls", [False, True], ids=["plaintext", "TLS"])
async def test_a_frozen_broker_costs_an_open_and_a_close_their_time_outs(
    disposable_broker: RabbitMQNode, certificates: Certificates, with_tls: bool
) -> None:
    tls = certificates.client() if with_tls else None
    connection, recorder = await opened(disposable_broker, tls=tls)
    disposable_broker.pause()
    try:
        with pytest.raises(TransientError) as caught:
            await opened(disposable_broker, tls=tls, timeout=0.5)
        assert caught.value.reason is Reason.CONNECT_TIMEOUT
        with pytest.raises(TimeoutError):
            await opening.probe(connection, exchange="", routing_key="x", timeout=0.5)
        with pytest.raises(SecretUpdateTimeoutError):
            await connection.renew(opening.password(), timeout=0.5)
        await connection.close(timeout=0.5)
        assert (await end_of(recorder)).by is ClosedBy.CLIENT
    finally:
        disposable_broker.resume()


# R1.10, R1.11
@pytest.mark.parametrize(
    ("alarms", "text"),
    [
        pytest.param(("memory",), "low on memory", id="memory"),
        pytest.param(("disk",), "low on disk", id="disk"),
        pytest.param(("memory", "disk"), "low on", id="both"),
    ],
)
async def test_a_probe_under_an_alarm_is_blocked_with_the_brokers_reason(
    alarmed: RabbitMQNode, tenant: Tenant, alarms: tuple[Alarm, ...], text: str
) -> None:
    connection, recorder = await opened_by(alarmed, tenant)
    assert await opening.probe(connection, **PROBE) is not None
    for alarm in alarms:
        alarmed.set_alarm(alarm)
    await opening.probe_until_blocked(connection, **PROBE)
    assert connection.blocked is not None
    assert text in connection.blocked.text
    for alarm in alarms:
        assert alarm in connection.blocked.text
    assert await opening.probe(connection, **PROBE) is None
    for alarm in alarms:
        alarmed.clear_alarm(alarm)
    await eventually(lambda: connection.blocked is None)
    seconds = await opening.probe(connection, **PROBE)
    assert seconds is not None
    assert [told.split(":")[0] for told in recorder.told] == ["blocked", "unblocked"]
    await connection.close()


# R1.10
async def test_an_idle_connection_is_not_told_of_an_alarm_until_it_publishes(
    alarmed: RabbitMQNode, tenant: Tenant
) -> None:
    connection, recorder = await opened_by(alarmed, tenant)
    alarmed.set_alarm("memory")
    assert recorder.told == []
    await opening.probe_until_blocked(connection, **PROBE)
    assert recorder.told == ["blocked: low on memory"]
    # The broker has stopped reading: closing is bounded all the same.
    await connection.close(timeout=0.5)
    assert (await end_of(recorder)).by is ClosedBy.CLIENT


async def test_a_connection_that_was_blocked_once_is_told_of_the_next_alarm_when_it_publishes(
    alarmed: RabbitMQNode, tenant: Tenant
) -> None:
    """So that no block holds says nothing of later, unless something probes."""
    connection, recorder = await opened_by(alarmed, tenant)
    alarmed.set_alarm("memory")
    await opening.probe_until_blocked(connection, **PROBE)
    alarmed.clear_alarm("memory")
    await eventually(lambda: connection.blocked is None)
    alarmed.set_alarm("memory")
    witness, _ = await opened_by(alarmed, tenant)
    await opening.probe_until_blocked(witness, **PROBE)
    assert connection.blocked is None
    await opening.probe_until_blocked(connection, **PROBE)
    assert recorder.told == ["blocked: low on memory", "unblocked", "blocked: low on memory"]
    alarmed.clear_alarm("memory")
    await eventually(lambda: connection.blocked is None and witness.blocked is None)
    await witness.close()
    await connection.close()


# R1.10, R1.12
async def test_a_blocked_connection_is_not_renewed_in_place(
    alarmed: RabbitMQNode, issuer: Issuer
) -> None:
    connection, _ = await opened(alarmed, credential=opening.token(issuer.token()))
    alarmed.set_alarm("memory")
    await opening.probe_until_blocked(connection, **PROBE)
    with pytest.raises(SecretUpdateTimeoutError, match="blocked"):
        await connection.renew(opening.token(issuer.token()), timeout=5)
    alarmed.clear_alarm("memory")
    await eventually(lambda: connection.blocked is None)
    await connection.renew(opening.token(issuer.token()), timeout=5)
    await connection.close()


async def test_a_renewal_met_by_an_unknown_alarm_times_out_and_its_late_ok_does_no_harm(
    alarmed: RabbitMQNode, issuer: Issuer
) -> None:
    """A probe in flight can block the connection before anybody is told."""
    connection, recorder = await opened(alarmed, credential=opening.token(issuer.token()))
    assert await opening.probe(connection, **PROBE) is not None
    witness, _ = await opened(alarmed, credential=opening.token(issuer.token()))
    alarmed.set_alarm("memory")
    await opening.probe_until_blocked(witness, **PROBE)
    witness.abort()
    # A publish and a renewal leave in one turn of the loop; the broker reads only the first.
    probe = asyncio.create_task(opening.probe(connection, **PROBE))
    await asyncio.sleep(0)
    with pytest.raises(SecretUpdateTimeoutError):
        await connection.renew(opening.token(issuer.token()), timeout=1)
    await probe  # whose confirm may overtake the news of the block
    await eventually(lambda: connection.blocked is not None)
    alarmed.clear_alarm("memory")
    await eventually(lambda: connection.blocked is None)
    assert await opening.probe(connection, **PROBE) is not None
    with pytest.raises(SecretUpdateTimeoutError):
        await connection.renew(opening.token(issuer.token()), timeout=5)
    assert connection.is_open
    await connection.close()
    assert recorder.told == ["blocked: low on memory", "unblocked", "closed"]


async def test_a_probe_without_write_permission_is_refused_and_the_connection_stays(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    broker.set_permissions(tenant.username, tenant.vhost, write="^$")
    connection, recorder = await opened_by(broker, tenant)
    for _ in range(2):
        with pytest.raises(ProbeRefusedError) as caught:
            await opening.probe(connection, exchange="amq.topic", routing_key="x", timeout=10)
        assert caught.value.why is ProbeRefusal.NO_PERMISSION
        assert "403 ACCESS_REFUSED" in caught.value.text
    with pytest.raises(ProbeRefusedError) as caught:
        await opening.probe(connection, exchange="nowhere", routing_key="x", timeout=10)
    assert caught.value.why in (ProbeRefusal.NO_PERMISSION, ProbeRefusal.PLACE_MISSING)
    assert connection.is_open
    assert recorder.told == []
    await connection.close()


async def test_a_probe_to_an_unknown_exchange_is_refused(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    connection, _ = await opened_by(broker, tenant)
    with pytest.raises(ProbeRefusedError) as caught:
        await opening.probe(connection, exchange="nowhere", routing_key="x", timeout=10)
    assert caught.value.why is ProbeRefusal.PLACE_MISSING
    assert await opening.probe(connection, **PROBE) is not None
    await connection.close()


async def test_many_probes_use_one_channel(broker: RabbitMQNode, tenant: Tenant) -> None:
    connection, _ = await opened_by(broker, tenant, channel_max=1)
    for _ in range(20):
        assert await opening.probe(connection, **PROBE) is not None
    (theirs,) = [each for each in broker.connections() if each.user == tenant.username]
    assert theirs.channels == 1
    await connection.close()


# R1.12, R1.13
async def test_a_token_is_renewed_on_the_live_connection(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """The renewed token's scopes are in force, so the broker has really taken it."""
    nothing = issuer.token(scope=["rabbitmq.read:%2F/nothing"])
    connection, recorder = await opened(broker, credential=opening.token(nothing))
    with pytest.raises(ProbeRefusedError):
        await opening.probe(connection, exchange="amq.direct", routing_key="x", timeout=10)
    await connection.renew(opening.token(issuer.token()), timeout=10)
    assert (
        await opening.probe(connection, exchange="amq.direct", routing_key="x", timeout=10)
        is not None
    )
    assert connection.is_open
    assert recorder.told == []
    await connection.close()


# R1.13
async def test_a_refused_token_closes_the_connection_and_says_so(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    connection, recorder = await opened(broker, credential=opening.token(issuer.token()))
    forged = issuer.token(key="another-key-0123456789abcdef0123456789")
    with pytest.raises(SecretRefusedError) as caught:
        await connection.renew(opening.token(forged), timeout=10)
    assert caught.value.text.startswith("530 ")
    assert "secret" in caught.value.text
    assert forged not in "".join(traceback.format_exception(caught.value))
    info = await end_of(recorder)
    assert (info.by, info.reason, info.codes["code"]) == (
        ClosedBy.SERVER,
        Reason.ACCESS_REFUSED,
        530,
    )
    with pytest.raises(NotOpenError):
        await connection.renew(opening.token(issuer.token()), timeout=10)


# R1.12
async def test_an_internal_users_new_password_gets_an_ok_whatever_it_is(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    """RabbitMQ's internal backend never looks at it: the reason for verifying first."""
    connection, _ = await opened_by(broker, tenant)
    await connection.renew(opening.password(tenant.username, "nonsense"), timeout=10)
    assert connection.is_open
    await connection.close()


async def test_a_channel_over_the_users_limit_ends_the_connection_with_that_reason(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    broker.eval(
        "rabbit_auth_backend_internal:set_user_limits("
        f'<<"{tenant.username}">>, #{{<<"max-channels">> => 0}}, <<"tests">>)'
    )
    connection, recorder = await opened_by(broker, tenant)
    with pytest.raises(NotOpenError):
        await opening.probe(connection, **PROBE)
    info = await end_of(recorder)
    assert info.reason is Reason.CONNECTION_LIMIT_REACHED
