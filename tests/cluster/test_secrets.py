"""Secrets and ConfigMaps that change, go, come back, or may not be used."""

import asyncio
import base64
import re
import time
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest

from support.apiserver import APIServer
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.team import CONNECTIONS, RETRY, Held, Team, condition
from support.waiting import eventually

ALLOWED = "springline.dev/allowed"


async def ready(team: Team, **spec: Any) -> list[Held]:
    """Declare a connection, and return what the broker holds once it is ready."""
    await team.declare("orders", **spec)
    await team.until_ready("orders")
    return await team.until_held("orders")


async def change_password(team: Team, password: str) -> None:
    """Change it at the broker alone."""
    administration = team.rabbit.administration
    await asyncio.to_thread(administration.change_password, team.tenant.username, password)


def applied(version: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a status shows that the Secret of this version is in use, and all is well."""
    return lambda status: (
        status["credentials"]["observedVersion"] == version
        and condition(status, "CredentialsValid")[0] == "True"
        and condition(status, "Ready")[0] == "True"
    )


async def version(team: Team, name: str = "orders-amqp") -> str:
    return str((await team.get("secrets", name))["metadata"]["resourceVersion"])


# Values that change ------------------------------------------------------------------------------


# R1.12, R1.13
@pytest.mark.kind
async def test_a_new_password_reaches_the_live_connection(
    springline: Operator, kubectl: Kubectl, team: Team
) -> None:
    """The same connection goes on, checked with the new one; status and an Event tell so."""
    before = await ready(team)
    new = f"{team.tenant.secret}-new"
    springline.plant(new)
    await change_password(team, new)
    began = time.monotonic()
    await team.put_secret(new)
    status = await team.until("orders", applied(await version(team)), "the new one is in use")
    print(f"in use, and told, {time.monotonic() - began:.2f} s after the Secret was changed")
    assert status["credentials"]["method"] == "InPlace"
    assert condition(status, "CredentialsValid") == ("True", "Verified")
    verified, given = (
        datetime.fromisoformat(status["credentials"][key]) for key in ("verifiedAt", "appliedAt")
    )
    assert verified <= given
    assert await team.held() == before
    [event] = await team.until_events("orders", "SecretUpdated")
    assert event["type"] == "Normal"
    # And it is what a new connection logs in with.
    now = "2026-11-21T08:00:00Z"
    request = {"springline.dev/reconnect-requested-at": now}
    kubectl.annotate("bconn", "orders", namespace=team.namespace, **request)
    await team.until_held("orders", other_than=before)
    await team.until_ready("orders")


# R1.12
@pytest.mark.kind
async def test_a_secret_that_is_changed_too_early_costs_nothing(team: Team) -> None:
    """The broker refuses the new password; the connection stays, and it is tried again."""
    before = await ready(team)
    new = f"{team.tenant.secret}-new"
    await team.put_secret(new)
    status = await team.until_condition("orders", "CredentialsValid", "False", "Rejected")
    assert condition(status, "Ready") == ("False", "Rejected")
    assert condition(status, "Connected") == ("True", "Open")
    [event] = await team.until_events("orders", "Rejected")
    assert event["type"] == "Warning"
    assert await team.held() == before
    await change_password(team, new)
    status = await team.until("orders", applied(await version(team)), "the new one is in use")
    assert await team.held() == before


@pytest.mark.kind
async def test_another_user_gets_a_connection_of_its_own(team: Team) -> None:
    """It is open before the old one is closed; a user cannot change in place."""
    before = await ready(team)
    administration, user = team.rabbit.administration, f"{team.tenant.username}-2"
    await asyncio.to_thread(administration.add_user, user, team.tenant.secret)
    await asyncio.to_thread(administration.set_permissions, user, team.tenant.vhost)
    try:
        await put(team, username=user, password=team.tenant.secret)
        status = await team.until("orders", applied(await version(team)), "the user is in use")
        assert status["credentials"]["method"] == "Replaced"
        assert status["credentials"]["username"] == user
        await team.until_held("orders", other_than=before)
        await team.until_events("orders", "SessionReplaced")
    finally:
        await asyncio.to_thread(administration.delete_user, user)


@pytest.mark.kind
async def test_a_secret_that_is_only_labelled_is_no_change(kubectl: Kubectl, team: Team) -> None:
    """Its version is another one, its values are not; the connection does not notice."""
    before = await ready(team)
    kubectl.run("label", "secret", "orders-amqp", "team=shop", f"--namespace={team.namespace}")
    labelled = await version(team)
    status = await team.until(
        "orders",
        lambda status: status["credentials"]["observedVersion"] == labelled,
        "the version is observed",
    )
    assert status["credentials"]["method"] == "Handshake"
    assert await team.held() == before


async def put(team: Team, name: str = "orders-amqp", *, kind: str = "Opaque", **data: str) -> None:
    """Put a Secret in place, with exactly this data."""
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name},
        "type": kind,
        "stringData": data,
    }
    await team.apply("secrets", document)


# Secrets that go and come ------------------------------------------------------------------------


@pytest.mark.kind
@pytest.mark.parametrize("kind", ["Opaque", "kubernetes.io/basic-auth"])
async def test_a_deleted_secret_leaves_the_connection_alone(team: Team, kind: str) -> None:
    """It is told; when the Secret is there again, of whatever type, all is well again."""
    before = await ready(team)
    await team.delete("secrets", "orders-amqp")
    status = await team.until_condition("orders", "CredentialsValid", "False", "SecretNotFound")
    assert condition(status, "Ready") == ("False", "SecretNotFound")
    assert condition(status, "Connected") == ("True", "Open")
    assert await team.held() == before
    await put(team, kind=kind, username=team.tenant.username, password=team.tenant.secret)
    await team.until_ready("orders")
    assert await team.held() == before


@pytest.mark.kind
async def test_a_renamed_key_is_missed_until_it_is_declared(team: Team) -> None:
    """The message names the key that is looked for."""
    before = await ready(team)
    value = (await team.get("secrets", "orders-amqp"))["data"]["password"]
    await team.patch("secrets", "orders-amqp", {"data": {"password": None, "pass_word": value}})
    status = await team.until_condition("orders", "CredentialsValid", "False", "SecretKeyMissing")
    assert '"password"' in str(status["conditions"])
    assert await team.held() == before
    reference = {"secretRef": {"name": "orders-amqp", "passwordKey": "pass_word"}}
    await team.declare_connections("orders", credentials=reference)
    await team.until_ready("orders")
    await team.until_held("orders")


@pytest.mark.kind
async def test_a_secret_that_is_created_later_is_taken_up(kubectl: Kubectl, team: Team) -> None:
    """As `kubectl create secret` makes it."""
    await team.declare("orders", credentials={"secretRef": {"name": "later"}})
    await team.until_condition("orders", "Ready", "False", "SecretNotFound")
    values = {"username": team.tenant.username, "password": team.tenant.secret}
    literals = [f"--from-literal={key}={value}" for key, value in values.items()]
    where = f"--namespace={team.namespace}"
    kubectl.run("create", "secret", "generic", "later", where, *literals)
    await team.until_ready("orders")
    await team.until_held("orders")


@pytest.mark.kind
async def test_a_certificate_authority_that_changes_is_noticed(team: Team) -> None:
    """A ConfigMap is read and watched as a Secret is."""
    reference = {"kind": "ConfigMap", "name": "rabbit-ca"}
    tls = {"enabled": True, "caRef": reference}
    await team.put_secret()
    await team.apply("brokers", team.rabbit.document(retry=RETRY, tls=tls))
    await team.declare_connections("orders")

    async def until_told(words: str) -> None:
        await team.until(
            "orders",
            lambda status: (
                condition(status, "Connected") == ("False", "TLSFailed")
                and words in str(status["conditions"])
            ),
            words,
        )

    await until_told("rabbit-ca")
    await team.apply("configmaps", configmap("rabbit-ca", other="nothing"))
    await until_told("ca.crt")
    await team.apply("configmaps", configmap("rabbit-ca", **{"ca.crt": "no certificate"}))
    await until_told("certificate")


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


# Secrets that may not be used --------------------------------------------------------------------


async def label(team: Team, value: str | None) -> None:
    """Set the label that allows the Secret, or take it away."""
    await team.patch("secrets", "orders-amqp", {"metadata": {"labels": {ALLOWED: value}}})


@pytest.mark.kind
async def test_only_labelled_secrets_are_used_if_told_so(
    team: Team, configured: Callable[..., None], springline: Operator
) -> None:
    """Without the label there is no session; when it goes, the live one stays and it is told."""
    await asyncio.to_thread(configured, security={"requireSecretLabel": True})
    await springline.until_ready()
    await team.declare("orders")
    status = await team.until_condition("orders", "CredentialsValid", "False", "SecretNotAllowed")
    assert condition(status, "Ready") == ("False", "SecretNotAllowed")
    assert ALLOWED in str(status["conditions"])
    assert await team.held() == []
    await label(team, "true")
    await team.until_ready("orders")
    held = await team.until_held("orders")
    await label(team, None)
    status = await team.until_condition("orders", "CredentialsValid", "False", "SecretNotAllowed")
    assert condition(status, "Ready") == ("False", "SecretNotAllowed")
    assert condition(status, "Connected") == ("True", "Open")
    assert await team.held() == held
    await label(team, "true")
    await team.until_ready("orders")
    assert await team.held() == held


# What is read ------------------------------------------------------------------------------------


async def test_only_secrets_that_are_referred_to_are_read(
    springline: Operator, apiserver: APIServer, team: Team
) -> None:
    """One by one; of all the others the operator learns the names and no more."""
    assert isinstance(springline, OperatorProcess)
    await put(team, "unused", password=team.tenant.secret)
    await ready(team)
    await put(team, "unused", password=f"{team.tenant.secret}-2")
    await label(team, "true")
    seen = await version(team)
    await team.until(
        "orders", lambda status: status["credentials"]["observedVersion"] == seen, "it is read"
    )
    user = f"system:serviceaccount:{springline.namespace}:springline"

    def read() -> list[str]:
        return [
            each.name
            for each in apiserver.audit()
            if (each.user, each.verb, each.resource, each.namespace)
            == (user, "get", "secrets", team.namespace)
        ]

    await eventually(lambda: len(read()) > 1, what="the log is complete")
    assert set(read()) == {"orders-amqp"}


LIST_BYTES = re.compile(
    r'^apiserver_response_sizes_sum\{[^}]*resource="secrets"[^}]*verb="LIST"[^}]*\} (\S+)$',
    re.MULTILINE,
)


async def test_values_do_not_come_with_the_list(
    springline: Operator, apiserver: APIServer, team: Team
) -> None:
    """A list of all Secrets is many bytes shorter than a single one of them."""
    weight = 600_000
    await put(team, "heavy", value="x" * weight)
    await ready(team)

    def listed() -> float:
        text = apiserver.request("GET", "/metrics").message
        return sum(float(number) for number in LIST_BYTES.findall(text))

    def lists() -> int:
        return apiserver.requests("secrets", verb="LIST")

    bytes_before, lists_before = listed(), lists()
    await asyncio.to_thread(springline.stop)
    await asyncio.to_thread(springline.start)
    await springline.until_ready()
    await team.until_ready("orders")
    await eventually(lambda: lists() > lists_before, what="Secrets have been listed")
    assert listed() - bytes_before < weight / 2
    # And so it is counted: whoever asks for the values gets them.
    path = f"/api/v1/namespaces/{team.namespace}/secrets"
    whole = apiserver.request("GET", path).content["items"]
    assert any(len(each["data"].get("value", "")) >= weight for each in whole)
    await eventually(lambda: listed() - bytes_before > weight, what="it is counted")


# What is never shown -----------------------------------------------------------------------------


@pytest.mark.kind
async def test_what_is_in_a_secret_is_shown_nowhere(
    springline: Operator, kubectl: Kubectl, team: Team
) -> None:
    """Neither a good password nor a bad one, nor what stands where a user name belongs."""
    secrets = [f"c4nary-{number}-s3cret" for number in range(4)]
    encoded = [base64.b64encode(each.encode()).decode() for each in secrets]
    springline.plant(*secrets, *encoded)
    await team.declare()
    await change_password(team, secrets[0])
    user = team.tenant.username
    await put(team, "good", username=user, password=secrets[0])
    await put(team, "bad", username=user, password=secrets[1])
    await put(team, "swapped", username=secrets[2], password=secrets[3])
    for name in ("good", "bad", "swapped"):
        await team.declare_connections(name, credentials={"secretRef": {"name": name}})
    await team.until_ready("good")
    await team.until_condition("bad", "CredentialsValid", "False", "Rejected")
    await team.until_condition("swapped", "CredentialsValid", "False", "Rejected")
    for name in ("bad", "swapped"):
        await team.until_events(name, "AccessRefused")
    shown = [str(await team.get(plural, "")) for plural in (CONNECTIONS, "brokers", "events")]
    shown.append(springline.get("/metrics").text)
    shown.append(springline.output)
    shown.append(kubectl.run("describe", "springline", f"--namespace={team.namespace}"))
    for secret in (*secrets, *encoded):
        assert not any(secret in text for text in shown), secret
