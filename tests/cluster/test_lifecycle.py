"""What begins and ends a session: objects, namespaces, the operator, the release, and people."""

import asyncio
import re
import time
from collections.abc import Iterator

import pytest

from support.helm import Installed
from support.kubectl import Kubectl
from support.operators import Operator
from support.rabbitmq import RabbitMQNode
from support.team import CONNECTIONS, Team, condition
from support.waiting import eventually

REQUEST = "springline.dev/reconnect-requested-at"
NAMES = [f"orders-{number:02}" for number in range(20)]

# Objects and namespaces --------------------------------------------------------------------------


@pytest.mark.kind
async def test_a_deleted_connection_is_closed_and_nothing_waits_for_it(
    kubectl: Kubectl, team: Team
) -> None:
    """The object is gone at once, for nobody has a finalizer on it; then the broker's side is."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    [billing, _] = await team.until_held("billing", "orders")
    for plural, name in (
        (CONNECTIONS, "orders"),
        ("brokers", "rabbit"),
        ("secrets", "orders-amqp"),
    ):
        metadata = (await team.get(plural, name))["metadata"]
        assert "finalizers" not in metadata
        assert "annotations" not in metadata
    began = time.monotonic()
    kubectl.delete("bconn", "orders", namespace=team.namespace, wait=False)
    assert await team.get(CONNECTIONS, "orders") == {}
    assert await team.until_held("billing") == [billing]
    print(f"closed at the broker after {time.monotonic() - began:.2f} s")


@pytest.mark.kind
async def test_a_connection_of_the_same_name_is_another_one(kubectl: Kubectl, team: Team) -> None:
    """Deleted and created again, however fast."""
    await team.declare("orders")
    await team.until_ready("orders")
    before = await team.until_held("orders")
    kubectl.delete("bconn", "orders", namespace=team.namespace, wait=False)
    await team.declare("orders")
    await team.until_ready("orders")
    await team.until_held("orders", other_than=before)


@pytest.mark.kind
async def test_a_deleted_namespace_goes_as_fast_as_an_empty_one(
    kubectl: Kubectl, team: Team
) -> None:
    """With its sessions; the broker holds none of them afterwards."""
    empty = f"{team.namespace}-empty"
    kubectl.run("create", "namespace", empty)
    await team.declare(*NAMES)
    await team.until_ready(*NAMES)

    async def seconds(name: str) -> float:
        began = time.monotonic()
        await asyncio.to_thread(kubectl.delete, "namespace", name)
        return time.monotonic() - began

    gone = await asyncio.gather(seconds(empty), seconds(team.namespace))
    print("an empty one was gone after {:.1f} s, this one after {:.1f} s".format(*gone))
    await team.until_held()


# The operator ------------------------------------------------------------------------------------


async def test_a_stopped_operator_takes_its_leave(
    springline: Operator, rabbitmq: RabbitMQNode, team: Team
) -> None:
    """Of every broker by a proper Close, and status says that nobody keeps the session now."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    held = await team.until_held("billing", "orders")
    log = len(rabbitmq.log_text())
    await asyncio.to_thread(springline.stop)
    await team.until_held()
    for name in ("orders", "billing"):
        status = await team.status(name)
        assert status["state"] == "Closed"
        assert condition(status, "Ready") == ("False", "ClientClosed")
        assert condition(status, "Connected") == ("False", "ClientClosed")
        assert condition(status, "Blocked") == ("Unknown", "NotConnected")

    def ends() -> list[str]:
        ports = [f":{each.peer_port} ->" for each in held]
        return [
            line
            for line in rabbitmq.log_text()[log:].splitlines()
            if " closing AMQP connection " in line and any(port in line for port in ports)
        ]

    await eventually(lambda: len(ends()) >= len(held), what="the broker's log tells of the ends")
    # Who ends without a Close is a warning.
    assert all("[info]" in line for line in ends())


@pytest.mark.kind
async def test_a_started_operator_takes_up_what_is_declared(
    springline: Operator, team: Team
) -> None:
    """Also what was declared, changed and deleted while it was not there."""
    await team.declare("orders", "billing", "deleted")
    await team.until_ready("orders", "billing", "deleted")
    holder = (await team.status("orders"))["holder"]
    await asyncio.to_thread(springline.stop)
    await team.declare("invoices")
    await team.declare("billing", suspend=True)
    await team.delete(CONNECTIONS, "deleted")
    await asyncio.to_thread(springline.start)
    await team.until_ready("orders", "invoices")
    await team.until_condition("billing", "Connected", "False", "Suspended")
    await team.until_held("invoices", "orders")
    assert (await team.status("orders"))["holder"] != holder


@pytest.mark.kind
async def test_after_a_crash_everything_is_as_before(springline: Operator, team: Team) -> None:
    """Status said Ready all the time; now it is true again, and tells of the new session."""
    await team.declare("orders")
    status = await team.until_condition("orders", "Ready", "True")
    before = await team.until_held("orders")
    await asyncio.to_thread(springline.kill)
    await asyncio.to_thread(springline.start)
    await springline.until_ready()
    await team.until(
        "orders",
        lambda now: now["holder"] != status["holder"] and condition(now, "Ready")[0] == "True",
        "another one holds it",
    )
    await team.until_held("orders", other_than=before)


# The release -------------------------------------------------------------------------------------


@pytest.fixture
def release(
    team: Team,  # noqa: ARG001 - whose namespace is taken down with what this puts back
    springline: Operator,
    kubectl: Kubectl,
    installed: Installed,
) -> Iterator[Installed]:
    """The release, for a test that takes it away."""
    yield installed
    springline.kill()
    installed.install()
    kubectl.run("wait", "crd", *DEFINITIONS, "--for=condition=Established")


DEFINITIONS = [f"{plural}.springline.dev" for plural in (CONNECTIONS, "brokers", "clusterbrokers")]


def of_the_release(kubectl: Kubectl) -> set[str]:
    """Everything on the cluster that has the chart's label, or is Helm's note of it."""
    kinds = kubectl.run("api-resources", "--verbs=list", "--output=name").split()
    everywhere = [",".join(kinds), "--all-namespaces", "--output=name"]
    found = kubectl.run("get", *everywhere, "--selector=app.kubernetes.io/instance=springline")
    notes = kubectl.run("get", "secrets,configmaps", *everywhere[1:], "--selector=owner=helm")
    return {*found.split(), *notes.split()}


async def test_an_uninstalled_release_leaves_what_was_declared_and_nothing_else(
    release: Installed, springline: Operator, kubectl: Kubectl, team: Team
) -> None:
    """The operator ends well though its rights went first; the next release takes it all up."""
    await team.declare("orders")
    await team.until_ready("orders")
    assert len(of_the_release(kubectl)) > len(DEFINITIONS)
    release.release.uninstall()
    await asyncio.to_thread(springline.stop)
    await team.until_held()
    kept = {f"customresourcedefinition.apiextensions.k8s.io/{name}" for name in DEFINITIONS}
    assert of_the_release(kubectl) <= kept
    for plural, name in ((CONNECTIONS, "orders"), ("brokers", "rabbit")):
        metadata = (await team.get(plural, name))["metadata"]
        assert "finalizers" not in metadata
        assert "annotations" not in metadata
    release.install()
    await asyncio.to_thread(springline.start)
    await team.until_held("orders")
    await team.until_ready("orders")


async def test_a_release_takes_its_definitions_along_if_told_so(
    release: Installed, springline: Operator, kubectl: Kubectl, team: Team
) -> None:
    """With everything that was declared; nothing holds that up either."""
    release.install(crds={"keep": False})
    await team.declare("orders")
    await team.until_ready("orders")
    release.release.uninstall()
    await asyncio.to_thread(
        kubectl.run, "wait", "crd", *DEFINITIONS, "--for=delete", "--timeout=60s"
    )
    await team.until_held()
    assert of_the_release(kubectl) == set()
    await asyncio.to_thread(springline.stop)


# People ------------------------------------------------------------------------------------------


@pytest.mark.kind
async def test_a_suspended_connection_is_closed_until_it_is_resumed(
    kubectl: Kubectl, team: Team
) -> None:
    """By a field, so that GitOps can do it."""
    await team.declare("orders")
    await team.until_ready("orders")
    kubectl.patch("bconn", "orders", {"spec": {"suspend": True}}, namespace=team.namespace)
    status = await team.until_condition("orders", "Connected", "False", "Suspended")
    assert status["state"] == "Suspended"
    assert condition(status, "Ready") == ("", "")
    await team.until_held()
    kubectl.patch("bconn", "orders", {"spec": {"suspend": False}}, namespace=team.namespace)
    await team.until_ready("orders")
    await team.until_held("orders")


@pytest.mark.kind
async def test_a_connection_can_be_left_closed_for_somebody_to_look(
    kubectl: Kubectl, team: Team
) -> None:
    """whenClosed: StayClosed; any change of the declaration opens it again."""
    await team.declare("orders", whenClosed="StayClosed")
    await team.until_ready("orders")
    [held] = await team.until_held("orders")
    close = team.rabbit.administration.close_connection
    await asyncio.to_thread(close, held.pid, "somebody has to look")
    status = await team.until_condition("orders", "Connected", "False", "StayClosed")
    assert status["state"] == "Closed"
    assert condition(status, "Ready") == ("False", "StayClosed")
    last = status["lastClose"]
    assert (last["by"], last["code"], last["reason"]) == ("Server", 320, "ConnectionForced")
    assert "somebody has to look" in last["text"]
    [event] = await team.until_events("orders", "ConnectionForced")
    assert "somebody has to look" in event["message"]
    change = {"spec": {"clientProperties": {"looked": "yes"}}}
    kubectl.patch("bconn", "orders", change, namespace=team.namespace)
    await team.until_ready("orders")
    await team.until_held("orders", other_than=[held])


@pytest.mark.kind
async def test_a_connection_that_is_closed_by_the_broker_is_opened_again(team: Team) -> None:
    """And status keeps what was said."""
    await team.declare("orders")
    await team.until_ready("orders")
    [held] = await team.until_held("orders")
    await asyncio.to_thread(team.rabbit.administration.close_connection, held.pid, "maintenance")
    await team.until_held("orders", other_than=[held])
    status = await team.until(
        "orders",
        lambda status: "lastClose" in status and condition(status, "Ready")[0] == "True",
        "it is told",
    )
    assert "maintenance" in status["lastClose"]["text"]


@pytest.mark.kind
async def test_a_fresh_connection_is_made_once_for_each_request(
    springline: Operator, kubectl: Kubectl, team: Team
) -> None:
    """By annotation; status echoes it, and an operator that starts later knows it was done."""
    await team.declare("orders")
    await team.until_ready("orders")
    before = await team.until_held("orders")
    first, second = "2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z"

    async def echoed(request: str) -> None:
        await team.until(
            "orders",
            lambda status: (
                status.get("lastHandled") == {"reconnectRequestedAt": request}
                and condition(status, "Ready")[0] == "True"
            ),
            f"{request} is echoed",
        )

    kubectl.annotate("bconn", "orders", namespace=team.namespace, **{REQUEST: first})
    held = await team.until_held("orders", other_than=before)
    await echoed(first)
    await asyncio.to_thread(springline.stop)
    said = len(springline.output)
    await asyncio.to_thread(springline.start)
    await team.until_ready("orders")
    held = await team.until_held("orders", other_than=held)
    await echoed(first)
    kubectl.annotate("bconn", "orders", namespace=team.namespace, **{REQUEST: second})
    await team.until_held("orders", other_than=held)
    await echoed(second)
    # On a cluster it is a new pod, whose output begins here.
    output = springline.output
    since = output[said:] if len(output) > said else output
    assert since.count("fresh connection requested") == 1


# Events ------------------------------------------------------------------------------------------


def refused(springline: Operator) -> int:
    """How many attempts the brokers have refused so far."""
    text = springline.get("/metrics").text
    series = r'springline_connect_attempts_total\{[^}]*reason="AccessRefused"\} (\S+)'
    return sum(int(float(number)) for number in re.findall(series, text))


# R5.3
@pytest.mark.kind
async def test_a_failure_that_repeats_is_one_event(
    springline: Operator, kubectl: Kubectl, team: Team
) -> None:
    """However often it is tried; what comes after it is another one."""
    before = refused(springline)
    await team.declare()
    await team.put_secret("n0t-the-password")
    await team.declare_connections("orders")
    await eventually(lambda: refused(springline) >= before + 3, what="three attempts")
    [event] = await team.until_events("orders", "AccessRefused")
    assert event["type"] == "Warning"
    assert event.get("count", 1) == 1
    assert event["action"] == "ConnectFailed"
    assert event["message"].startswith("attempt failed: ")
    assert event["involvedObject"]["kind"] == "BrokerConnection"
    uid = (await team.get(CONNECTIONS, "orders"))["metadata"]["uid"]
    assert event["involvedObject"]["uid"] == uid
    await team.put_secret()
    await team.until_events("orders", "Connected")
    shown = kubectl.run("describe", "bconn", "orders", f"--namespace={team.namespace}")
    assert "AccessRefused" in shown
