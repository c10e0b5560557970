"""Tokens of an OAuth 2 server in a cluster: what is renewed, what is told, and what it costs."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from support.apiserver import APIServer
from support.identities import TRUST_IN_TOKENS
from support.operator_process import OperatorProcess
from support.ports import LOOPBACK
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.shared_broker import SharedBroker
from support.team import CONNECTIONS, RETRY, Team, condition
from support.token_server import Registered, TokenServer, answer, serving
from support.waiting import eventually

CLIENT_SECRET = "pl4nted-client-secret"
FLEET = [f"orders-{number:02}" for number in range(50)]
UNAVAILABLE = answer("<html>the gateway is away</html>", status=503)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """A broker that takes the tokens."""
    try:
        node = RabbitMQNode(
            tmp_path_factory.mktemp("oauth2"),
            plugins=("rabbitmq_auth_backend_oauth2",),
            extra_config={
                "auth_backends.1": "internal",
                "auth_backends.2": "rabbit_auth_backend_oauth2",
            },
            advanced_config=TRUST_IN_TOKENS,
        )
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with node:
        yield node


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    """An OAuth 2 server with one client."""
    async with serving({"orders": Registered(secret=CLIENT_SECRET)}) as server:
        yield server


@pytest.fixture
async def orders(team: Team, node: RabbitMQNode) -> Team:
    """The team at that broker."""
    return team.at(SharedBroker(administration=node, host=LOOPBACK, port=node.amqp_port))


@pytest.fixture(autouse=True)
async def nothing_told(
    orders: Team, tokens: TokenServer, process: OperatorProcess
) -> AsyncIterator[None]:
    """Neither the client's secret nor a token is in a log, an Event, a status or a metric."""
    yield
    told = [str(await orders.get(plural, "")) for plural in (CONNECTIONS, "brokers", "events")]
    told += [process.output, (await asyncio.to_thread(process.get, "/metrics")).text]
    for planted in (CLIENT_SECRET, *tokens.tokens):
        assert not any(planted in text for text in told)


async def declare(orders: Team, tokens: TokenServer, *names: str, renew_at: str = "40%") -> None:
    """Declare connections that share one client of the OAuth 2 server."""
    secret = {"client-id": "orders", "client-secret": CLIENT_SECRET}
    authority = {"ca.crt": tokens.ca.decode()}
    await orders.apply("secrets", core("Secret", "client", stringData=secret))
    await orders.apply("configmaps", core("ConfigMap", "authority", data=authority))
    await orders.apply("brokers", orders.rabbit.document(retry=RETRY))
    oauth2 = {
        "tokenURL": tokens.url,
        "clientRef": {"name": "client"},
        "caRef": {"name": "authority"},
        "audience": "rabbitmq",
    }
    await orders.declare_connections(
        *names,
        virtualHost="/",
        credentials={"oauth2": oauth2},
        rotation={"renewAt": renew_at},
    )


def core(kind: str, name: str, **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}


def method(status: dict[str, Any]) -> str:
    return str(status.get("credentials", {}).get("method"))


async def test_fifty_connections_get_a_new_token_in_place(
    orders: Team, tokens: TokenServer, process: OperatorProcess, apiserver: APIServer
) -> None:
    """One request for the token, the same connections, one write of each status, and no Events."""
    tokens.seconds = 60
    await declare(orders, tokens, *FLEET)
    await orders.until_ready(*FLEET)
    before = await orders.held()
    assert len(before) == len(FLEET)
    user = f"system:serviceaccount:{process.namespace}:springline"

    def writes() -> Counter[str]:
        return Counter(
            each.name
            for each in apiserver.audit()
            if (each.user, each.resource, each.subresource, each.namespace)
            == (user, CONNECTIONS, "status", orders.namespace)
        )

    for name in FLEET:
        status = await orders.until(name, lambda status: method(status) == "InPlace", "renewed")
        assert condition(status, "Ready") == ("True", "Connected")
        assert condition(status, "CredentialsValid") == ("True", "Verified")
        assert status["credentials"]["username"] == "ann"
    assert await orders.held() == before
    assert len(tokens.requests) == 2
    await eventually(lambda: writes().total() >= 2 * len(FLEET), what="the log is complete")
    assert writes() == Counter(dict.fromkeys(FLEET, 2))
    assert {reason for _, reason in await orders.events()} == {"Connected"}


async def test_an_oauth2_server_that_stays_away_is_told_in_time_and_then_mended(
    orders: Team, node: RabbitMQNode, tokens: TokenServer
) -> None:
    """A warning while the token is valid, the truth when it is not.

    No connection is lost, unless the broker closes those whose token has expired.
    """
    ends = node.ends_expired
    tokens.seconds = 15
    await declare(orders, tokens, "orders", renew_at="20%")
    await orders.until_ready("orders")
    before = await orders.held()
    tokens.otherwise = UNAVAILABLE
    status = await orders.until_condition("orders", "CredentialsValid", "True", "Expiring")
    assert condition(status, "Ready") == ("True", "Connected")
    [event] = await orders.until_events("orders", "Expiring")
    assert event["type"] == "Warning"
    if ends:
        status = await orders.until_condition("orders", "Connected", "False", "NoCredentials")
        assert condition(status, "Ready") == ("False", "TokenRequestFailed")
        assert "credential expired" in status["lastClose"]["text"]
    else:
        status = await orders.until_condition("orders", "CredentialsValid", "False", "Expired")
        assert condition(status, "Ready") == ("False", "Expired")
        assert condition(status, "Connected") == ("True", "Open")
    await orders.until_events("orders", "Expired")
    tokens.seconds = 600
    tokens.otherwise = None
    said = "Accepted" if ends else "Verified"  # by a handshake of the session, or by one before
    await orders.until_condition("orders", "CredentialsValid", "True", said)
    assert (await orders.held() == before) is not ends


async def test_a_client_that_is_not_known_is_told_with_the_servers_words(
    orders: Team, tokens: TokenServer
) -> None:
    """And recovers when the Secret is corrected."""
    client = tokens.clients.pop("orders")
    await declare(orders, tokens, "orders")
    status = await orders.until_condition(
        "orders", "CredentialsValid", "False", "TokenRequestFailed"
    )
    [message] = [
        each["message"] for each in status["conditions"] if each["type"] == "CredentialsValid"
    ]
    assert "invalid_client" in message
    assert 'Secret "client"' in message
    tokens.clients["someone"] = client
    secret = {"client-id": "someone", "client-secret": CLIENT_SECRET}
    await orders.apply("secrets", core("Secret", "client", stringData=secret))
    await orders.until_ready("orders")
    assert CLIENT_SECRET not in json.dumps(await orders.status("orders"))
