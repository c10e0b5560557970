"""Logging in with tokens of ServiceAccounts, at a broker that trusts the API server for them.

The broker has the configuration of docs/service-account-tokens.md, and the keys of the tokens from
the API server. What a ServiceAccount may do there is settled in one of two ways: by scopes in the
configuration, or by the permissions of a user that is called like the ServiceAccount.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from support import erlang
from support.apiserver import APIServer
from support.kubectl import Kubectl
from support.markdown import Page
from support.operators import Operator
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.shared_broker import SharedBroker
from support.team import RETRY, Held, Team, condition
from support.waiting import eventually

AUDIENCE = "rabbitmq"
# What the header of a token that the API server has signed begins with, and so every such token:
# {"alg":"RS256","kid":"
TOKEN = "eyJhbGciOiJSUzI1NiIsImtpZCI6"

PAGE = Page(Path(__file__).resolve().parents[2] / "docs" / "service-account-tokens.md")


def shown(language: str) -> list[str]:
    """What the page shows in a language, in its order."""
    return [block.text for block in PAGE.blocks if block.language == language]


def config(text: str) -> dict[str, str]:
    """Keys and values of a rabbitmq.conf."""
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {key.strip(): value.strip() for key, _, value in (line.partition("=") for line in lines)}


def manifest(kind: str) -> str:
    """What the page shows that declares an object of a kind."""
    [text] = [text for text in shown("yaml") if f"kind: {kind}\n" in text]
    return text


OAUTH2, OF_ALIASES, OF_USERS = (config(text) for text in shown("ini"))
[ALIASES] = shown("erlang")


class Trusting(ABC):
    """A broker that takes tokens of ServiceAccounts, and how it knows what they may do."""

    config: Mapping[str, str]
    advanced: str | None = None

    def __init__(self, node: RabbitMQNode) -> None:
        self.node = node
        self.broker = SharedBroker(administration=node, host=LOOPBACK, port=node.amqp_port)

    @abstractmethod
    def allow(self, subject: str, vhost: str) -> None:
        """Let a ServiceAccount do everything in a virtual host."""

    @abstractmethod
    def withdraw(self, subject: str, vhost: str) -> None:
        """Take that back."""


class ByAliases(Trusting):
    """Scopes stand for the subject in the configuration."""

    config = OF_ALIASES
    advanced = ALIASES

    def allow(self, subject: str, vhost: str) -> None:
        scopes = ",".join(
            erlang.binary(f"{AUDIENCE}.{what}:{vhost}/*") for what in ("configure", "write", "read")
        )
        self._set(f"#{{{erlang.binary(subject)} => [{scopes}]}}")

    def withdraw(self, subject: str, vhost: str) -> None:  # noqa: ARG002 - there is no other
        self._set("#{}")

    def _set(self, aliases: str) -> None:
        self.node.eval(
            f"application:set_env(rabbitmq_auth_backend_oauth2, scope_aliases, {aliases})"
        )


class ByUsers(Trusting):
    """The token only tells who it is; a user without a password has the permissions."""

    def __init__(self, node: RabbitMQNode) -> None:
        super().__init__(node)
        self._users: set[str] = set()

    config = OF_USERS

    def allow(self, subject: str, vhost: str) -> None:
        if subject not in self._users:
            self._users.add(subject)
            self.node.add_user(subject, "")
        self.node.set_permissions(subject, vhost)

    def withdraw(self, subject: str, vhost: str) -> None:
        self.node.clear_permissions(subject, vhost)


@pytest.fixture(scope="module")
def _keys_for_everybody(kubectl: Kubectl) -> Iterator[None]:
    """Let the broker ask for the keys of tokens without logging in."""
    text = manifest("ClusterRoleBinding")
    kubectl.run("apply", "--filename=-", given=text)
    yield
    kubectl.run("delete", "--filename=-", given=text)


@pytest.fixture(scope="module", params=[ByAliases, ByUsers], ids=["aliases", "users"])
def trusting(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    cluster: APIServer,
    _keys_for_everybody: None,
) -> Iterator[Trusting]:
    """A private node of each kind."""
    way: type[Trusting] = request.param
    url = OAUTH2["auth_oauth2.jwks_url"]
    here = {
        "auth_oauth2.jwks_url": url.replace("kubernetes.default.svc", f"localhost:{cluster.port}"),
        "auth_oauth2.https.cacertfile": str(cluster.certificate),
    }
    try:
        node = RabbitMQNode(
            tmp_path_factory.mktemp("trusting"),
            plugins=["rabbitmq_auth_backend_oauth2"],
            extra_config={**way.config, **OAUTH2, **here},
            advanced_config=way.advanced,
        )
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with node:
        yield way(node)


by_aliases = pytest.mark.parametrize("trusting", [ByAliases], ids=["aliases"], indirect=True)


@pytest.fixture
async def issuing(configured: Callable[..., None], springline: Operator) -> Operator:
    """The operator, with the permission to create tokens."""
    await allow_tokens(configured, springline)
    return springline


async def allow_tokens(configured: Callable[..., None], springline: Operator) -> None:
    await asyncio.to_thread(configured, serviceAccountTokens={"enabled": True})
    await springline.until_ready()


@pytest.fixture
async def orders(team: Team, kubectl: Kubectl, trusting: Trusting) -> AsyncIterator[Team]:
    """A team with a ServiceAccount, which may use a virtual host at the broker that trusts it.

    No token of it is anywhere, and there is no Secret at all.
    """
    team = team.at(trusting.broker)
    create_account(kubectl, team)
    vhost = team.tenant.vhost
    await asyncio.to_thread(trusting.node.add_vhost, vhost)
    await asyncio.to_thread(trusting.allow, subject(team), vhost)
    await team.apply("brokers", team.rabbit.document(retry=RETRY))
    yield team
    for plural in ("brokerconnections", "brokers", "events"):
        assert TOKEN not in str(await team.get(plural, ""))
    assert (await team.get("secrets", ""))["items"] == []
    await team.delete("brokerconnections")
    await asyncio.to_thread(trusting.node.delete_vhost, vhost)


@pytest.fixture(autouse=True)
def _tokens_are_planted(springline: Operator) -> None:
    """The operator's output is searched for them at the end."""
    springline.plant(TOKEN)


def create_account(kubectl: Kubectl, team: Team, name: str = "orders") -> None:
    kubectl.run("create", "serviceaccount", name, f"--namespace={team.namespace}")


def delete_account(kubectl: Kubectl, team: Team, name: str = "orders") -> None:
    kubectl.run("delete", "serviceaccount", name, f"--namespace={team.namespace}")


def subject(team: Team, name: str = "orders") -> str:
    """Whom the tokens are of, and what the user at the broker is called."""
    return f"system:serviceaccount:{team.namespace}:{name}"


def credentials(name: str = "orders", **fields: Any) -> dict[str, Any]:
    return {"serviceAccount": {"name": name, "audience": AUDIENCE, **fields}}


async def declare(team: Team, **spec: Any) -> None:
    await team.declare_connections("orders", **{"credentials": credentials(), **spec})


async def ready(team: Team, **spec: Any) -> list[Held]:
    """Declare the connection, and return what the broker holds once it is ready."""
    await declare(team, **spec)
    await team.until_ready("orders")
    return await team.until_held("orders")


def renewed_early(**fields: Any) -> dict[str, Any]:
    """A spec whose token is renewed seconds after it was issued: 1 % of its ten minutes."""
    return {
        "credentials": credentials(expiration="10m", **fields),
        "rotation": {"renewAt": "1%"},
    }


def message(status: dict[str, Any], kind: str) -> str:
    return str(next(each["message"] for each in status["conditions"] if each["type"] == kind))


# Logging in --------------------------------------------------------------------------------------


@pytest.mark.usefixtures("issuing")
async def test_a_service_account_logs_in_with_a_token(
    orders: Team, trusting: Trusting, springline: Operator
) -> None:
    """There is no Secret; status shows who it is and until when, and nothing shows the token."""
    await ready(orders)
    status = await orders.until_condition("orders", "Blocked", "False", "NotBlocked")
    shown = status["credentials"]
    assert shown["source"] == "serviceAccount"
    assert shown["username"] == subject(orders)
    assert "observedVersion" not in shown
    lifetime = datetime.fromisoformat(shown["expiresAt"]) - datetime.fromisoformat(
        status["connectedSince"]
    )
    assert 3500 < lifetime.total_seconds() <= 3600
    connections = await asyncio.to_thread(trusting.node.connections)
    assert {each.user for each in connections} == {subject(orders)}
    assert TOKEN not in springline.get("/metrics").text
    assert TOKEN not in springline.output


@pytest.mark.usefixtures("issuing")
async def test_another_service_account_is_not_let_in(orders: Team, kubectl: Kubectl) -> None:
    """Every ServiceAccount of the cluster can log in; that does not let it do anything."""
    create_account(kubectl, orders, "other")
    await declare(orders, credentials=credentials("other"))
    status = await orders.until_condition("orders", "Ready", "False", "AccessRefused")
    assert await orders.held() == []
    assert condition(status, "Connected") == ("False", "AccessRefused")


@by_aliases
@pytest.mark.usefixtures("issuing")
async def test_a_token_for_somebody_else_is_refused(orders: Team) -> None:
    """The broker takes only tokens for itself, that is for its `resource_server_id`."""
    elsewhere = credentials(audience="somebody-else")
    await declare(orders, credentials=elsewhere)
    await orders.until_condition("orders", "CredentialsValid", "False", "Rejected")
    assert await orders.held() == []


@pytest.mark.usefixtures("issuing")
async def test_permissions_that_are_withdrawn_refuse_the_next_session(
    orders: Team, trusting: Trusting, kubectl: Kubectl
) -> None:
    """The live one stays; the next one is refused until it is permitted again."""
    held = await ready(orders)
    await asyncio.to_thread(trusting.withdraw, subject(orders), orders.tenant.vhost)
    assert await orders.held() == held
    request = {"springline.dev/reconnect-requested-at": "2026-11-21T08:00:00Z"}
    kubectl.annotate("bconn", "orders", namespace=orders.namespace, **request)
    await orders.until_condition("orders", "Ready", "False", "AccessRefused")
    await asyncio.to_thread(trusting.allow, subject(orders), orders.tenant.vhost)
    await orders.until_ready("orders")
    await orders.until_held("orders", other_than=held)


# Who gives the tokens ----------------------------------------------------------------------------


@by_aliases
async def test_a_missing_permission_is_named_until_it_is_given(
    orders: Team, configured: Callable[..., None], springline: Operator
) -> None:
    """It is off by default; the message has the value of the chart that gives it."""
    await declare(orders)
    status = await orders.until_condition(
        "orders", "CredentialsValid", "False", "TokenRequestFailed"
    )
    assert condition(status, "Ready") == ("False", "TokenRequestFailed")
    assert "serviceAccountTokens.enabled" in message(status, "CredentialsValid")
    assert await orders.held() == []
    await allow_tokens(configured, springline)
    await orders.until_ready("orders")


@by_aliases
@pytest.mark.usefixtures("issuing")
async def test_a_missing_service_account_is_named_until_it_is_created(
    orders: Team, kubectl: Kubectl
) -> None:
    delete_account(kubectl, orders)
    await declare(orders)
    status = await orders.until_condition(
        "orders", "CredentialsValid", "False", "TokenRequestFailed"
    )
    expected = f'there is no ServiceAccount "orders" in namespace "{orders.namespace}"; create it'
    assert expected in message(status, "CredentialsValid")
    create_account(kubectl, orders)
    await orders.until_ready("orders")


@by_aliases
@pytest.mark.usefixtures("issuing")
async def test_connections_of_a_namespace_share_a_token(orders: Team, apiserver: APIServer) -> None:
    """What is declared alike is asked for once."""

    def asked() -> int:
        return apiserver.requests("serviceaccounts", verb="POST", subresource="token")

    before = asked()
    names = [f"orders-{number}" for number in range(5)]
    await orders.declare_connections(*names, credentials=credentials())
    await orders.until_ready(*names)
    assert asked() - before == 1


@by_aliases
async def test_other_audiences_can_be_forbidden(
    orders: Team, kubectl: Kubectl, cluster: APIServer
) -> None:
    """By the policy that the page shows, with a sentence that says so."""
    policy = manifest("ValidatingAdmissionPolicy")
    path = f"/apis/springline.dev/v1alpha1/namespaces/{orders.namespace}/brokerconnections"

    def refusal(audience: str) -> str:
        wanted = orders.connection("tried", credentials=credentials(audience=audience))
        answer = cluster.request("POST", f"{path}?dryRun=All", wanted)
        return "" if answer.code == 201 else answer.message

    kubectl.run("apply", "--filename=-", given=policy)
    try:
        what = "the policy is in force"
        said = await eventually(lambda: refusal("https://kubernetes.default.svc"), what=what)
        assert "the audience of credentials.serviceAccount must be rabbitmq" in said
        assert refusal(AUDIENCE) == ""
    finally:
        kubectl.run("delete", "--filename=-", given=policy)


# Renewing them -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("issuing")
async def test_a_token_is_renewed_in_place_before_it_expires(orders: Team) -> None:
    """The same connection goes on with the new one. That is routine, and no Event."""
    held = await ready(orders, **renewed_early())
    first = (await orders.status("orders"))["credentials"]["expiresAt"]
    status = await orders.until(
        "orders",
        lambda status: (
            status["credentials"]["expiresAt"] > first
            and status["credentials"]["method"] == "InPlace"
            and condition(status, "Ready")[0] == "True"
        ),
        "a new token is in use",
    )
    assert condition(status, "CredentialsValid") == ("True", "Verified")
    assert status["credentials"]["username"] == subject(orders)
    assert await orders.held() == held
    assert ("orders", "SecretUpdated") not in await orders.events()


@by_aliases
@pytest.mark.usefixtures("issuing")
async def test_a_deleted_service_account_is_told_at_the_next_renewal(
    orders: Team, kubectl: Kubectl
) -> None:
    """The session stays, for its token is still valid; one of the new ServiceAccount renews it."""
    held = await ready(orders, **renewed_early())
    delete_account(kubectl, orders)
    status = await orders.until_condition("orders", "CredentialsValid", "True", "Expiring")
    assert condition(status, "Ready")[0] == "True"
    assert "there is no ServiceAccount" in message(status, "CredentialsValid")
    await orders.until_events("orders", "Expiring")
    assert await orders.held() == held
    create_account(kubectl, orders)
    await orders.until_condition("orders", "CredentialsValid", "True", "Verified")
    assert await orders.held() == held
