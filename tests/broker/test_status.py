"""What status says of a real broker's answers, from the documents to the conditions."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from springline.core.event_bus import Missed
from springline.core.events import EventType
from springline.core.values import SessionKey
from support.rabbitmq import RabbitMQNode
from support.running import Running, a_broker, a_connection, a_secret, running
from support.waiting import eventually

PLANTED = "pl4nted/s3cret%@é"


pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def team(broker: RabbitMQNode) -> Iterator[str]:
    """A user and a virtual host of the same name on the shared broker."""
    name = "team status"
    broker.add_vhost(name)
    broker.add_user(name, PLANTED)
    broker.set_permissions(name, name)
    yield name
    broker.delete_user(name)
    broker.delete_vhost(name)


def declared(node: RabbitMQNode, team: str, **spec: Any) -> list[dict[str, Any]]:
    """The documents of one connection of the team."""
    return [
        a_broker(node.amqp_port),
        a_secret(team, PLANTED),
        a_connection("orders", virtualHost=spec.pop("virtualHost", team), **spec),
    ]


def shows_no_secret(held: Running) -> None:
    """Neither status nor events may hold the password."""
    assert PLANTED not in json.dumps(held.status("orders"), ensure_ascii=False)
    assert PLANTED not in repr(held.events)


# R1.1, R1.2, R1.5
async def test_a_session_shows_what_was_negotiated_and_with_whom(
    broker: RabbitMQNode, team: str
) -> None:
    """Nothing in it is declared: it is what the broker answered."""
    async with running(
        *declared(broker, team, heartbeat="7s", clientProperties={"team": "orders"})
    ) as held:
        await held.until_ready("orders")
        status = held.status("orders")
        assert status["state"] == "Connected"
        assert status["server"]["product"] == "RabbitMQ"
        assert status["server"]["version"]
        assert "PLAIN" in status["server"]["mechanisms"]
        assert status["server"]["locales"] == ["en_US"]
        negotiated = status["negotiated"]
        assert negotiated["mechanism"] == "PLAIN"
        assert negotiated["locale"] == "en_US"
        assert negotiated["heartbeat"] == "7s"
        assert negotiated["clientProperties"]["team"] == "orders"
        assert negotiated["clientProperties"]["connection_name"] == "springline/default/orders"
        assert status["credentials"]["username"] == team
        assert status["credentials"]["method"] == "Handshake"
        assert status["endpoint"] == f"127.0.0.1:{broker.amqp_port} (127.0.0.1)"
        shows_no_secret(held)


async def test_an_unknown_virtual_host_is_named_until_it_exists(
    broker: RabbitMQNode, team: str
) -> None:
    """The login was accepted, so the credential is valid; nothing has to be declared anew."""
    async with running(*declared(broker, team, virtualHost="new/%/väst")) as held:
        message = await held.until_reason("orders", "Connected", "VirtualHostNotFound")
        assert "vhost new/%/väst not found" in message
        assert held.condition("orders", "CredentialsValid")["reason"] == "Accepted"
        assert held.status("orders")["state"] == "Rejected"
        broker.add_vhost("new/%/väst")
        broker.set_permissions(team, "new/%/väst")
        await held.until_ready("orders")
    broker.delete_vhost("new/%/väst")


async def test_a_missing_permission_is_told_from_a_wrong_password(
    broker: RabbitMQNode, team: str
) -> None:
    """Both are AccessRefused; only one is the credential's fault."""
    broker.clear_permissions(team, team)
    async with running(*declared(broker, team)) as held:
        message = await held.until_reason("orders", "Connected", "AccessRefused")
        assert "refused for user" in message
        assert held.condition("orders", "CredentialsValid")["status"] == "True"

        held.apply(*declared(broker, team)[::2], a_secret(team, "wrong"))
        await held.until_reason("orders", "CredentialsValid", "Rejected")
        shows_no_secret(held)


async def test_a_password_is_sent_with_its_final_line_break(broker: RabbitMQNode) -> None:
    """A user can have such a password; where it is refused, the message points at it."""
    user = "team line break"
    broker.add_user(user, f"{PLANTED}\n")
    broker.set_permissions(user, "/")
    documents = (a_broker(broker.amqp_port), a_connection("orders"))
    async with running(*documents, a_secret(user, f"{PLANTED}\n")) as held:
        await held.until_ready("orders")
        broker.change_password(user, PLANTED)
        broker.close_connection("springline/default/orders", "enough")
        message = await held.until_reason("orders", "Connected", "AccessRefused")
        assert "the password ends with a line break" in message
        assert "line break" in held.condition("orders", "Ready")["message"]
        shows_no_secret(held)

        held.apply(*documents, a_secret(user, PLANTED))
        await held.until_ready("orders")
    broker.delete_user(user)


async def test_a_virtual_host_that_is_down_is_waited_for(broker: RabbitMQNode, team: str) -> None:
    """It comes back without anybody's help."""
    broker.stop_vhost(team)
    async with running(*declared(broker, team)) as held:
        await held.until_reason("orders", "Connected", "VirtualHostDown")
        assert held.status("orders")["state"] == "Waiting"
        broker.start_vhost(team)
        await held.until_ready("orders")


async def test_a_virtual_host_that_goes_down_is_the_reason_of_the_end(
    broker: RabbitMQNode, team: str
) -> None:
    """And what is waited for."""
    async with running(*declared(broker, team)) as held:
        await held.until_ready("orders")
        broker.stop_vhost(team)
        await held.until_reason("orders", "Connected", "VirtualHostDown")
        assert held.status("orders")["lastClose"]["reason"] == "VirtualHostDown"
        broker.start_vhost(team)
        await held.until_ready("orders")


async def test_a_virtual_host_that_is_deleted_is_not_found_until_it_is_back(
    broker: RabbitMQNode, team: str
) -> None:
    """Whichever of the two the broker comes to first, that it goes down or that it is deleted.

    Without a probe: one that meets just that moment is the broker's internal error (541).
    """
    async with running(*declared(broker, team, probe={"mode": "None"})) as held:
        await held.until_ready("orders")
        broker.delete_vhost(team)
        await eventually(
            lambda: f"vhost {team} not found" in held.condition("orders", "Connected")["message"],
            what="the next attempt has been refused",
        )
        assert held.condition("orders", "Connected")["reason"] == "VirtualHostNotFound"
        ended = held.status("orders")["lastClose"]
        assert ended["reason"] in ("VirtualHostNotFound", "VirtualHostDown"), ended
        broker.add_vhost(team)
        broker.set_permissions(team, team)
        held.apply(*declared(broker, team, heartbeat="31s"))  # tried at once, as it is new
        await held.until_ready("orders")


LIMITS: list[Any] = [
    pytest.param(RabbitMQNode.set_vhost_limit, id="of the virtual host"),
    pytest.param(RabbitMQNode.set_user_limit, id="of the user"),
]


@pytest.mark.parametrize("limit", LIMITS)
async def test_a_connection_limit_is_waited_for(
    broker: RabbitMQNode, team: str, limit: Callable[[RabbitMQNode, str, int | None], None]
) -> None:
    """It is nobody's mistake, and passes when others close."""
    limit(broker, team, 0)
    async with running(*declared(broker, team)) as held:
        message = await held.until_reason("orders", "Connected", "ConnectionLimitReached")
        assert "limit (0) is reached" in message
        limit(broker, team, None)
        await held.until_ready("orders")


# R1.8
async def test_a_forced_close_is_kept_with_its_codes(broker: RabbitMQNode, team: str) -> None:
    """Also after the session is open again."""
    async with running(*declared(broker, team)) as held:
        await held.until_ready("orders")
        broker.close_connection("springline/default/orders", "spring cleaning")
        await eventually(lambda: "lastClose" in held.status("orders"))
        close = held.status("orders")["lastClose"]
        assert close["by"] == "Server"
        assert close["code"] == 320
        assert close["reason"] == "ConnectionForced"
        assert "spring cleaning" in close["text"]
        assert (close["classID"], close["methodID"]) == (0, 0)
        await held.until_ready("orders")
        assert held.types("orders").count(EventType.CONNECTED) == 2


# R5.13, R5.14
async def test_readers_follow_what_happens_beside_what_shows_it(
    broker: RabbitMQNode, team: str
) -> None:
    """One reads along, one never does; neither is missed by the session."""
    async with running(*declared(broker, team)) as held:
        follow = held.parts.events.follow
        with follow(limit=1) as stuck, follow(SessionKey("default", "orders")) as reader:
            await held.until_ready("orders")
            broker.close_connection("springline/default/orders", "spring cleaning")
            await eventually(lambda: EventType.DISCONNECTED in held.types("orders"))
            await eventually(lambda: held.types("orders").count(EventType.CONNECTED) == 2)
            seen = [await anext(reader) for _ in held.events]
            assert seen == held.events
            assert await anext(stuck) == Missed(len(seen) - 1)
        assert {event.server_name for event in held.events} == {"Broker rabbit"}


# R1.10, R1.11
async def test_an_alarm_is_a_condition_with_the_brokers_reason(
    broker: RabbitMQNode, team: str
) -> None:
    """Blocked does not clear Ready, and says since when."""
    async with running(*declared(broker, team)) as held:
        await held.until_reason("orders", "Blocked", "NotBlocked")
        broker.set_alarm("memory")
        try:
            await held.until_reason("orders", "Blocked", "LowOnMemory")
            status = held.status("orders")
            assert status["blocked"]["reason"] == "low on memory"
            assert status["blocked"]["since"]
            assert held.is_ready("orders")
        finally:
            broker.clear_alarm("memory")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert "blocked" not in held.status("orders")
        assert [kind for kind in held.types("orders") if "locked" in kind] == [
            EventType.BLOCKED,
            EventType.UNBLOCKED,
        ]


async def test_a_block_is_not_forgotten_by_a_reconnect(broker: RabbitMQNode, team: str) -> None:
    """The new session is blocked as soon as it publishes; no Unblocked is reported between."""
    async with running(*declared(broker, team)) as held:
        await held.until_reason("orders", "Blocked", "NotBlocked")
        broker.set_alarm("disk")
        try:
            await held.until_reason("orders", "Blocked", "LowOnDisk")
            broker.close_connection("springline/default/orders", "moved")
            await eventually(lambda: held.types("orders").count(EventType.CONNECTED) == 2)
            await held.until_reason("orders", "Blocked", "LowOnDisk")
            assert EventType.UNBLOCKED not in held.types("orders")
        finally:
            broker.clear_alarm("disk")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert held.types("orders").count(EventType.UNBLOCKED) == 1


async def test_a_probe_without_permission_is_turned_off_with_a_sentence(
    broker: RabbitMQNode, team: str
) -> None:
    """The broker's log gets one error, not one for each interval."""
    broker.set_permissions(team, team, write="^$")
    async with running(*declared(broker, team)) as held:
        message = await held.until_reason("orders", "Blocked", "ProbeDisabled")
        assert "spec.probe.mode" in message
        assert held.condition("orders", "Blocked")["status"] == "Unknown"
        assert held.is_ready("orders")
        assert held.types("orders").count(EventType.PROBE_REFUSED) == 1


async def test_a_session_with_a_queue_of_its_own_goes_through_everything(
    broker: RabbitMQNode, team: str
) -> None:
    """Opened, blocked, replaced, lost and closed: it has one queue, and none in the end."""

    def queues() -> int:
        return int(broker.eval(f'length(rabbit_amqqueue:list_names(<<"{team}">>))'))

    probe = {"mode": "OwnQueue", "interval": "1s", "timeout": "5s"}
    async with running(*declared(broker, team, probe=probe)) as held:
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert queues() == 1
        broker.set_alarm("memory")
        try:
            await held.until_reason("orders", "Blocked", "LowOnMemory")
            # A blocked session gets a new credential by a new connection.
            broker.change_password(team, "another")
            held.apply(*declared(broker, team, probe=probe), a_secret(team, "another"))
            await eventually(lambda: EventType.SESSION_REPLACED in held.types("orders"))
        finally:
            broker.clear_alarm("memory")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        await eventually(lambda: queues() == 1, what="that of the old connection is gone")
        [open_one] = [each for each in broker.connections() if each.user == team]
        broker.close_connection(open_one.pid, "somebody has to look")
        await eventually(lambda: EventType.DISCONNECTED in held.types("orders"))
        await eventually(lambda: held.types("orders").count(EventType.CONNECTED) == 2)
        await held.until_reason("orders", "Blocked", "NotBlocked")
        await eventually(lambda: queues() == 1, what="the new connection has its own")
    await eventually(lambda: queues() == 0, what="nothing is left")


async def test_a_queue_without_permission_is_told_with_the_permissions_it_needs(
    broker: RabbitMQNode, team: str
) -> None:
    broker.set_permissions(team, team, configure="^orders")
    async with running(*declared(broker, team, probe={"mode": "OwnQueue"})) as held:
        message = await held.until_reason("orders", "Blocked", "ProbeDisabled")
        assert "the probe's own queue was refused (403" in message
        assert 'whose names begin with "springline.probe."' in message
        assert "write to amq.default" in message
        assert held.is_ready("orders")


async def test_without_a_probe_nobody_claims_to_know(broker: RabbitMQNode, team: str) -> None:
    """Blocked is Unknown."""
    async with running(*declared(broker, team, probe={"mode": "None"})) as held:
        await held.until_ready("orders")
        assert held.condition("orders", "Blocked")["reason"] == "ProbeDisabled"


async def test_suspending_closes_and_resuming_opens(broker: RabbitMQNode, team: str) -> None:
    """By declaration alone."""
    async with running(*declared(broker, team)) as held:
        await held.until_ready("orders")
        held.apply(*declared(broker, team, suspend=True))
        await held.until_reason("orders", "Connected", "Suspended")
        await eventually(lambda: not [each for each in broker.connections() if each.user == team])
        held.apply(*declared(broker, team))
        await held.until_ready("orders")


async def test_a_session_that_is_to_stay_closed_stays_closed(
    broker: RabbitMQNode, team: str
) -> None:
    """Until the declaration changes."""
    async with running(*declared(broker, team, whenClosed="StayClosed")) as held:
        await held.until_ready("orders")
        broker.close_connection("springline/default/orders", "enough")
        message = await held.until_reason("orders", "Connected", "StayClosed")
        assert "enough" in message
        assert held.status("orders")["state"] == "Closed"
        held.apply(*declared(broker, team))
        await held.until_ready("orders")


Fault = Callable[[RabbitMQNode], None]


@pytest.mark.parametrize(
    ("fault", "reasons"),
    [
        pytest.param(RabbitMQNode.stop, {"ServerShutdown"}, id="stopped in an orderly way"),
        pytest.param(RabbitMQNode.kill, {"PeerClosed"}, id="killed"),
        pytest.param(RabbitMQNode.pause, {"HeartbeatMissed"}, id="frozen"),
    ],
)
async def test_a_broker_that_goes_away_is_told_and_found_again(
    disposable_broker: RabbitMQNode, fault: Fault, reasons: set[str]
) -> None:
    """How the session ended is kept; while the broker is away the state is Waiting."""
    node = disposable_broker
    broker = a_broker(node.amqp_port, connectTimeout="2s")
    documents = (broker, a_secret("guest", "guest"), a_connection("orders", heartbeat="1s"))
    async with running(*documents) as held:
        await held.until_ready("orders")
        await asyncio.to_thread(fault, node)
        await eventually(
            lambda: held.status("orders").get("lastClose", {}).get("reason") in reasons,
        )
        await eventually(lambda: held.status("orders")["state"] == "Waiting")
        await eventually(lambda: held.status("orders")["attempts"] >= 1)
        node.resume()
        await asyncio.to_thread(node.start)
        await held.until_ready("orders")
        assert held.status("orders")["lastClose"]["reason"] in reasons
