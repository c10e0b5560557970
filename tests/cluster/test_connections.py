"""From `kubectl apply` to Ready: what users see of a connection, and of what is wrong with one."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from springline.reasons import Reason
from support.kubectl import Kubectl, rows
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.team import RETRY, Team, condition

pytestmark = pytest.mark.kind

COLUMNS = ["NAME", "READY", "BLOCKED", "STATE", "BROKER", "VHOST", "USER", "EXPIRES", "AGE"]


async def test_what_is_applied_becomes_ready(kubectl: Kubectl, team: Team) -> None:
    """A broker, a Secret and a connection, all at once, in whatever order they come."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "orders-amqp"},
        "stringData": {"username": team.tenant.username, "password": team.tenant.secret},
    }
    documents = [team.connection("orders"), secret, team.rabbit.document(retry=RETRY)]
    kubectl.apply(documents, namespace=team.namespace)
    await asyncio.to_thread(
        kubectl.wait, "bconn", "orders", "condition=Ready", namespace=team.namespace
    )
    [held] = await team.held()
    assert held.name == "orders"


async def test_the_table_shows_what_matters(kubectl: Kubectl, team: Team) -> None:
    """The columns of a connection, and those that `-o wide` adds."""
    await team.declare("orders", heartbeat="30s")
    await team.until_ready("orders")
    await team.declare("billing", suspend=True)
    status = await team.until_condition("billing", "Connected", "False", "Suspended")
    assert status["state"] == "Suspended"
    usual, wide = (
        rows(kubectl.table("bconn", *options, namespace=team.namespace))
        for options in ((), ("--output=wide",))
    )
    [billing, orders] = usual
    assert list(orders) == COLUMNS
    assert orders.pop("AGE")
    assert orders == {
        "NAME": "orders",
        "READY": "True",
        "BLOCKED": "False",
        "STATE": "Connected",
        "BROKER": "rabbit",
        "VHOST": team.tenant.vhost,
        "USER": team.tenant.username,
        "EXPIRES": "",  # a password does not
    }
    assert (billing["READY"], billing["BLOCKED"], billing["STATE"]) == (
        "",  # neither ready nor on its way
        "Unknown",
        "Suspended",
    )
    [billing, orders] = wide
    assert list(orders)[-4:] == ["SERVER", "HEARTBEAT", "ENDPOINT", "REASON"]
    assert orders["SERVER"].split(".")[0].isdigit()
    assert orders["HEARTBEAT"] == "30s"
    assert orders["ENDPOINT"].startswith(f"{team.rabbit.host}:{team.rabbit.port} (")
    assert orders["REASON"] == "Connected"
    assert (billing["SERVER"], billing["ENDPOINT"], billing["REASON"]) == ("", "", "")


async def test_everything_of_ours_is_listed_by_one_word(kubectl: Kubectl, team: Team) -> None:
    """The category, and the short names of the kinds."""
    await team.declare("orders")
    shared = team.rabbit.document(name=f"shared-{team.namespace}")
    await team.apply("clusterbrokers", {**shared, "kind": "ClusterBroker"})
    try:
        found = kubectl.table("springline", "--output=name", namespace=team.namespace).split()
        assert {
            "broker.springline.dev/rabbit",
            "brokerconnection.springline.dev/orders",
            f"clusterbroker.springline.dev/shared-{team.namespace}",
        } <= set(found)
        await team.until_ready("orders")
        await team.until_condition("rabbit", "Reachable", "True", "Connected", plural="brokers")
        [broker] = rows(kubectl.table("sbroker", namespace=team.namespace))
        assert (broker["NAME"], broker["READY"], broker["REACHABLE"]) == ("rabbit", "True", "True")
        [cluster_broker] = rows(kubectl.table("scbroker", f"shared-{team.namespace}"))
        assert cluster_broker["NAME"] == f"shared-{team.namespace}"
    finally:
        await team.delete("clusterbrokers", f"shared-{team.namespace}")


async def test_connections_are_selected_by_broker_and_by_state(
    kubectl: Kubectl, team: Team
) -> None:
    """By the API server, so that a fleet need not be fetched to find a few."""
    await team.declare("orders")
    await team.declare("billing", brokerRef={"name": "another"})
    await team.declare("invoices", suspend=True)
    await team.until_ready("orders")
    await team.until_condition("billing", "Connected", "False", "BrokerNotFound")
    await team.until_condition("invoices", "Connected", "False", "Suspended")

    def selected(selector: str) -> list[str]:
        options = [f"--field-selector={selector}", "--output=name"]
        names = kubectl.table("bconn", *options, namespace=team.namespace).split()
        return [name.rpartition("/")[2] for name in names]

    assert selected("spec.brokerRef.name=another") == ["billing"]
    assert selected("status.state=Connected") == ["orders"]
    assert selected("status.state=Suspended,spec.brokerRef.name=rabbit") == ["invoices"]


@pytest.mark.parametrize(
    "field",
    [
        "spec.heartbeat",
        "spec.credentials.secretRef.passwordKey",
        "spec.probe.interval",
        "status.conditions",
        "status.credentials.method",
        "status.lastClose",
    ],
)
@pytest.mark.usefixtures("installed")
def test_every_field_explains_itself(kubectl: Kubectl, field: str) -> None:
    """`kubectl explain` has a sentence of ours for it."""
    told = kubectl.run("explain", f"bconn.{field}")
    description = told.partition("DESCRIPTION:")[2].partition("FIELDS:")[0].strip()
    assert len(description.split()) > 2, told
    assert "<no description>" not in description.lower()
    assert "<empty>" not in description


# R1.5
async def test_status_tells_what_was_agreed_and_with_whom(team: Team) -> None:
    """As the broker has it too."""
    await team.declare("orders", heartbeat="20s", channelMax=100, clientProperties={"team": "shop"})
    await team.until_ready("orders")
    document = await team.get("brokerconnections", "orders")
    status = document["status"]
    [held] = [
        each
        for each in await asyncio.to_thread(team.rabbit.administration.connections)
        if each.name == f"springline/{team.namespace}/orders"
    ]
    assert held.client_properties["team"] == "shop"
    negotiated = status["negotiated"]
    assert negotiated["mechanism"] == held.auth_mechanism
    assert negotiated["heartbeat"] == f"{held.heartbeat}s" == "20s"
    assert negotiated["channelMax"] == held.channel_max == 100
    assert negotiated["frameMax"] == held.frame_max
    assert negotiated["locale"] == "en_US"
    assert status["server"]["product"] == "RabbitMQ"
    assert status["server"]["version"]
    assert "PLAIN" in status["server"]["mechanisms"]
    secret = await team.get("secrets", "orders-amqp")
    credentials = status["credentials"]
    assert credentials["source"] == "secretRef"
    assert credentials["username"] == held.user
    assert credentials["observedVersion"] == secret["metadata"]["resourceVersion"]
    assert credentials["method"] == "Handshake"
    assert status["state"] == "Connected"
    assert datetime.fromisoformat(status["connectedSince"]).tzinfo is not None
    assert status["endpoint"].startswith(f"{team.rabbit.host}:{team.rabbit.port}")
    assert status["holder"]
    assert status["observedGeneration"] == document["metadata"]["generation"]
    assert {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]} == {
        "Ready": ("True", "Connected"),
        "Connected": ("True", "Open"),
        "CredentialsValid": ("True", "Accepted"),
        "Synced": ("True", "InSync"),
        "Blocked": ("False", "NotBlocked"),
    }


async def test_a_changed_declaration_is_observed(team: Team) -> None:
    """The connection is another one, and the generation says which declaration it is for."""
    await team.declare("orders", heartbeat="20s")
    await team.until_ready("orders")
    before = await team.until_held("orders")
    await team.declare("orders", heartbeat="40s")
    document = await team.get("brokerconnections", "orders")
    generation = document["metadata"]["generation"]
    status = await team.until(
        "orders",
        lambda status: (
            status["observedGeneration"] == generation and condition(status, "Ready")[0] == "True"
        ),
        "the change is observed",
    )
    assert status["negotiated"]["heartbeat"] == "40s"
    await team.until_held("orders", other_than=before)


# What can be wrong ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Scene:
    """A team whose connection is about to fail, and the operator that tells so."""

    team: Team
    operator: Operator

    async def put_broker(self, **spec: Any) -> None:
        """Declare the broker, changed by these fields."""
        await self.team.apply("brokers", self.team.rabbit.document(retry=RETRY, **spec))

    async def put_secret(self, **data: str) -> None:
        """Put exactly this data, in base64, into the Secret."""
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "orders-amqp"}}
        await self.team.delete("secrets", "orders-amqp")
        await self.team.apply("secrets", {**secret, "data": data})

    async def ask(self, what: str, *args: Any) -> None:
        """Do something as the broker's administrator."""
        await asyncio.to_thread(getattr(self.team.rabbit.administration, what), *args)


Trouble = Callable[[Scene], AbstractAsyncContextManager[Mapping[str, Any] | None]]


@contextlib.asynccontextmanager
async def unknown_vhost(scene: Scene) -> AsyncIterator[Mapping[str, Any]]:
    vhost, user = f"{scene.team.tenant.vhost}-new", scene.team.tenant.username
    yield {"virtualHost": vhost}
    await scene.ask("add_vhost", vhost)
    await scene.ask("set_permissions", user, vhost)


@contextlib.asynccontextmanager
async def vhost_down(scene: Scene) -> AsyncIterator[None]:
    await scene.ask("stop_vhost", scene.team.tenant.vhost)
    yield
    await scene.ask("start_vhost", scene.team.tenant.vhost)


@contextlib.asynccontextmanager
async def no_permission(scene: Scene) -> AsyncIterator[None]:
    user, vhost = scene.team.tenant.username, scene.team.tenant.vhost
    await scene.ask("clear_permissions", user, vhost)
    yield
    await scene.ask("set_permissions", user, vhost)


@contextlib.asynccontextmanager
async def limit_reached(scene: Scene) -> AsyncIterator[None]:
    await scene.ask("set_user_limit", scene.team.tenant.username, 0)
    yield
    await scene.ask("set_user_limit", scene.team.tenant.username, None)


@contextlib.asynccontextmanager
async def other_password(scene: Scene) -> AsyncIterator[None]:
    await scene.team.put_secret("n0t-the-password")
    yield
    await scene.team.put_secret()


@contextlib.asynccontextmanager
async def no_secret(scene: Scene) -> AsyncIterator[None]:
    await scene.team.delete("secrets", "orders-amqp")
    yield
    await scene.team.put_secret()


def secret_of(**data: str) -> Trouble:
    """A Secret with this data, in base64, and nothing else."""

    @contextlib.asynccontextmanager
    async def made(scene: Scene) -> AsyncIterator[None]:
        await scene.put_secret(**data)
        yield
        await scene.team.put_secret()

    return made


@contextlib.asynccontextmanager
async def no_broker(scene: Scene) -> AsyncIterator[None]:
    await scene.team.delete("brokers", "rabbit")
    yield
    await scene.put_broker()


def broker_with(**spec: Any) -> Trouble:
    """A broker whose declaration is changed by these fields."""

    @contextlib.asynccontextmanager
    async def made(scene: Scene) -> AsyncIterator[None]:
        await scene.put_broker(**spec)
        yield
        await scene.put_broker()

    return made


@contextlib.asynccontextmanager
async def no_broker_but_http(scene: Scene) -> AsyncIterator[None]:
    # The operator itself: in a pod it listens on the port that the chart gives.
    operator = scene.operator
    port = operator.port if isinstance(operator, OperatorProcess) else 8080
    await scene.put_broker(endpoints=[{"host": "127.0.0.1", "port": port}])
    yield
    await scene.put_broker()


@contextlib.asynccontextmanager
async def no_certificate(scene: Scene) -> AsyncIterator[Mapping[str, Any]]:
    credentials = {"secretRef": {"name": "orders-amqp"}}
    yield {"credentials": {"external": {}}}
    await scene.team.declare("orders", credentials=credentials)


USER = "YW5u"  # any user name
TROUBLES: dict[str, tuple[Trouble, str, Reason, Reason | None]] = {
    # What is wrong; the condition and its reason; the reason of Ready, if it is another one.
    "an unknown virtual host": (unknown_vhost, "Connected", Reason.VIRTUAL_HOST_NOT_FOUND, None),
    "a virtual host that is down": (vhost_down, "Connected", Reason.VIRTUAL_HOST_DOWN, None),
    "no permission": (no_permission, "Connected", Reason.ACCESS_REFUSED, None),
    "a limit of connections": (limit_reached, "Connected", Reason.CONNECTION_LIMIT_REACHED, None),
    "another password": (
        other_password,
        "CredentialsValid",
        Reason.REJECTED,
        Reason.ACCESS_REFUSED,
    ),
    "no Secret": (no_secret, "CredentialsValid", Reason.SECRET_NOT_FOUND, None),
    "a Secret without the key": (
        secret_of(username=USER),
        "CredentialsValid",
        Reason.SECRET_KEY_MISSING,
        None,
    ),
    "an empty password": (
        secret_of(username=USER, password=""),
        "CredentialsValid",
        Reason.SECRET_MALFORMED,
        None,
    ),
    "a password that is no text": (
        secret_of(username=USER, password="/////w=="),
        "CredentialsValid",
        Reason.SECRET_MALFORMED,
        None,
    ),
    "a missing broker": (no_broker, "Connected", Reason.BROKER_NOT_FOUND, None),
    "nobody who listens": (
        broker_with(endpoints=[{"host": "127.0.0.1", "port": 1}]),
        "Connected",
        Reason.CONNECTION_REFUSED,
        None,
    ),
    "a name that nobody has": (
        broker_with(endpoints=[{"host": "rabbit.invalid"}]),
        "Connected",
        Reason.NAME_RESOLUTION_FAILED,
        None,
    ),
    "another protocol": (no_broker_but_http, "Connected", Reason.PROTOCOL_MISMATCH, None),
    "TLS with a broker without": (
        broker_with(tls={"enabled": True}),
        "Connected",
        Reason.TLS_FAILED,
        None,
    ),
    "clear text that is not allowed": (
        broker_with(sasl={"allowInsecure": False}),
        "Connected",
        Reason.INSECURE_MECHANISM,
        None,
    ),
    "no mechanism in common": (
        broker_with(sasl={"mechanisms": ["RABBIT-CR-DEMO"], "allowInsecure": True}),
        "Connected",
        Reason.NO_AUTHENTICATION_MECHANISM,
        None,
    ),
    "no certificate to log in with": (no_certificate, "Connected", Reason.INVALID_SPEC, None),
}


# R1.7
@pytest.mark.parametrize("trouble", TROUBLES)
async def test_what_is_wrong_is_told_and_passes_when_it_is_mended(
    springline: Operator, team: Team, trouble: str
) -> None:
    """By a documented reason with a sentence; nobody has to do anything but mend the cause."""
    made, kind, reason, ready_reason = TROUBLES[trouble]
    scene = Scene(team, springline)
    await team.declare()
    async with made(scene) as spec:
        await team.declare_connections("orders", **(spec or {}))
        status = await team.until_condition("orders", kind, "False", reason)
        document = await team.get("brokerconnections", "orders")
        assert condition(status, "Ready") == ("False", ready_reason or reason)
        assert condition(status, "Connected")[0] == "False"
        assert status["observedGeneration"] == document["metadata"]["generation"]
        told = {each["type"]: each["message"] for each in status["conditions"]}
        assert len(told[kind].split()) > 2
        assert len(told["Ready"].split()) > 2
        assert await team.held() == []
    await team.until_ready("orders")
    await team.until_held("orders")
    if spec and "virtualHost" in spec:
        await scene.ask("delete_vhost", spec["virtualHost"])
