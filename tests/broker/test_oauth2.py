"""Tokens from an OAuth 2 server with a private authority, and a broker that takes them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from support.identities import Issuer
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection, running
from support.token_server import Registered, TokenServer, answer, serving

SECRET = "pl4nted: 100%"


@pytest.fixture
async def server(nothing_left: None) -> AsyncIterator[TokenServer]:  # noqa: ARG001 - begins before it
    """A token endpoint that knows the client `orders`."""
    async with serving({"orders": Registered(secret=SECRET)}) as running_server:
        yield running_server


def declared(
    node: RabbitMQNode, server: TokenServer, *names: str, secret: str = SECRET, **fields: Any
) -> list[dict[str, Any]]:
    """The documents of connections that all log in as the same client."""
    oauth2 = {
        "tokenURL": server.url,
        "clientRef": {"name": "orders-client"},
        "audience": "rabbitmq",
        "caRef": {"name": "idp-ca"},
        **fields,
    }
    return [
        a_broker(node.amqp_port),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders-client"},
            "stringData": {"client-id": "orders", "client-secret": secret},
        },
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "idp-ca"},
            "data": {"ca.crt": server.ca.decode()},
        },
        *(a_connection(name, credentials={"oauth2": oauth2}) for name in names),
    ]


@pytest.mark.parametrize("method", ["Basic", "Post"])
async def test_a_connection_is_ready_with_a_token_of_its_client(
    broker: RabbitMQNode, server: TokenServer, method: str
) -> None:
    """Status shows whose the token is and when it ends, and not the token."""
    documents = declared(broker, server, "orders", clientAuthentication=method)
    async with running(*documents) as held:
        await held.until_ready("orders")
        credentials = held.status("orders")["credentials"]
        assert credentials["source"] == "oauth2"
        assert credentials["username"] == "ann"
        assert credentials["observedVersion"]
        assert credentials["expiresAt"] is not None
        assert held.condition("orders", "CredentialsValid")["status"] == "True"
        assert server.requests[0].method == method
        shown = str(held.status("orders")) + repr(held.events)
        assert server.tokens[0] not in shown
        assert "pl4nted" not in shown


async def test_connections_of_one_client_share_a_token(
    broker: RabbitMQNode, server: TokenServer
) -> None:
    names = [f"orders-{number}" for number in range(20)]
    async with running(*declared(broker, server, *names)) as held:
        await held.until_ready(*names)
        assert len(server.requests) == 1


async def test_a_wrong_client_secret_is_told_and_corrected(
    broker: RabbitMQNode, server: TokenServer
) -> None:
    async with running(*declared(broker, server, "orders", secret="pl4nted and wrong")) as held:
        message = await held.until_reason("orders", "CredentialsValid", "TokenRequestFailed")
        assert "refused: 401 invalid_client" in message
        assert 'check client id and client secret in Secret "orders-client"' in message
        assert held.condition("orders", "Connected")["reason"] == "NoCredentials"
        assert "pl4nted" not in str(held.status("orders")) + repr(held.events)
        held.apply(*declared(broker, server, "orders"))
        await held.until_ready("orders")


async def test_a_server_that_is_down_is_asked_again(
    broker: RabbitMQNode, server: TokenServer
) -> None:
    """The connection becomes Ready by itself when the server is back."""
    server.otherwise = answer("", status=503)
    async with running(*declared(broker, server, "orders")) as held:
        message = await held.until_reason("orders", "CredentialsValid", "TokenRequestFailed")
        assert "cannot give a token now: 503" in message
        server.otherwise = None
        await held.until_ready("orders")


async def test_a_token_that_the_broker_refuses_is_replaced_by_another_one(
    broker: RabbitMQNode, server: TokenServer, issuer: Issuer
) -> None:
    """It is valid for as long as it says, and yet worth nothing: no need to wait for its end."""
    bad = issuer.token(key="another-key-0123456789abcdef0123456789abcdef")
    server.then(answer({"access_token": bad, "token_type": "Bearer", "expires_in": 3600}))
    async with running(*declared(broker, server, "orders")) as held:
        await held.until_ready("orders")
        assert server.seen == 2
        assert bad not in str(held.status("orders")) + repr(held.events)
