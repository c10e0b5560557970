"""Binding Secrets on a real API server, with what a real broker accepts in them."""

import asyncio
import base64
from collections.abc import Awaitable, Callable
from typing import Any

import aiormq
import pytest

from support.apiserver import APIServer
from support.kubectl import Kubectl
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.team import CONNECTIONS, Team, condition
from support.waiting import PATIENCE, eventually

BINDING = {"secretName": "orders-binding"}
PUBLISHED = ("True", "Published")
_DEADLINE = PATIENCE


async def values(team: Team, name: str = "orders-binding") -> dict[str, str]:
    """Return what a binding Secret holds, empty if there is none."""
    data = (await team.get("secrets", name)).get("data") or {}
    return {key: base64.b64decode(value).decode() for key, value in data.items()}


async def until(looked: Callable[[], Awaitable[object]], what: str) -> None:
    """Wait until what is looked at is so."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + _DEADLINE
    while not await looked():
        assert loop.time() < deadline, f"not within {_DEADLINE:g} s: {what}"
        await asyncio.sleep(0.1)


async def until_password(team: Team, password: str, name: str = "orders-binding") -> None:
    async def is_there() -> bool:
        return (await values(team, name)).get("password") == password

    await until(is_there, f"{name} has the password")


async def published(team: Team, **spec: Any) -> dict[str, Any]:
    """Declare a connection with a binding, and return the Secret when it is there."""
    await team.declare("orders", binding=BINDING, **spec)
    await team.until_condition("orders", "BindingPublished", *PUBLISHED)
    return await team.get("secrets", "orders-binding")


async def change_password(team: Team, password: str) -> None:
    """Change it at the broker alone."""
    administration = team.rabbit.administration
    await asyncio.to_thread(administration.change_password, team.tenant.username, password)


async def log_in(uri: str) -> str:
    """Log in as an application does, and return the name of the product that answered."""
    connection = await aiormq.connect(uri)
    try:
        return str(connection.server_properties["product"])
    finally:
        await connection.close()


def writes(apiserver: APIServer, process: OperatorProcess, team: Team) -> list[str]:
    """Return how the operator has written to Secrets of the namespace, in order."""
    user = f"system:serviceaccount:{process.namespace}:springline"
    return [
        each.verb
        for each in apiserver.audit()
        if (each.user, each.resource, each.namespace) == (user, "secrets", team.namespace)
        and each.verb not in ("get", "list", "watch")
    ]


# What is published -------------------------------------------------------------------------------


async def test_an_application_can_log_in_with_it(team: Team) -> None:
    """With the URI alone, and with everything that the connection's status says of it."""
    secret = await published(team)
    assert secret["type"] == "servicebinding.io/rabbitmq"
    entries = await values(team)
    assert await log_in(entries["uri"]) == "RabbitMQ"
    assert (entries["type"], entries["provider"]) == ("rabbitmq", "rabbitmq")
    assert (entries["host"], entries["port"]) == (team.rabbit.host, str(team.rabbit.port))
    assert (entries["username"], entries["password"], entries["vhost"]) == (
        team.tenant.username,
        team.tenant.secret,
        team.tenant.vhost,
    )
    status = await team.until_condition("orders", "Ready", "True")
    assert status["binding"] == {"name": "orders-binding"}
    [event] = await team.until_events("orders", "BindingPublished")
    assert event["type"] == "Normal"


async def test_whom_it_belongs_to(team: Team) -> None:
    secret = await published(team)
    connection = await team.get(CONNECTIONS, "orders")
    [owner] = secret["metadata"]["ownerReferences"]
    assert owner == {
        "apiVersion": "springline.dev/v1alpha1",
        "kind": "BrokerConnection",
        "name": "orders",
        "uid": connection["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }
    assert secret["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "springline"


async def test_what_kubectl_selects_by_its_type(kubectl: Kubectl, team: Team) -> None:
    """As the Service Binding specification means it to be found."""
    await published(team)
    found = kubectl.run(
        "get", "secrets", f"--namespace={team.namespace}", "--output=name",
        "--field-selector=type=servicebinding.io/rabbitmq",
    )  # fmt: skip
    assert found.split() == ["secret/orders-binding"]


@pytest.mark.parametrize("password", ["p@ss:w/rd?#%&=+, ü☃", "x" * 200])
async def test_a_difficult_password_survives_the_uri(
    springline: Operator, team: Team, password: str
) -> None:
    """Whatever is in it, clients read it back."""
    planted = f"{password}-pl4nted"
    springline.plant(planted)
    await change_password(team, planted)
    await team.put_secret(planted)
    await team.apply("brokers", team.rabbit.document())
    await team.declare_connections("orders", binding=BINDING)
    await team.until_condition("orders", "BindingPublished", *PUBLISHED)
    assert await log_in((await values(team))["uri"]) == "RabbitMQ"


# What changes it ---------------------------------------------------------------------------------


async def test_it_rotates_to_what_the_broker_has_accepted(springline: Operator, team: Team) -> None:
    """First the Secret, which is refused and changes nothing; then the broker."""
    await published(team)
    new = f"{team.tenant.secret}-new"
    springline.plant(new)
    before = await team.get("secrets", "orders-binding")
    await team.put_secret(new)
    status = await team.until_condition("orders", "CredentialsValid", "False", "Rejected")
    assert condition(status, "BindingPublished") == PUBLISHED
    assert await team.get("secrets", "orders-binding") == before
    await change_password(team, new)
    await until_password(team, new)
    after = await team.get("secrets", "orders-binding")
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert await log_in((await values(team))["uri"]) == "RabbitMQ"


async def test_garbage_changes_nothing(team: Team) -> None:
    await published(team)
    before = await team.get("secrets", "orders-binding")
    await team.patch("secrets", "orders-amqp", {"data": {"password": None}})
    status = await team.until_condition("orders", "CredentialsValid", "False", "SecretKeyMissing")
    assert condition(status, "BindingPublished") == PUBLISHED
    await team.put_secret("garbage")
    await team.until_condition("orders", "CredentialsValid", "False", "Rejected")
    assert await team.get("secrets", "orders-binding") == before


async def test_suspending_changes_nothing(team: Team) -> None:
    await published(team)
    before = await team.get("secrets", "orders-binding")
    await team.declare_connections("orders", binding=BINDING, suspend=True)
    status = await team.until_condition("orders", "Connected", "False", "Suspended")
    assert status["binding"] == {"name": "orders-binding"}
    assert await team.get("secrets", "orders-binding") == before


async def test_before_anything_is_verified_there_is_nothing(team: Team) -> None:
    await team.put_secret("garbage")
    await team.apply("brokers", team.rabbit.document())
    await team.declare_connections("orders", binding=BINDING)
    status = await team.until_condition("orders", "BindingPublished", "Unknown", "NothingVerified")
    assert "binding" not in status
    assert not await team.get("secrets", "orders-binding")


async def test_in_a_steady_state_nothing_is_written(
    apiserver: APIServer, process: OperatorProcess, team: Team
) -> None:
    """Nor by a restart, nor by a connection that is opened anew."""
    await published(team)
    await eventually(lambda: writes(apiserver, process, team) == ["create"], what="it is logged")
    before = await team.held()
    await asyncio.to_thread(process.stop)
    await asyncio.to_thread(process.start)
    await process.until_ready()
    await team.until_held("orders", other_than=before)
    await team.until_ready("orders")
    # Something that is written after everything else that there was to write.
    await team.declare_connections("last", binding={"secretName": "last"})
    await team.until_condition("last", "BindingPublished", *PUBLISHED)
    await eventually(
        lambda: len(writes(apiserver, process, team)) > 1, what="the last one is logged"
    )
    assert writes(apiserver, process, team) == ["create", "create"]
    assert len(await team.until_events("orders", "BindingPublished")) == 1


# What others do to it ----------------------------------------------------------------------------


async def test_deleted_by_hand_it_comes_back(team: Team) -> None:
    before = await published(team)
    await team.delete("secrets", "orders-binding")
    await until_password(team, team.tenant.secret)
    after = await team.get("secrets", "orders-binding")
    assert after["metadata"]["uid"] != before["metadata"]["uid"]


async def test_edited_by_hand_it_is_set_right(team: Team) -> None:
    await published(team)
    garbage = base64.b64encode(b"garbage").decode()
    await team.patch("secrets", "orders-binding", {"data": {"password": garbage, "more": garbage}})
    await until_password(team, team.tenant.secret)
    assert "more" not in await values(team)


async def test_without_its_label_it_is_set_right(team: Team) -> None:
    await published(team)
    label = "app.kubernetes.io/managed-by"
    await team.patch("secrets", "orders-binding", {"metadata": {"labels": {label: None}}})

    async def is_labelled() -> bool:
        secret = await team.get("secrets", "orders-binding")
        return bool(secret["metadata"]["labels"].get(label) == "springline")

    await until(is_labelled, "the label is back")


async def test_made_immutable_it_is_made_anew(springline: Operator, team: Team) -> None:
    """Nothing else lets it change."""
    await published(team)
    await team.patch("secrets", "orders-binding", {"immutable": True})
    new = f"{team.tenant.secret}-new"
    springline.plant(new)
    await change_password(team, new)
    await team.put_secret(new)
    await until_password(team, new)


async def test_somebody_elses_secret_is_not_touched(
    apiserver: APIServer, process: OperatorProcess, team: Team
) -> None:
    """Its values are not even read."""
    theirs = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "orders-binding"},
        "stringData": {"password": "theirs"},
    }
    await team.apply("secrets", theirs)
    before = await team.get("secrets", "orders-binding")
    await team.declare("orders", binding=BINDING)
    status = await team.until_condition("orders", "BindingPublished", "False", "SecretNotOurs")
    await team.until_ready("orders")
    assert "binding" not in status
    [event] = await team.until_events("orders", "SecretNotOurs")
    assert event["type"] == "Warning"
    assert await team.get("secrets", "orders-binding") == before
    assert writes(apiserver, process, team) == []
    await team.delete("secrets", "orders-binding")
    await team.declare_connections("orders", binding=BINDING, heartbeat="30s")
    await until_password(team, team.tenant.secret)


async def test_of_two_connections_the_first_keeps_the_name(team: Team) -> None:
    await published(team)
    await team.declare_connections("billing", binding=BINDING)
    await team.until_condition("billing", "BindingPublished", "False", "SecretNotOurs")
    secret = await team.get("secrets", "orders-binding")
    assert secret["metadata"]["ownerReferences"][0]["name"] == "orders"
    await team.declare_connections("orders", binding={"secretName": "other"})
    await team.until_condition("billing", "BindingPublished", *PUBLISHED)


# When it goes ------------------------------------------------------------------------------------


async def test_it_goes_with_its_connection(controllers: APIServer, team: Team) -> None:  # noqa: ARG001 - they collect it
    await published(team)
    await team.delete(CONNECTIONS, "orders")

    async def is_gone() -> bool:
        return not await team.get("secrets", "orders-binding")

    await until(is_gone, "the Secret is collected")


async def test_a_connection_that_is_made_anew_gets_one_of_its_own(
    controllers: APIServer,  # noqa: ARG001 - they collect the old one
    team: Team,
) -> None:
    before = await published(team)
    await team.delete(CONNECTIONS, "orders")
    await team.declare_connections("orders", binding=BINDING)

    async def is_new() -> bool:
        secret = await team.get("secrets", "orders-binding")
        return bool(secret) and secret["metadata"]["uid"] != before["metadata"]["uid"]

    await until(is_new, "there is a new Secret")
    await team.until_condition("orders", "BindingPublished", *PUBLISHED)
    assert await team.until_events("orders", "BindingPublished")
    assert ("orders", "BindingFailed") not in await team.events()


@pytest.mark.parametrize("is_down", [False, True], ids=["at once", "after a restart"])
async def test_with_another_name_the_old_one_goes(
    springline: Operator, team: Team, *, is_down: bool
) -> None:
    """Also if the name was changed while Springline was down."""
    await published(team)
    if is_down:
        await asyncio.to_thread(springline.stop)
    await team.declare_connections("orders", binding={"secretName": "other"})
    if is_down:
        await asyncio.to_thread(springline.start)
    await until_password(team, team.tenant.secret, "other")

    async def is_gone() -> bool:
        return not await team.get("secrets", "orders-binding")

    await until(is_gone, "the old Secret is deleted")
    await team.until(
        "orders", lambda status: status.get("binding") == {"name": "other"}, "the name is told"
    )


async def test_without_a_declared_binding_it_goes(team: Team) -> None:
    """And nothing in the status speaks of it."""
    await published(team)
    # Applied by the same manager, so what is left out is taken away.
    await team.declare_connections("orders")

    async def is_gone() -> bool:
        return not await team.get("secrets", "orders-binding")

    await until(is_gone, "the Secret is deleted")
    await team.until(
        "orders",
        lambda status: (
            condition(status, "BindingPublished") == ("", "") and "binding" not in status
        ),
        "the status is silent",
    )


# Rights ------------------------------------------------------------------------------------------


async def test_without_the_right_it_says_what_to_do(
    team: Team, configured: Callable[..., None], springline: Operator
) -> None:
    """The session is ready all the same, and what was written stays."""
    await asyncio.to_thread(configured, binding={"enabled": False})
    await springline.until_ready()
    await team.declare("orders", binding=BINDING)
    status = await team.until_condition("orders", "BindingPublished", "False", "BindingFailed")
    assert "binding.enabled" in str(status["conditions"])
    await team.until_ready("orders")
    await team.until_events("orders", "BindingFailed")
    assert not await team.get("secrets", "orders-binding")
