"""Probes that no broker counts as unroutable: into a queue of the connection's own."""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest

from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.errors import ProbeRefusal, ProbeRefusedError
from support import leaks, opening
from support.identities import Tenant
from support.opening import Recorder
from support.rabbitmq import RabbitMQFailed, RabbitMQNode
from support.waiting import eventually

pytestmark = pytest.mark.broker

DRIVER = Amqp091Driver()
OWN: dict[str, Any] = {
    "exchange": "",
    "routing_key": "springline.probe",
    "own_queue": True,
    "lifetime": 600.0,
    "timeout": 10.0,
}
UNROUTABLE = {**OWN, "own_queue": False}


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with leaks.checked():
        yield


@pytest.fixture
def alarmed(broker: RabbitMQNode) -> Iterator[RabbitMQNode]:
    """A broker whose alarm is cleared after the test."""
    yield broker
    broker.clear_alarm("memory")


async def opened(
    node: RabbitMQNode, tenant: Tenant, **changes: Any
) -> tuple[Amqp091Connection, Recorder]:
    connection = await DRIVER.open(
        opening.request(
            node.amqp_port, credential=tenant.credential, virtual_host=tenant.vhost, **changes
        )
    )
    recorder = Recorder()
    connection.observe(recorder)
    return connection, recorder


def counter(node: RabbitMQNode, name: str) -> int:
    """One of the broker's own counters of messages that it could not route."""
    each = f"maps:get(messages_unroutable_{name}_total, Counters, 0)"
    counters = "maps:values(rabbit_global_counters:overview())"
    return int(node.eval(f"lists:sum([{each} || Counters <- {counters}])"))


def queues(node: RabbitMQNode, tenant: Tenant) -> dict[str, int]:
    """The queues of a virtual host by name, each with how many messages it holds."""
    listed = (
        "[[element(4, proplists:get_value(name, Q)), proplists:get_value(messages, Q)] || "
        f'Q <- rabbit_amqqueue:info_all(<<"{tenant.vhost}">>, [name, messages])]'
    )
    rows = node.eval_json(listed)
    assert isinstance(rows, list)
    return {name: int(messages) for name, messages in rows}


async def test_no_probe_is_counted_as_unroutable_and_one_message_is_kept_at_most(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    connection, recorder = await opened(broker, tenant, channel_max=1)
    before = counter(broker, "dropped"), counter(broker, "returned")
    for _ in range(20):
        assert await opening.probe(connection, **OWN) is not None
        [depth] = queues(broker, tenant).values()
        assert depth <= 1
    assert (counter(broker, "dropped"), counter(broker, "returned")) == before
    [name] = queues(broker, tenant)
    assert re.fullmatch(r"springline\.probe\.[0-9a-f]{16}", name)
    # The same without it is what alerts are about.
    assert await opening.probe(connection, **UNROUTABLE) is not None
    assert counter(broker, "dropped") == before[0] + 1
    assert recorder.told == []
    await connection.close()
    await eventually(lambda: queues(broker, tenant) == {}, what="the queue ends with it")


async def test_the_queue_is_gone_when_probes_go_elsewhere(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    connection, _ = await opened(broker, tenant)
    assert await opening.probe(connection, **OWN) is not None
    assert await opening.probe(connection, **{**OWN, "routing_key": "orders.probe"}) is not None
    [name] = queues(broker, tenant)
    assert name.startswith("orders.probe.")
    assert await opening.probe(connection, **UNROUTABLE) is not None
    assert queues(broker, tenant) == {}
    await connection.close()


async def test_its_message_expires(broker: RabbitMQNode, tenant: Tenant) -> None:
    connection, _ = await opened(broker, tenant)
    assert await opening.probe(connection, **{**OWN, "lifetime": 0.2}) is not None
    await eventually(lambda: list(queues(broker, tenant).values()) == [0], what="it is empty")
    await connection.close()


async def test_two_connections_of_one_user_do_not_meet(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    """As when one takes the other's place."""
    first, _ = await opened(broker, tenant)
    second, _ = await opened(broker, tenant)
    for connection in (first, second, first):
        assert await opening.probe(connection, **OWN) is not None
    assert len(queues(broker, tenant)) == 2
    await first.close()
    assert await opening.probe(second, **OWN) is not None
    await second.close()


async def test_an_alarm_is_seen_and_its_end(alarmed: RabbitMQNode, tenant: Tenant) -> None:
    """Also by a connection that has no queue yet."""
    connection, recorder = await opened(alarmed, tenant)
    for _ in range(2):
        alarmed.set_alarm("memory")
        await opening.probe_until_blocked(connection, **OWN)
        assert await opening.probe(connection, **OWN) is None
        alarmed.clear_alarm("memory")
        await eventually(lambda: connection.blocked is None)
        assert await opening.probe(connection, **OWN) is not None
    assert max(queues(alarmed, tenant).values()) <= 1
    assert recorder.told == ["blocked: low on memory", "unblocked"] * 2
    await connection.close()


async def test_a_queue_that_somebody_deletes_is_made_again(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    """One message comes back for that, and none is dropped."""
    connection, _ = await opened(broker, tenant)
    assert await opening.probe(connection, **OWN) is not None
    before = counter(broker, "dropped"), counter(broker, "returned")
    [name] = queues(broker, tenant)
    delete = (
        "{ok, Q} = rabbit_amqqueue:lookup(rabbit_misc:r("
        f'<<"{tenant.vhost}">>, queue, <<"{name}">>)), '
        'rabbit_amqqueue:delete(Q, false, false, <<"somebody">>), ok'
    )
    await asyncio.to_thread(broker.eval, delete)
    assert queues(broker, tenant) == {}
    for _ in range(3):
        assert await opening.probe(connection, **OWN) is not None
    assert list(queues(broker, tenant)) == [name]
    dropped, returned = counter(broker, "dropped"), counter(broker, "returned")
    assert (dropped - before[0], returned - before[1]) == (0, 1)
    await connection.close()


@pytest.mark.parametrize(
    "refused", [{"configure": "^orders"}, {"write": "^orders"}], ids=["configure", "write"]
)
async def test_a_user_without_permission_is_refused_and_the_connection_stays(
    broker: RabbitMQNode, tenant: Tenant, refused: dict[str, str]
) -> None:
    broker.set_permissions(tenant.username, tenant.vhost, **refused)
    connection, recorder = await opened(broker, tenant)
    for _ in range(2):
        with pytest.raises(ProbeRefusedError) as caught:
            await opening.probe(connection, **OWN)
        assert caught.value.why is ProbeRefusal.NO_PERMISSION
    assert connection.is_open
    broker.set_permissions(tenant.username, tenant.vhost)
    assert recorder.told == []
    await connection.close()


async def test_the_permissions_that_are_documented_are_enough(
    broker: RabbitMQNode, tenant: Tenant
) -> None:
    broker.set_permissions(
        tenant.username,
        tenant.vhost,
        configure=r"^springline\.probe\.",
        write=r"^amq\.default$",
        read="^$",
    )
    connection, _ = await opened(broker, tenant)
    assert await opening.probe(connection, **OWN) is not None
    await connection.close()


async def test_any_name_will_do(broker: RabbitMQNode, tenant: Tenant) -> None:
    connection, _ = await opened(broker, tenant)
    assert await opening.probe(connection, **{**OWN, "routing_key": "Aufträge & mehr!"}) is not None
    assert await opening.probe(connection, **{**OWN, "routing_key": ""}) is not None
    [name] = queues(broker, tenant)
    assert name.startswith(".")
    with pytest.raises(ProbeRefusedError) as caught:
        await opening.probe(connection, **{**OWN, "routing_key": "amq.mine"})
    assert caught.value.why is ProbeRefusal.NO_PERMISSION, "names that begin so are the broker's"
    await connection.close()


async def test_a_default_queue_type_does_not_matter(broker: RabbitMQNode, tenant: Tenant) -> None:
    """Quorum queues can be nobody's own."""
    vhost = f"{tenant.vhost}-quorum"
    try:
        broker.ctl("add_vhost", vhost, "--default-queue-type", "quorum")
    except RabbitMQFailed as error:
        pytest.skip(f"this RabbitMQ has no default queue types: {error}")
    try:
        broker.set_permissions(tenant.username, vhost)
        connection, _ = await opened(broker, replace(tenant, vhost=vhost))
        for _ in range(3):
            assert await opening.probe(connection, **OWN) is not None
        await connection.close()
    finally:
        broker.delete_vhost(vhost)
