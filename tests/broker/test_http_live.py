"""Sessions over HTTP with RabbitMQ's management interface: logins, alarms, renewal, bindings."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.springline_process import Springline, running

SECRETS = ("pl4nted-first", "pl4nted-second", "pl4nted-third")
ALARMS = {"path": "/api/health/checks/alarms"}


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """A node with the plugin."""
    try:
        managed = RabbitMQNode(tmp_path_factory.mktemp("management"), management=True)
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with managed:
        yield managed


@pytest.fixture
def user(node: RabbitMQNode) -> Iterator[str]:
    """A user who may look and not write; every test has the same with the first password."""
    node.add_user("ann", SECRETS[0], tags=("monitoring",))
    yield "ann"
    node.delete_user("ann")


@pytest.fixture
async def springline(tmp_path: Path) -> AsyncIterator[Springline]:
    async with running(tmp_path, *SECRETS) as springline:
        yield springline


def declared(
    node: RabbitMQNode, *, user: str = "ann", secret: str = SECRETS[0], **http: Any
) -> list[dict[str, Any]]:
    return [
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "Broker",
            "metadata": {"name": "management"},
            "spec": {
                "protocol": "http",
                "endpoints": [{"host": "127.0.0.1", "port": node.http_port}],
                "sasl": {"allowInsecure": True},
                "retry": {"delay": "1s", "maxDelay": "1s"},
            },
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "ann"},
            "stringData": {"username": user, "password": secret},
        },
        {
            "apiVersion": "springline.dev/v1alpha1",
            "kind": "BrokerConnection",
            "metadata": {"name": "orders"},
            "spec": {
                "brokerRef": {"name": "management"},
                "credentials": {"secretRef": {"name": "ann"}},
                "probe": {"interval": "1s"},
                "http": {"path": "/api/whoami", "blockedWhen": ALARMS, **http},
            },
        },
    ]


@pytest.mark.usefixtures("user")
async def test_a_session_is_open_and_learns_of_alarms_without_a_permission_to_write(
    springline: Springline, node: RabbitMQNode
) -> None:
    springline.write("all.yaml", *declared(node))
    status = await springline.until("Ready", "True")
    assert springline.condition("CredentialsValid") == ("True", "Accepted")
    assert status["negotiated"] == {
        "mechanism": "BASIC",
        "heartbeat": "0s",
        "http": {"version": "1.1", "keepAlive": True, "queueLength": 0},
    }
    assert status["server"]["mechanisms"] == ["BASIC"]
    await springline.until("Blocked", "False", "NotBlocked")
    node.set_alarm("memory")
    try:
        await springline.until("Blocked", "True", "LowOnMemory")
        assert springline.condition("Connected") == ("True", "Open")
    finally:
        node.clear_alarm("memory")
    await springline.until("Blocked", "False", "NotBlocked")


@pytest.mark.usefixtures("user")
async def test_a_changed_password_counts_from_the_next_request_on(
    springline: Springline, node: RabbitMQNode
) -> None:
    """After a connection of its own has verified it; the session stays open."""
    documents = declared(node)
    # No probe comes between the change at the server and that of the Secret.
    documents[2]["spec"]["probe"] = {"interval": "1h"}
    springline.write("all.yaml", *documents)
    since = (await springline.until("Ready", "True"))["connectedSince"]
    node.change_password("ann", SECRETS[1])
    documents[1]["stringData"]["password"] = SECRETS[1]
    springline.write("all.yaml", *documents)
    await springline.until("CredentialsValid", "True", "Verified")
    status = springline.status()
    assert (status["credentials"]["method"], status["connectedSince"]) == ("InPlace", since)
    assert "lastClose" not in status


@pytest.mark.usefixtures("user")
async def test_a_password_that_counts_no_more_ends_the_session_with_the_server_s_reason(
    springline: Springline, node: RabbitMQNode
) -> None:
    springline.write("all.yaml", *declared(node))
    await springline.until("Ready", "True")
    node.change_password("ann", SECRETS[2])
    status = await springline.until("CredentialsValid", "False", "Rejected")
    close = status["lastClose"]
    assert (close["by"], close["reason"], close["code"]) == ("Server", "AccessRefused", 401)
    assert close["text"].startswith("GET /api/whoami was answered 401 Unauthorized: ")


@pytest.mark.usefixtures("user")
async def test_a_path_that_is_not_there_is_told(springline: Springline, node: RabbitMQNode) -> None:
    springline.write("all.yaml", *declared(node, path="/api/nowhere"))
    status = await springline.until("Connected", "False", "UnexpectedStatus")
    [connected] = [each for each in status["conditions"] if each["type"] == "Connected"]
    assert connected["message"].endswith(
        "GET /api/nowhere was answered 404 Not Found, and 200 is expected"
    )


@pytest.mark.usefixtures("user")
async def test_a_broker_that_is_stopped_is_a_disconnect_and_opened_again(
    springline: Springline, node: RabbitMQNode
) -> None:
    springline.write("all.yaml", *declared(node))
    await springline.until("Ready", "True")
    node.kill()
    await springline.until("Connected", "False")
    node.start()
    await springline.until("Ready", "True")
    assert "lastClose" in springline.status()
