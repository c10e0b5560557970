"""Sessions over AMQP 1.0 on a real API server, with the RabbitMQ that the suite runs on.

What differs between versions is asked of the node: up to RabbitMQ 3.13 a plugin speaks the
protocol.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from proton import Message
from proton.utils import BlockingConnection

from support.behaviours import Behaviour
from support.kubectl import Kubectl, rows
from support.operators import Operator
from support.plugin import Plugin
from support.rabbitmq import RabbitMQNode
from support.team import CONNECTIONS, RETRY, Team, condition
from support.waiting import PATIENCE, eventually

PLANTED = "pl4nted-s3cret"
BINDING = {"secretName": "orders-binding"}
WATCHED = {"interval": "1s", "timeout": "2s"}
"""A probe that does not wait long for a broker that is silent."""


@pytest.fixture
def plugin(kubectl: Kubectl, tmp_path: Path) -> Plugin:
    """`kubectl springline`, which shows no password."""
    return Plugin(tmp_path / "plugin", kubectl.kubeconfig, PLANTED)


@pytest.fixture
def is_native(rabbitmq: RabbitMQNode) -> bool:
    """Whether the broker needs no plugin."""
    return rabbitmq.has(Behaviour.NATIVE_AMQP10)


@pytest.fixture
def renews(rabbitmq: RabbitMQNode) -> bool:
    """Whether the broker takes another secret on a live connection."""
    return rabbitmq.has(Behaviour.RENEWS_AMQP10)


class Nodes:
    """Queues of the tenant's, by their addresses in the form of the broker's version."""

    def __init__(self, node: RabbitMQNode, vhost: str) -> None:
        self._node = node
        self._vhost = vhost
        self._form = "/queues/{}" if node.has(Behaviour.NATIVE_AMQP10) else "/amq/queue/{}"

    def address(self, queue: str) -> str:
        """Return the address of a queue, which need not be there."""
        return self._form.format(queue)

    async def add(self, queue: str) -> str:
        """Add a queue, and return its address."""
        await asyncio.to_thread(self._node.add_queue, self._vhost, queue)
        return self.address(queue)

    async def delete(self, queue: str) -> None:
        """Delete a queue."""
        await asyncio.to_thread(self._node.delete_queue, self._vhost, queue)

    async def count(self, queue: str) -> int:
        """Count its messages."""
        return await asyncio.to_thread(self._node.message_count, self._vhost, queue)


@pytest.fixture
def nodes(rabbitmq: RabbitMQNode, team: Team) -> Nodes:
    """The queues of the test."""
    return Nodes(rabbitmq, team.tenant.vhost)


async def declare(team: Team, name: str = "orders", **spec: Any) -> None:
    """Declare a connection over AMQP 1.0, and what it refers to. Idempotent."""
    await team.put_secret()
    await declare_broker(team)
    await team.declare_connections(name, **spec)


async def declare_broker(team: Team) -> None:
    await team.apply("brokers", team.rabbit.document(protocol="amqp10", retry=RETRY))


def message(status: dict[str, Any], kind: str = "Connected") -> str:
    """Return the message of a condition."""
    [found] = [each["message"] for each in status["conditions"] if each["type"] == kind]
    return str(found)


def links(status: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the links of a status by name; none where there is no session."""
    found = status.get("negotiated", {}).get("amqp10", {}).get("links", ())
    return {each["name"]: each for each in found}


async def until_links(team: Team, **states: str) -> dict[str, Any]:
    """Wait until links are in these states, and return the status."""
    return await team.until(
        "orders",
        lambda status: (
            {name: each["state"] for name, each in links(status).items()}.items() >= states.items()
        ),
        f"links are {states}",
    )


def blocked(team: Team, name: str, reason: str) -> str:
    """Return the metric that says whether a connection is blocked."""
    labels = f'namespace="{team.namespace}",name="{name}",reason="{reason}"'
    return f"springline_session_blocked{{{labels}}}"


@contextlib.asynccontextmanager
async def alarm(team: Team) -> AsyncIterator[None]:
    """Have the broker low on memory."""
    await asyncio.to_thread(team.rabbit.administration.set_alarm, "memory")
    try:
        yield
    finally:
        await asyncio.to_thread(team.rabbit.administration.clear_alarm, "memory")


async def change_password(team: Team, password: str) -> None:
    """Change it at the broker alone."""
    administration = team.rabbit.administration
    await asyncio.to_thread(administration.change_password, team.tenant.username, password)


# Up ----------------------------------------------------------------------------------------------


# R4.2, R4.3, R4.6
async def test_it_is_ready_and_tells_what_was_negotiated(
    springline: Operator, kubectl: Kubectl, team: Team, rabbitmq: RabbitMQNode
) -> None:
    """As the reference has it, with the columns and metrics that every connection has."""
    await declare(team)
    status = await team.until_condition("orders", "Ready", "True", "Connected")
    assert condition(status, "Connected") == ("True", "Open")
    assert condition(status, "CredentialsValid") == ("True", "Accepted")
    negotiated = status["negotiated"]
    found = negotiated["amqp10"]
    assert (negotiated["mechanism"], negotiated["heartbeat"]) == ("PLAIN", "60s")
    assert found["containerID"] == f"springline/{team.namespace}/orders"
    assert found["hostname"] == f"vhost:{team.tenant.vhost}"
    assert found["user"] == status["credentials"]["username"] == team.tenant.username
    assert found["peerContainerID"]
    assert found["idleTimeout"] == "2m"
    assert found["maxFrameSize"] > 0
    assert found["peerMaxFrameSize"] > 0
    assert found["channelMax"] > 0
    assert found["peerChannelMax"] > 0
    assert found["session"]["outgoingWindow"] == 2048
    assert found["session"]["incomingWindow"] > 0
    assert found["session"]["peerIncomingWindow"] > 0
    assert "links" not in found
    assert status["server"]["product"] == "RabbitMQ"
    assert status["server"]["version"] == ".".join(map(str, rabbitmq.version))
    assert "PLAIN" in status["server"]["mechanisms"]
    [row] = rows(kubectl.table("brokerconnections", namespace=team.namespace))
    shown = {key: row[key] for key in ("READY", "STATE", "BROKER", "USER")}
    assert shown == {
        "READY": "True",
        "STATE": "Connected",
        "BROKER": "rabbit",
        "USER": team.tenant.username,
    }
    broker = await team.until_condition(
        "rabbit", "Reachable", "True", "Connected", plural="brokers"
    )
    assert broker["connections"] == {"declared": 1, "ready": 1, "blocked": 0}
    [event] = await team.until_events("orders", "Connected")
    assert event["type"] == "Normal"
    [agreed] = [
        line
        for line in springline.get("/metrics").text.splitlines()
        if line.startswith("springline_session_info{") and f'"{team.namespace}"' in line
    ]
    assert 'protocol="amqp10"' in agreed
    assert 'server_product="RabbitMQ"' in agreed


# R4.1, R4.3, R4.11
async def test_what_is_said_of_a_client_reaches_status(team: Team) -> None:
    """A container id, the windows and the heartbeat are as declared."""
    await declare(
        team,
        heartbeat="10s",
        amqp10={
            "containerID": "shop/orders",
            "session": {"incomingCapacity": "512Ki", "outgoingWindow": 64},
        },
    )
    await team.until_ready("orders")
    found = (await team.status("orders"))["negotiated"]["amqp10"]
    assert found["containerID"] == "shop/orders"
    assert found["idleTimeout"] == "20s"
    assert found["session"]["outgoingWindow"] == 64


# Links -------------------------------------------------------------------------------------------


# R4.8, R4.17
async def test_links_are_attached_refused_and_kept_each_by_itself(
    team: Team, nodes: Nodes, plugin: Plugin
) -> None:
    """The refused one says why, and the session is Ready; the plugin shows them, too."""
    address = await nodes.add("orders")
    nowhere = nodes.address("nowhere-at-all")
    declared = [
        {"name": "out", "role": "Sender", "target": {"address": address}},
        {"name": "lost", "role": "Receiver", "source": {"address": nowhere}, "keep": True},
        {"name": "in", "role": "Receiver", "source": {"address": address}},
        {"name": "kept", "role": "Receiver", "source": {"address": address}, "keep": True},
    ]
    await declare(team, amqp10={"links": declared})
    await team.until_ready("orders")
    status = await until_links(team, out="Attached", kept="Attached", lost="Refused")
    status = await until_links(team, **{"in": "Detached"})
    found = links(status)
    assert list(found) == ["out", "lost", "in", "kept"]
    assert found["out"]["address"] == address
    assert (found["out"]["role"], found["out"]["kept"]) == ("Sender", True)
    assert "amqp:" in found["lost"]["message"]
    assert (found["in"]["kept"], "message" in found["in"]) == (False, False)
    assert found["kept"]["kept"] is True
    assert condition(status, "Ready") == ("True", "Connected")
    done = await asyncio.to_thread(plugin.run, "status", "orders", "-n", team.namespace)
    assert (done.code, done.err) == (0, "")
    assert done.line("Links:").startswith(f"out: Attached, address {address}, credit ")
    shown = done.out.splitlines()
    [number] = [at for at, line in enumerate(shown) if line.strip().startswith("lost: Refused")]
    assert shown[number + 1].strip() == found["lost"]["message"]


async def test_links_come_and_go_without_another_connection(
    team: Team, nodes: Nodes, is_native: bool
) -> None:
    """One is attached as soon as its queue is there; where the broker tells, it goes with it."""
    late = nodes.address("late")
    link = {"name": "in", "role": "Receiver", "source": {"address": late}, "keep": True}
    await declare(team, amqp10={"links": [link]})
    status = await until_links(team, **{"in": "Refused"})
    since = status["connectedSince"]
    assert links(status)["in"]["message"]
    await nodes.add("late")
    status = await until_links(team, **{"in": "Attached"})
    assert "message" not in links(status)["in"]
    if is_native:
        await nodes.delete("late")
        status = await team.until(
            "orders",
            lambda status: "amqp:" in links(status).get("in", {}).get("message", ""),
            "the link says why it is gone",
        )
        assert links(status)["in"]["state"] in {"Detached", "Refused"}
    assert (status["connectedSince"], "lastClose" in status) == (since, False)
    assert condition(status, "Ready") == ("True", "Connected")


# Refused -----------------------------------------------------------------------------------------


async def test_a_wrong_password_is_refused_with_the_reason(
    springline: Operator, team: Team
) -> None:
    springline.plant("pl4nted-but-wrong")
    await team.put_secret("pl4nted-but-wrong")
    await declare_broker(team)
    await team.declare_connections("orders")
    status = await team.until_condition("orders", "Connected", "False", "AccessRefused")
    assert status["state"] == "Rejected"
    assert condition(status, "CredentialsValid")[0] == "False"
    assert condition(status, "Ready")[0] == "False"
    assert "login" in message(status)
    [event, *_] = await team.until_events("orders", "AccessRefused")
    assert event["type"] == "Warning"
    await team.put_secret()
    await team.until_ready("orders")


async def test_an_unknown_virtual_host_is_told_from_a_wrong_password(team: Team) -> None:
    await declare(team, virtualHost="nowhere")
    status = await team.until("orders", lambda status: status.get("state") == "Rejected", "refused")
    reason = condition(status, "Connected")[1]
    assert reason in {"AccessRefused", "VirtualHostNotFound"}
    assert 'virtual host "nowhere"' in message(status)
    assert condition(status, "CredentialsValid")[0] != "False"
    await declare(team)
    await team.until_ready("orders")


# R4.7
async def test_a_forced_close_is_told_and_the_session_comes_back(
    team: Team, rabbitmq: RabbitMQNode, is_native: bool
) -> None:
    await declare(team)
    await team.until_ready("orders")
    why = "somebody has to look"
    if is_native:
        closing = asyncio.to_thread(rabbitmq.close_all_connections, why)
    else:
        closing = asyncio.to_thread(rabbitmq.close_clients, team.rabbit.port, why)
    # The plugin holds on to whom it has refused for some seconds.
    assert await closing >= 1
    status = await team.until(
        "orders",
        lambda status: "lastClose" in status and condition(status, "Ready")[0] == "True",
        "it is open again",
    )
    close = status["lastClose"]
    if is_native:
        assert (close["by"], close["reason"]) == ("Server", "ConnectionForced")
        assert why in close["text"]
    else:
        assert close["by"] != "Client"
    await team.until_events("orders", close["reason"])


# Renewed -----------------------------------------------------------------------------------------


async def test_a_changed_password_is_verified_and_reaches_the_session(
    springline: Operator, team: Team, renews: bool
) -> None:
    """First it is refused, and changes nothing; then in place, or by another connection first."""
    await declare(team, binding=BINDING)
    await team.until_ready("orders")
    await team.until_condition("orders", "BindingPublished", "True")
    since = (await team.status("orders"))["connectedSince"]
    new = f"{PLANTED}-new"
    springline.plant(new)
    await team.put_secret(new)
    status = await team.until_condition("orders", "CredentialsValid", "False", "Rejected")
    assert condition(status, "Connected") == ("True", "Open")
    assert status["connectedSince"] == since
    await change_password(team, new)
    status = await team.until(
        "orders",
        lambda status: (
            status["credentials"]["method"] != "Handshake"
            and condition(status, "Ready")[0] == "True"
        ),
        "it is in use",
    )
    if renews:
        assert status["credentials"]["method"] == "InPlace"
        assert status["connectedSince"] == since
        assert "lastClose" not in status
        [event] = await team.until_events("orders", "SecretUpdated")
    else:
        assert status["credentials"]["method"] == "Replaced"
        [event] = await team.until_events("orders", "SessionReplaced")
        assert "RabbitMQ renews a secret over AMQP 1.0 from version 4.1 on" in event["message"]
    assert event["type"] == "Normal"
    await eventually_bound(team, new)


async def test_a_sole_connection_is_closed_before_it_is_replaced(team: Team) -> None:
    """By another user, whom no broker takes in place."""
    administration, user = team.rabbit.administration, f"{team.tenant.username}-2"
    await asyncio.to_thread(administration.add_user, user, team.tenant.secret)
    await asyncio.to_thread(administration.set_permissions, user, team.tenant.vhost)
    try:
        await declare(team, amqp10={"soleConnection": True})
        await team.until_ready("orders")
        await team.patch("secrets", "orders-amqp", {"stringData": {"username": user}})
        status = await team.until(
            "orders",
            lambda status: (
                status.get("credentials", {}).get("username") == user
                and condition(status, "Ready")[0] == "True"
            ),
            "the other user is in use",
        )
        assert status["lastClose"]["by"] == "Client"
        assert status["lastClose"]["text"] == "closed first, as spec.amqp10.soleConnection is true"
    finally:
        await asyncio.to_thread(administration.delete_user, user)


# Blocked -----------------------------------------------------------------------------------------


async def test_an_alarm_blocks_where_the_broker_shows_it(
    springline: Operator, kubectl: Kubectl, team: Team, is_native: bool
) -> None:
    """Without a message; elsewhere it is said that nobody knows, and what to declare."""
    await declare(team)
    await team.until_ready("orders")
    if not is_native:
        status = await team.until_condition("orders", "Blocked", "Unknown", "ProbeDisabled")
        assert "declare spec.amqp10.probe with an address" in message(status, "Blocked")
        async with alarm(team):
            assert condition(await team.status("orders"), "Ready") == ("True", "Connected")
        return
    status = await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    since = status["connectedSince"]
    async with alarm(team):
        status = await team.until_condition("orders", "Blocked", "True", "WindowClosed")
        assert condition(status, "Ready") == ("True", "Connected")
        assert "incoming window" in status["blocked"]["reason"]
        assert f"{blocked(team, 'orders', 'WindowClosed')} 1.0" in springline.get("/metrics").text
        [row] = rows(kubectl.table("bconn", namespace=team.namespace))
        assert (row["READY"], row["BLOCKED"], row["STATE"]) == ("True", "True", "Connected")
        [event] = await team.until_events("orders", "WindowClosed")
        assert event["type"] == "Warning"
    status = await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    assert "blocked" not in status
    assert status["connectedSince"] == since
    await team.until_events("orders", "Unblocked")


async def test_a_declared_probe_sees_what_the_broker_does_and_leaves_nothing(
    springline: Operator, team: Team, nodes: Nodes, is_native: bool
) -> None:
    """The plugin of RabbitMQ takes messages in during an alarm, and that is what is told."""
    address = await nodes.add("probes")
    await declare(team, probe=WATCHED, amqp10={"probe": {"address": address, "receive": True}})
    status = await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    since = status["connectedSince"]
    async with alarm(team):
        if is_native:
            status = await team.until_condition("orders", "Blocked", "True", "WindowClosed")
            assert condition(status, "Ready") == ("True", "Connected")
        else:
            before = probes(springline)
            await eventually(lambda: probes(springline) >= before + 3, what="three more probes")
            assert condition(await team.status("orders"), "Blocked") == ("False", "NotBlocked")
    status = await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    before = probes(springline)
    await eventually(lambda: probes(springline) >= before + 2, what="it is probed again")
    assert await nodes.count("probes") <= 1
    status = await team.status("orders")
    assert (status["connectedSince"], "lastClose" in status) == (since, False)


def probes(springline: Operator) -> float:
    """Count the probes that a broker has answered."""
    name = "springline_probe_duration_seconds_count "
    lines = springline.get("/metrics").text.splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


# Bound -------------------------------------------------------------------------------------------


async def entries(team: Team) -> dict[str, str]:
    """Return what the binding Secret holds."""
    data = (await team.get("secrets", "orders-binding")).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


async def eventually_bound(team: Team, password: str) -> None:
    """Wait until the binding Secret has a password."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while (await entries(team)).get("password") != password:
        assert loop.time() < deadline, "the binding has another password"
        await asyncio.sleep(0.1)


def send(found: dict[str, str], address: str) -> None:
    """Send a message as an application does that has these entries."""
    connection = BlockingConnection(
        f"amqp://{found['host']}:{found['port']}",
        timeout=PATIENCE,
        allowed_mechs="PLAIN",
        allow_insecure_mechs=True,
        virtual_host=f"vhost:{found['vhost']}",
        user=found["username"],
        password=found["password"],
    )
    try:
        connection.create_sender(address).send(Message(body="hello"))
    finally:
        connection.close()


async def test_an_application_can_log_in_with_the_binding(team: Team, nodes: Nodes) -> None:
    """The type says which protocol to speak."""
    address = await nodes.add("orders")
    await declare(team, binding=BINDING)
    await team.until_condition("orders", "BindingPublished", "True", "Published")
    secret = await team.get("secrets", "orders-binding")
    assert secret["type"] == "servicebinding.io/amqp"
    rabbit, tenant = team.rabbit, team.tenant
    found = await entries(team)
    login = f"{tenant.username}:{tenant.secret}"
    uri = f"amqp://{login}@{rabbit.host}:{rabbit.port}/{tenant.vhost}"
    assert found == {
        "type": "amqp",
        "provider": "rabbitmq",
        "uri": uri,
        "uris": uri,
        "host": rabbit.host,
        "port": str(rabbit.port),
        "vhost": tenant.vhost,
        "username": tenant.username,
        "password": tenant.secret,
    }
    await asyncio.to_thread(send, found, address)
    assert await nodes.count("orders") == 1


# Checked -----------------------------------------------------------------------------------------


async def test_a_manifest_is_checked_before_it_is_applied(
    team: Team, plugin: Plugin, tmp_path: Path
) -> None:
    """Against the broker itself, with the credential."""
    documents = [
        team.rabbit.document(protocol="amqp10"),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders-amqp"},
            "stringData": {"username": team.tenant.username, "password": team.tenant.secret},
        },
        team.connection("orders"),
    ]
    file = tmp_path / "orders.yaml"
    file.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    done = await asyncio.to_thread(plugin.run, "check", "-f", file)
    assert done.code == 0, done.err
    [row] = rows(done.out)
    assert row["READY"] == "True"
    wrong = [*documents[:2], team.connection("orders", virtualHost="nowhere")]
    file.write_text(yaml.safe_dump_all(wrong), encoding="utf-8")
    done = await asyncio.to_thread(plugin.run, "check", "-f", file)
    assert done.code == 1
    assert 'virtual host "nowhere"' in done.out + done.err


# Declared for another protocol -------------------------------------------------------------------

MEANINGLESS = [
    pytest.param(
        {"http": {"path": "/somewhere"}},
        "spec.http has no meaning with protocol amqp10, only with protocol http",
        id="the block of http",
    ),
    pytest.param(
        {"probe": {"exchange": "a"}},
        "spec.probe.exchange: AMQP 1.0 has no use for it",
        id="exchange",
    ),
    pytest.param(
        {"probe": {"routingKey": "a"}},
        "spec.probe.routingKey: AMQP 1.0 has no use for it",
        id="routing key",
    ),
    pytest.param(
        {"probe": {"mode": "OwnQueue"}},
        "spec.probe.mode: AMQP 1.0 has no queues that are a connection's own",
        id="queue",
    ),
]


@pytest.mark.parametrize(("spec", "says"), MEANINGLESS)
async def test_what_has_no_meaning_over_amqp10_is_refused_by_its_name(
    team: Team, spec: dict[str, Any], says: str
) -> None:
    """In status where the broker is another object; by the API server where it is not."""
    await declare(team, **spec)
    status = await team.until_condition("orders", "Ready", "False", "InvalidSpec")
    assert message(status, "Ready").startswith(says)
    own = team.rabbit.document(protocol="amqp10")["spec"]
    document = team.connection("inline", broker=own, **spec)
    del document["spec"]["brokerRef"]
    path = f"/apis/springline.dev/v1alpha1/namespaces/{team.namespace}/{CONNECTIONS}"
    answer = await team.ask("POST", path, document)
    assert answer.code == 422
    [field] = [
        name for name in ("http", "exchange", "routingKey", "mode") if name in answer.message
    ]
    assert field in says
    await declare(team)
    await team.until_ready("orders")


async def test_the_block_of_amqp10_is_refused_with_another_protocol(team: Team) -> None:
    await team.declare("orders", amqp10={"soleConnection": True}, probe={"mode": "None"})
    status = await team.until_condition("orders", "Ready", "False", "InvalidSpec")
    assert message(status, "Ready") == (
        "spec.amqp10 has no meaning with protocol amqp091, only with protocol amqp10; leave it out"
    )
    await team.declare("orders", probe={"mode": "None"})
    await team.until_ready("orders")
