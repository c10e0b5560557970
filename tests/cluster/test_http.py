"""Sessions over HTTP on a real API server, with RabbitMQ's management interface and other servers.

The tenant may look and not publish, and so learns of alarms over HTTP alone.
"""

import asyncio
import base64
import http.client
import itertools
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from support import fake_peer, scripted_http
from support.fake_peer import Talk
from support.http_peers import HTTPPeerMissing
from support.identities import Tenant
from support.kubectl import Kubectl, rows
from support.nginx import Nginx
from support.operators import Operator
from support.ports import LOOPBACK
from support.shared_broker import SharedBroker
from support.team import CONNECTIONS, PROBE, RETRY, Team, condition
from support.waiting import PATIENCE, eventually

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "http" / "http.yaml"
SECRET = "pl4nted-s3cret"
WHOAMI = {"path": "/api/whoami"}
ALARMS = {**WHOAMI, "blockedWhen": {"path": "/api/health/checks/alarms"}}
BINDING = {"secretName": "orders-binding"}

_numbers = itertools.count()


@pytest.fixture
def tenant(rabbit: SharedBroker) -> Iterator[Tenant]:
    """A user of the management interface who may publish nowhere."""
    number = next(_numbers)
    tenant = Tenant(vhost=f"watched-{number}", username=f"eve-{number}", secret=SECRET)
    administration = rabbit.administration
    administration.add_vhost(tenant.vhost)
    administration.add_user(tenant.username, tenant.secret, tags=("monitoring",))
    administration.set_permissions(tenant.username, tenant.vhost, configure="^$", write="^$")
    yield tenant
    administration.delete_user(tenant.username)
    administration.delete_vhost(tenant.vhost)


@pytest.fixture
def team(team: Team, springline: Operator, tenant: Tenant) -> Team:
    """The team, whose login must not show as it is sent either."""
    springline.plant(f"{tenant.username}:{tenant.secret}")
    return team


def connection(
    team: Team, name: str = "orders", *, broker: str = "management", **spec: Any
) -> dict[str, Any]:
    """Return a connection over HTTP, which has no virtual host."""
    document = team.connection(name, **{"brokerRef": {"name": broker}, "http": WHOAMI, **spec})
    if "virtualHost" not in spec:
        del document["spec"]["virtualHost"]
    return document


async def declare(team: Team, name: str = "orders", **spec: Any) -> None:
    """Declare a connection to the management interface, and what it refers to. Idempotent."""
    await team.put_secret()
    await team.apply("brokers", team.rabbit.management(retry=RETRY))
    await team.apply(CONNECTIONS, connection(team, name, **spec))


def message(status: dict[str, Any], kind: str = "Connected") -> str:
    """Return the message of a condition."""
    [found] = [each["message"] for each in status["conditions"] if each["type"] == kind]
    return str(found)


def blocked(team: Team, name: str, reason: str) -> str:
    """Return the metric that says whether a connection is blocked."""
    labels = f'namespace="{team.namespace}",name="{name}",reason="{reason}"'
    return f"springline_session_blocked{{{labels}}}"


# Up ----------------------------------------------------------------------------------------------


async def test_it_is_ready_and_tells_what_was_negotiated(kubectl: Kubectl, team: Team) -> None:
    """As the guide has it, with the columns that every connection has."""
    await declare(team, http=ALARMS)
    status = await team.until_condition("orders", "Ready", "True", "Connected")
    assert status["negotiated"] == {
        "mechanism": "BASIC",
        "heartbeat": "0s",
        "http": {"version": "1.1", "keepAlive": True, "queueLength": 0},
    }
    assert status["server"]["mechanisms"] == ["BASIC"]
    assert condition(status, "CredentialsValid") == ("True", "Accepted")
    assert status["credentials"]["username"] == team.tenant.username
    await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    [row] = rows(kubectl.table("brokerconnections", namespace=team.namespace))
    shown = {key: row[key] for key in ("READY", "BLOCKED", "STATE", "BROKER", "USER")}
    assert shown == {
        "READY": "True",
        "BLOCKED": "False",
        "STATE": "Connected",
        "BROKER": "management",
        "USER": team.tenant.username,
    }
    broker = await team.until_condition(
        "management", "Reachable", "True", "Connected", plural="brokers"
    )
    assert broker["connections"] == {"declared": 1, "ready": 1, "blocked": 0}


async def test_a_path_that_is_not_there_is_told_with_its_status(team: Team) -> None:
    """Of the path the query is not shown, of the answer no body."""
    await declare(team, http={"path": "/api/nowhere?key=s3cret-in-a-query"})
    status = await team.until_condition("orders", "Connected", "False", "UnexpectedStatus")
    assert message(status).endswith(
        "GET /api/nowhere was answered 404 Not Found, and 200 is expected"
    )
    assert "s3cret-in-a-query" not in str(status)
    [event, *_] = await team.until_events("orders", "UnexpectedStatus")
    assert event["type"] == "Warning"
    await declare(team, http={**WHOAMI, "expectStatus": [200, 204]})
    await team.until_ready("orders")


# Refused -----------------------------------------------------------------------------------------

# What RabbitMQ says up to 3, and what 4 says.
WRONG = ("401 Unauthorized: Login failed", "401 Unauthorized: Not_Authorized")


async def test_a_wrong_password_is_refused_with_the_broker_s_reason(
    springline: Operator, team: Team
) -> None:
    springline.plant("pl4nted-but-wrong")
    await team.put_secret("pl4nted-but-wrong")
    await team.apply("brokers", team.rabbit.management(retry=RETRY))
    await team.apply(CONNECTIONS, connection(team))
    status = await team.until_condition("orders", "Connected", "False", "AccessRefused")
    assert any(each in message(status) for each in WRONG)
    assert condition(status, "CredentialsValid")[0] == "False"
    assert status["state"] == "Rejected"
    await team.put_secret()
    await team.until_ready("orders")


async def test_a_user_who_may_not_look_is_refused_with_the_broker_s_reason(team: Team) -> None:
    """The login itself is right."""
    administration = team.rabbit.administration
    stranger = f"{team.tenant.username}-stranger"
    await asyncio.to_thread(administration.add_user, stranger, SECRET)
    try:
        # Before the connection is declared: an open session would keep what it has.
        await team.put_secret()
        await team.patch("secrets", "orders-amqp", {"stringData": {"username": stranger}})
        await team.apply("brokers", team.rabbit.management(retry=RETRY))
        await team.apply(CONNECTIONS, connection(team))
        status = await team.until_condition("orders", "Connected", "False", "AccessRefused")
        assert "401 Unauthorized: Not management user" in message(status)
    finally:
        await asyncio.to_thread(administration.delete_user, stranger)


# Renewed -----------------------------------------------------------------------------------------


async def test_a_changed_password_is_verified_and_taken_in_place(
    springline: Operator, team: Team
) -> None:
    """First it is refused, and changes nothing; when the broker knows it, the session goes on."""
    # Not asked meanwhile: RabbitMQ knows one password at a time.
    await declare(team, probe={**PROBE, "interval": "1h"}, binding=BINDING)
    await team.until_ready("orders")
    await team.until_condition("orders", "BindingPublished", "True")
    since = (await team.status("orders"))["connectedSince"]
    new = f"{SECRET}-new"
    springline.plant(new, f"{team.tenant.username}:{new}")
    await team.put_secret(new)
    status = await team.until_condition("orders", "CredentialsValid", "False", "Rejected")
    assert any(each in message(status, "CredentialsValid") for each in WRONG)
    assert condition(status, "Ready")[0] == "False"
    assert condition(status, "Connected") == ("True", "Open")
    administration = team.rabbit.administration
    await asyncio.to_thread(administration.change_password, team.tenant.username, new)
    await team.until_condition("orders", "CredentialsValid", "True", "Verified")
    await declare_probe(team, "1s")
    status = await team.until_condition("orders", "Ready", "True")
    assert status["credentials"]["method"] == "InPlace"
    assert status["connectedSince"] == since
    assert "lastClose" not in status
    assert (await entries(team))["password"] == new


async def declare_probe(team: Team, interval: str) -> None:
    """Have the session of `orders` asked so often, and nothing else changed."""
    await team.patch(CONNECTIONS, "orders", {"spec": {"probe": {"interval": interval}}})
    generation = (await team.get(CONNECTIONS, "orders"))["metadata"]["generation"]
    await team.until(
        "orders", lambda status: status["observedGeneration"] == generation, "it is seen"
    )


class Web:
    """A server that keeps what it was asked, and lets in who has one of its passwords."""

    def __init__(self, *passwords: str) -> None:
        self.passwords = passwords
        self.status = "200 OK"
        """To who is let in, at /."""
        self.fields = ""
        self.asked: list[tuple[int, str]] = []
        """By which connection, and with which password; in order."""
        self.port = 0

    async def script(self, talk: Talk) -> None:
        connection = talk.writer.get_extra_info("peername")[1]
        while True:
            head = (await scripted_http.head(talk)).decode()
            _, _, said = head.lower().partition("authorization: basic ")
            found = head[len(head) - len(said) :].split("\r\n", 1)[0] if said else ""
            password = base64.b64decode(found).decode().partition(":")[2]
            self.asked.append((connection, password))
            if password not in self.passwords:
                scripted_http.answer(
                    talk, status="401 Unauthorized", fields="www-authenticate: Basic\r\n"
                )
            else:
                scripted_http.answer(talk, status=self.status, fields=self.fields)

    def broker(self, team: Team) -> dict[str, Any]:
        """Return a Broker that declares it."""
        here = SharedBroker(
            administration=team.rabbit.administration, host=LOOPBACK, port=0, http_port=self.port
        )
        return here.management("web", retry=RETRY)


@pytest.fixture
async def web() -> AsyncIterator[Web]:
    """A scripted server that lets the tenant in."""
    web = Web(SECRET)
    async with fake_peer.serving(web.script) as peer:
        web.port = peer.port
        yield web


async def until_asked(web: Web, password: str, *, times: int = 1) -> None:
    """Wait until the server was asked so often with a password, from now on."""
    before = len(web.asked)
    await eventually(
        lambda: [each for _, each in web.asked[before:]].count(password) >= times,
        what=f"it is asked {times} times more",
    )


async def test_a_new_secret_is_shown_from_the_next_request_on(
    springline: Operator, team: Team, web: Web
) -> None:
    """First on a connection of its own, which verifies it, then on the one that was there."""
    new = f"{SECRET}-new"
    springline.plant(new, f"{team.tenant.username}:{new}")
    web.passwords = (SECRET, new)
    await team.put_secret()
    await team.apply("brokers", web.broker(team))
    await team.apply(CONNECTIONS, connection(team, broker="web", http={}))
    await team.until_ready("orders")
    status = await team.until_condition("orders", "CredentialsValid", "True", "Accepted")
    [session] = {number for number, _ in web.asked}
    since = status["connectedSince"]
    await team.put_secret(new)
    status = await team.until(
        "orders",
        lambda status: status["credentials"].get("method") == "InPlace",
        "the new one is in use",
    )
    await until_asked(web, new, times=2)
    with_new = [number for number, password in web.asked if password == new]
    assert with_new[0] != session
    first = web.asked.index((session, new))
    assert (session, SECRET) not in web.asked[first:]
    assert {number for number, _ in web.asked[first:]} == {session}
    status = await team.status("orders")
    assert (status["connectedSince"], "lastClose" in status) == (since, False)


# Blocked -----------------------------------------------------------------------------------------


async def test_an_alarm_blocks_and_its_end_unblocks(
    springline: Operator, kubectl: Kubectl, team: Team
) -> None:
    """The connection stays, and stays Ready."""
    await declare(team, http=ALARMS)
    status = await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    since = status["connectedSince"]
    await asyncio.to_thread(team.rabbit.administration.set_alarm, "memory")
    try:
        status = await team.until_condition("orders", "Blocked", "True", "LowOnMemory")
        assert condition(status, "Ready") == ("True", "Connected")
        assert status["blocked"]["reason"] == "low on memory"
        assert f"{blocked(team, 'orders', 'LowOnMemory')} 1.0" in springline.get("/metrics").text
        [row] = rows(kubectl.table("bconn", namespace=team.namespace))
        assert (row["READY"], row["BLOCKED"], row["STATE"]) == ("True", "True", "Connected")
        [event] = await team.until_events("orders", "LowOnMemory")
        assert event["type"] == "Warning"
    finally:
        await asyncio.to_thread(team.rabbit.administration.clear_alarm, "memory")
    status = await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    assert "blocked" not in status
    assert status["connectedSince"] == since
    await team.until_events("orders", "Unblocked")


async def test_of_the_example_s_pair_the_one_over_http_learns_of_an_alarm(team: Team) -> None:
    """A user without permission to write is told of none over AMQP 0-9-1."""
    documents = list(yaml.safe_load_all(EXAMPLE.read_text(encoding="utf-8")))
    here = {"rabbit": team.rabbit.document(), "management": team.rabbit.management()}
    for each in documents:
        each["metadata"].pop("namespace")
        name = each["metadata"]["name"]
        match each["kind"]:
            case "Broker":
                each["spec"]["endpoints"] = here[name]["spec"]["endpoints"]
                await team.apply("brokers", each)
            case "BrokerConnection":
                if name == "orders":
                    each["spec"]["virtualHost"] = team.tenant.vhost
                each["spec"].setdefault("probe", {})["interval"] = "1s"
                await team.apply(CONNECTIONS, each)
    await team.put_secret()
    await team.until_ready("orders", "orders-alarms")
    await team.until_condition("orders-alarms", "Blocked", "False", "NotBlocked")
    await asyncio.to_thread(team.rabbit.administration.set_alarm, "memory")
    try:
        status = await team.until_condition("orders-alarms", "Blocked", "True", "LowOnMemory")
        assert condition(status, "Ready") == ("True", "Connected")
        status = await team.status("orders")
        assert condition(status, "Blocked") == ("Unknown", "ProbeDisabled")
        assert condition(status, "Ready") == ("True", "Connected")
    finally:
        await asyncio.to_thread(team.rabbit.administration.clear_alarm, "memory")
    await team.until_condition("orders-alarms", "Blocked", "False", "NotBlocked")


async def test_a_user_who_may_not_ask_for_alarms_keeps_the_session(team: Team) -> None:
    """The path is not there for anybody, which is no reason to end a session that is up."""
    await declare(team, http={**WHOAMI, "blockedWhen": {"path": "/api/nowhere"}})
    status = await team.until_condition("orders", "Blocked", "Unknown", "NotChecked")
    assert "spec.http.blockedWhen.path" in message(status, "Blocked")
    await team.until_ready("orders")


@pytest.fixture(scope="module")
def nginx(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nginx]:
    """An nginx that lets each client ask once a minute."""
    try:
        server = Nginx(tmp_path_factory.mktemp("nginx"))
    except HTTPPeerMissing as missing:
        pytest.skip(str(missing))
    with server:
        yield server


async def test_a_limit_of_requests_blocks_and_another_path_unblocks(
    nginx: Nginx, team: Team
) -> None:
    """The first answer is 200, and then the limit is reached until a minute is over."""
    nginx.set_password(team.tenant.username, SECRET)
    await team.put_secret()
    here = SharedBroker(
        administration=team.rabbit.administration, host=LOOPBACK, port=0, http_port=nginx.port
    )
    await team.apply("brokers", here.management(retry=RETRY))
    limited = {"path": f"/limited/429/seconds?client={team.namespace}"}
    asked = {"path": "/private", "blockedWhen": limited}
    await team.apply(CONNECTIONS, connection(team, http=asked))
    status = await team.until_condition("orders", "Blocked", "True", "Throttled")
    assert status["blocked"]["reason"] == (
        f"429 Too Many Requests, to be asked again after {nginx.retry_seconds} s"
    )
    assert condition(status, "Ready") == ("True", "Connected")
    await team.apply(CONNECTIONS, connection(team, http={"path": "/private"}))
    await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    await team.until_ready("orders")


async def test_a_throttled_server_is_blocked_until_it_answers(team: Team, web: Web) -> None:
    await team.put_secret()
    await team.apply("brokers", web.broker(team))
    await team.apply(CONNECTIONS, connection(team, broker="web", http={}))
    await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    since = (await team.status("orders"))["connectedSince"]
    web.status, web.fields = "503 Service Unavailable", "retry-after: 1\r\n"
    status = await team.until_condition("orders", "Blocked", "True", "Throttled")
    assert status["blocked"]["reason"] == "503 Service Unavailable, to be asked again after 1 s"
    web.status, web.fields = "200 OK", ""
    status = await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    assert status["connectedSince"] == since


# Bound -------------------------------------------------------------------------------------------


async def entries(team: Team) -> dict[str, str]:
    """Return what the binding Secret holds."""
    data = (await team.get("secrets", "orders-binding")).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


def asked(uri: str, username: str, password: str) -> int:
    """Ask as an application does, and return the status."""
    said = base64.b64encode(f"{username}:{password}".encode()).decode()
    where = urlsplit(uri)
    client = http.client.HTTPConnection(where.netloc, timeout=PATIENCE)
    try:
        client.request("GET", where.path, headers={"Authorization": f"Basic {said}"})
        return client.getresponse().status
    finally:
        client.close()


async def test_an_application_can_log_in_with_the_binding(team: Team) -> None:
    """No login is in the URI, nor the path that Springline asks for."""
    await declare(team, http=ALARMS, binding=BINDING)
    await team.until_condition("orders", "BindingPublished", "True", "Published")
    secret = await team.get("secrets", "orders-binding")
    assert secret["type"] == "servicebinding.io/http"
    rabbit, tenant = team.rabbit, team.tenant
    found = await entries(team)
    assert found == {
        "type": "http",
        "provider": found["provider"],
        "uri": f"http://{rabbit.host}:{rabbit.http_port}/",
        "uris": f"http://{rabbit.host}:{rabbit.http_port}/",
        "host": rabbit.host,
        "port": str(rabbit.http_port),
        "username": tenant.username,
        "password": tenant.secret,
    }
    status = await asyncio.to_thread(
        asked, found["uri"] + "api/whoami", found["username"], found["password"]
    )
    assert status == http.client.OK


# Declared for another protocol -------------------------------------------------------------------

MEANINGLESS = [
    pytest.param({"virtualHost": "orders"}, "spec.virtualHost: HTTP has", id="a virtual host"),
    pytest.param({"frameMax": 8192}, "spec.frameMax: HTTP has no use for it", id="frames"),
    pytest.param({"channelMax": 7}, "spec.channelMax: HTTP has no use for it", id="channels"),
    pytest.param(
        {"clientProperties": {"a": "b"}},
        "spec.clientProperties: HTTP has no use for it",
        id="properties",
    ),
    pytest.param(
        {"probe": {"exchange": "a"}}, "spec.probe.exchange: HTTP has no use for it", id="exchange"
    ),
    pytest.param(
        {"probe": {"routingKey": "a"}}, "spec.probe.routingKey: HTTP has no use", id="routing key"
    ),
    pytest.param(
        {"probe": {"mode": "OwnQueue"}}, "spec.probe.mode: HTTP has no queues", id="queue"
    ),
]


@pytest.mark.parametrize(("spec", "says"), MEANINGLESS)
async def test_what_has_no_meaning_over_http_is_refused_by_its_name(
    team: Team, spec: dict[str, Any], says: str
) -> None:
    """The API server cannot know it, because the broker is another object."""
    await declare(team, **spec)
    status = await team.until_condition("orders", "Ready", "False", "InvalidSpec")
    assert message(status, "Ready").startswith(says)
    await declare(team)
    await team.until_ready("orders")


async def test_the_block_of_http_is_refused_with_another_protocol(team: Team) -> None:
    await team.declare("orders", http=WHOAMI, probe={"mode": "None"})
    status = await team.until_condition("orders", "Ready", "False", "InvalidSpec")
    assert message(status, "Ready") == (
        "spec.http has no meaning with protocol amqp091, only with protocol http; leave it out"
    )
    await team.declare("orders", probe={"mode": "None"})
    await team.until_ready("orders")
