"""Events on a real API server: what they say, and that those that cannot be posted delay nobody."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from support.apiserver import APIServer
from support.kubectl import Kubectl, KubectlFailed
from support.operator_process import OperatorProcess
from support.team import CONNECTIONS, RETRY, Team, condition
from support.waiting import eventually

STUCK = [f"stuck-{number:02}" for number in range(30)]


async def close(team: Team, *, reason: str) -> None:
    """Have the broker close the team's one connection, and wait until it is open again."""
    [held] = await team.until_held("orders")
    await asyncio.to_thread(team.rabbit.administration.close_connection, held.pid, reason)
    await team.until_held("orders", other_than=[held])
    await team.until_ready("orders")


# R5.14
@pytest.mark.kind
async def test_an_event_says_who_reports_what_of_whom(kubectl: Kubectl, team: Team) -> None:
    await team.declare("orders")
    [event] = await team.until_events("orders", "Connected")
    uid = (await team.get(CONNECTIONS, "orders"))["metadata"]["uid"]
    assert event["involvedObject"] == {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "namespace": team.namespace,
        "name": "orders",
        "uid": uid,
    }
    assert event["related"] == {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "Broker",
        "namespace": team.namespace,
        "name": "rabbit",
    }
    assert (event["type"], event["reason"], event["action"]) == ("Normal", "Connected", "Connected")
    assert event["source"] == {"component": "springline"}
    assert event["reportingComponent"] == "springline"
    # The holder is the namespace and the name of the replica.
    await team.until_ready("orders")
    holder = (await team.status("orders"))["holder"]
    assert holder.endswith(f"/{event['reportingInstance']}")
    assert event["count"] == 1
    assert event["firstTimestamp"] == event["lastTimestamp"]
    shown = kubectl.run("describe", "bconn", "orders", f"--namespace={team.namespace}")
    [line] = [line for line in shown.splitlines() if " connected to RabbitMQ" in line]
    assert line.split()[:2] == ["Normal", "Connected"]
    assert " springline " in line
    ours = kubectl.table(
        "events", "--field-selector=reportingComponent=springline", namespace=team.namespace
    )
    assert "Connected" in ours


@pytest.mark.kind
async def test_what_happens_again_is_counted_and_no_second_event(
    kubectl: Kubectl, team: Team
) -> None:
    await team.declare("orders")
    await team.until_ready("orders")
    for _ in range(3):
        await close(team, reason="somebody has to look")

    def counted(reason: str) -> list[int]:
        events = kubectl.events(namespace=team.namespace, of="orders")
        return [each["count"] for each in events if each["reason"] == reason]

    await eventually(lambda: counted("ConnectionForced") == [3], what="three times the same")
    await eventually(lambda: counted("Connected") == [4], what="and four times open")


# The reason is the condition's -------------------------------------------------------------------


async def same_as_condition(
    team: Team, kind: str, reason: str, *, action: str, status: str = "False"
) -> None:
    """Wait until a condition has this reason, and an Event too that says what happened."""
    found = await team.until_condition("orders", kind, status, reason)
    [event] = await team.until_events("orders", reason)
    assert (event["type"], event["action"]) == ("Warning", action)
    assert not event["message"].startswith(reason)
    if status == "False":
        assert condition(found, "Ready") == ("False", reason)


@pytest.mark.kind
async def test_a_missing_broker_is_told_as_missing(team: Team) -> None:
    await team.put_secret()
    await team.declare_connections("orders", brokerRef={"name": "nowhere"})
    await same_as_condition(team, "Connected", "BrokerNotFound", action="InvalidSpec")


@pytest.mark.kind
async def test_a_broker_for_other_namespaces_is_told_so(team: Team) -> None:
    name = f"shared-{team.namespace}"
    allowed = {"from": "Selector", "selector": {"matchLabels": {"shop": "others"}}}
    document = team.rabbit.document(name=name, retry=RETRY, allowedNamespaces=allowed)
    await team.apply("clusterbrokers", {**document, "kind": "ClusterBroker"})
    try:
        await team.put_secret()
        await team.declare_connections("orders", brokerRef={"kind": "ClusterBroker", "name": name})
        await same_as_condition(team, "Connected", "NamespaceNotAllowed", action="InvalidSpec")
    finally:
        await team.delete("clusterbrokers", name)


@pytest.mark.kind
async def test_a_wrong_password_is_told_as_refused(team: Team) -> None:
    await team.declare()
    await team.put_secret("n0t-the-password")
    await team.declare_connections("orders")
    await same_as_condition(team, "Connected", "AccessRefused", action="ConnectFailed")


@pytest.mark.kind
async def test_a_deleted_secret_is_told_as_not_found(team: Team) -> None:
    await team.declare("orders")
    await team.until_ready("orders")
    await team.delete("secrets", "orders-amqp")
    await same_as_condition(team, "CredentialsValid", "SecretNotFound", action="SecretRejected")


@pytest.mark.kind
async def test_a_memory_alarm_is_told_as_low_on_memory(team: Team) -> None:
    await team.declare("orders")
    await team.until_condition("orders", "Blocked", "False")
    await asyncio.to_thread(team.rabbit.administration.set_alarm, "memory")
    try:
        await same_as_condition(team, "Blocked", "LowOnMemory", action="Blocked", status="True")
    finally:
        await asyncio.to_thread(team.rabbit.administration.clear_alarm, "memory")


# A namespace that does not go --------------------------------------------------------------------


@asynccontextmanager
async def undeletable(kubectl: Kubectl, namespace: str) -> AsyncIterator[None]:
    """Refuse to delete connections there, so that a deleted namespace stays as it is."""
    name = f"keep-{namespace}"
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            "matchConstraints": {
                "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                "resourceRules": [
                    {
                        "apiGroups": ["springline.dev"],
                        "apiVersions": ["*"],
                        "resources": [CONNECTIONS],
                        "operations": ["DELETE"],
                    }
                ],
            },
            "validations": [{"expression": "false", "message": "they stay"}],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
    }
    kubectl.apply([policy, binding])

    def is_refused() -> bool:
        options = ("--dry-run=server", "--ignore-not-found=false")
        try:
            kubectl.run("delete", "bconn", STUCK[0], f"--namespace={namespace}", *options)
        except KubectlFailed as error:
            return "they stay" in str(error)
        return False

    try:
        await eventually(is_refused, what="the policy is in force")
        yield
    finally:
        kubectl.run("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)


async def test_a_namespace_that_stays_in_deletion_delays_no_other(
    apiserver: APIServer, kubectl: Kubectl, process: OperatorProcess, team: Team
) -> None:
    """Thirty sessions there lose their broker; none of that is posted, and little is tried."""
    stuck = team.inside(f"{team.namespace}-stuck")
    kubectl.run("create", "namespace", stuck.namespace)
    await stuck.declare(*STUCK)
    await stuck.until_ready(*STUCK)
    async with undeletable(kubectl, stuck.namespace):
        said = len(process.output)
        kubectl.delete("namespace", stuck.namespace, wait=False)
        for name in STUCK:
            await stuck.until_condition(name, "Connected", "False", "BrokerNotFound")
        await team.declare("orders")
        await team.until_events("orders", "Connected")

        def in_vain() -> str:
            text = process.get("/metrics").text
            [line] = [line for line in text.splitlines() if 'outcome="ending"' in line]
            return line.rpartition(" ")[2]

        await eventually(lambda: float(in_vain()) >= len(STUCK), what="they are counted")
        tried = [
            each
            for each in apiserver.audit()
            if (each.verb, each.resource, each.namespace) == ("create", "events", stuck.namespace)
            and each.code >= 400
            and each.user.endswith(":springline")
        ]
        assert len(tried) < 10
        lines = process.output[said:].splitlines()
        assert not [line for line in lines if "ERROR" in line or '"level": "error"' in line]
        assert len([line for line in lines if "events not posted" in line]) <= 1
