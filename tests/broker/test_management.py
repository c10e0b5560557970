"""The management plugin of a real node: what its HTTP API answers to whom, in every version."""

import base64
import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest

from support.identities import Certificates
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.waiting import PATIENCE

_SECRET = "pl4nted-s3cret"
_USERS = {"nobody": (), "manager": ("management",), "watcher": ("monitoring",)}


@pytest.fixture(scope="module")
def node(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[RabbitMQNode]:
    """A node with the plugin, and a user for each tag; it has no alarm."""
    try:
        managed = RabbitMQNode(
            tmp_path_factory.mktemp("management"), tls=certificates.files, management=True
        )
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with managed:
        for name, tags in _USERS.items():
            managed.add_user(name, _SECRET, tags=tags)
            managed.set_permissions(name, "/")
        yield managed


@contextlib.contextmanager
def _connected(connection: http.client.HTTPConnection) -> Iterator[http.client.HTTPConnection]:
    try:
        yield connection
    finally:
        connection.close()


def _ask(
    connection: http.client.HTTPConnection,
    path: str,
    *,
    user: str = "watcher",
    secret: str = _SECRET,
) -> tuple[http.client.HTTPResponse, Any]:
    said = base64.b64encode(f"{user}:{secret}".encode()).decode()
    connection.request("GET", path, headers={"Authorization": f"Basic {said}"})
    answer = connection.getresponse()
    content = answer.read()
    return answer, json.loads(content) if content else None


@pytest.fixture
def api(node: RabbitMQNode) -> Iterator[http.client.HTTPConnection]:
    """A connection to the API, without TLS."""
    connection = http.client.HTTPConnection(LOOPBACK, node.http_port, timeout=PATIENCE)
    with _connected(connection):
        yield connection


@pytest.mark.parametrize("check", ["alarms", "local-alarms"])
def test_an_alarm_is_found_by_the_health_checks(
    node: RabbitMQNode, api: http.client.HTTPConnection, check: str
) -> None:
    """Without one the answer is 200, with one 503 and the reason; the connection stays."""
    path = f"/api/health/checks/{check}"
    answer, said = _ask(api, path)
    assert (answer.status, said["status"]) == (200, "ok")
    assert answer.getheader("Content-Type") == "application/json"
    assert (answer.getheader("Server") or "").startswith("Cowboy")
    used = api.sock
    node.set_alarm("memory")
    try:
        answer, said = _ask(api, path)
        assert (answer.status, said["status"]) == (503, "failed")
        assert "alarm" in said["reason"]
    finally:
        node.clear_alarm("memory")
    assert _ask(api, path)[0].status == 200
    assert api.sock is used


# What RabbitMQ says up to 3, and what 4 says.
_WRONG = ("Login failed", "Not_Authorized")
REFUSED = {
    "a wrong password": ("watcher", "wr0ng-s3cret", _WRONG),
    "a user that is not there": ("stranger", _SECRET, _WRONG),
    "a user without a tag": ("nobody", _SECRET, ("Not management user",)),
    "a user whose tag is not enough": ("manager", _SECRET, ("Not monitor user",)),
}


@pytest.mark.parametrize("refused", REFUSED)
def test_who_may_not_ask_gets_401_and_a_reason(
    api: http.client.HTTPConnection, refused: str
) -> None:
    """Also where the login was right, and others answer 403."""
    user, secret, reasons = REFUSED[refused]
    # The health checks are for every user of the plugin.
    path = "/api/nodes" if user == "manager" else "/api/health/checks/alarms"
    answer, said = _ask(api, path, user=user, secret=secret)
    assert answer.status == 401
    assert answer.getheader("Content-Type") == "application/json"
    assert said["error"] in ("not_authorized", "not_authorised")
    assert said["reason"] in reasons


def test_the_api_is_there_over_tls(node: RabbitMQNode, certificates: Certificates) -> None:
    context = certificates.client().context
    assert context is not None
    connection = http.client.HTTPSConnection(
        "localhost", node.https_port, timeout=PATIENCE, context=context
    )
    with _connected(connection):
        assert _ask(connection, "/api/health/checks/alarms")[0].status == 200


def test_it_listens_below_the_ports_that_clients_get(node: RabbitMQNode) -> None:
    assert max(node.http_port, node.https_port) < 32768
