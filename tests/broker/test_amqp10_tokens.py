"""Tokens on AMQP 1.0 connections of RabbitMQ from 4.1 on, renewed in place again and again.

Lifetimes are seconds here; nothing waits for a time, only for what is to be seen.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from springline.core.events import EventType
from springline.errors import SecretRefusedError
from support import brokers, leaks, opening, token_server
from support.amqp10_opening import opened, request
from support.identities import Issuer
from support.opening import Recorder
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.running import Running, a_broker, a_connection, running
from support.token_broker import taking_tokens
from support.token_server import Registered, TokenServer, nothing_logged, serving
from support.waiting import PATIENCE, eventually

pytestmark = [pytest.mark.broker, pytest.mark.usefixtures("nothing_left_of_tokens")]

CLIENT_SECRET = "pl4nted-client-secret"
GARBAGE = "pl4nted-garbage-that-is-no-token"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """The newest RabbitMQ, which takes tokens."""
    try:
        taking = taking_tokens(tmp_path_factory.mktemp("tokens"), on=brokers.newer().environment)
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with taking:
        yield taking


@pytest.fixture
async def nothing_left_of_tokens(node: RabbitMQNode) -> AsyncIterator[None]:  # noqa: ARG001 - it runs before
    async with leaks.checked():
        yield


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    """An OAuth 2 server with one client, whose tokens last as long as the test says."""
    async with serving({"orders": Registered(secret=CLIENT_SECRET)}) as server:
        yield server


def secret(name: str, **values: str) -> dict[str, Any]:
    """Return a Secret."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}


def declared(
    node: RabbitMQNode, tokens: TokenServer, *names: str, renew_at: str = "25%", **spec: Any
) -> list[dict[str, Any]]:
    """The documents of connections that share one client of the OAuth 2 server."""
    credentials, objects = token_server.declared(tokens, secret=CLIENT_SECRET)
    return [
        a_broker(node.amqp_port, protocol="amqp10"),
        *objects,
        *(
            a_connection(
                name,
                credentials=credentials,
                rotation={"renewAt": renew_at},
                **spec,
            )
            for name in names
        ),
    ]


async def test_two_hundred_sessions_outlive_their_tokens_without_losing_one(
    node: RabbitMQNode, tokens: TokenServer, caplog: pytest.LogCaptureFixture
) -> None:
    names = [f"fleet-{number}" for number in range(200)]
    tokens.seconds = 12
    with nothing_logged(tokens, caplog, CLIENT_SECRET):
        async with running(*declared(node, tokens, *names)) as held:
            await held.until_ready(*names)
            since = {name: held.status(name)["connectedSince"] for name in names}

            def renewed(name: str) -> bool:
                return held.types(name).count(EventType.SECRET_UPDATED) >= 1

            # By then the first ones are over: each is renewed after a quarter of its life.
            await eventually(lambda: len(tokens.requests) >= 7, what="seven tokens are issued")
            await eventually(lambda: all(map(renewed, names)), what="all are renewed")
            assert {name: held.status(name)["connectedSince"] for name in names} == since
            assert not {event.type for event in held.events} & {
                EventType.DISCONNECTED,
                EventType.SESSION_REPLACED,
            }
            await eventually(lambda: all(map(held.is_ready, names)), what="all are ready")


async def test_a_token_that_nobody_renews_ends_the_session_and_is_told_so(
    node: RabbitMQNode,
) -> None:
    token = Issuer().token(seconds=6)
    async with running(*with_token(node, token)) as held:
        await held.until_ready("orders")
        await held.until_reason("orders", "CredentialsValid", "Expired")
        assert token not in str(held.status("orders"))


async def test_a_garbage_token_is_refused_on_a_handshake_and_the_session_stays(
    node: RabbitMQNode,
) -> None:
    async with running(*with_token(node, Issuer().token())) as held:
        await held.until_ready("orders")
        since = held.status("orders")["connectedSince"]
        held.apply(*with_token(node, GARBAGE))
        await held.until_reason("orders", "CredentialsValid", "Rejected")
        assert held.status("orders")["connectedSince"] == since
        assert GARBAGE not in shown(held)


@pytest.mark.parametrize(
    "refused",
    [GARBAGE, Issuer().token(key="another-key-than-the-broker-s-own"), Issuer().token("bob")],
    ids=["garbage", "signature", "subject"],
)
async def test_a_token_that_is_sent_and_refused_costs_the_connection_and_is_never_shown(
    node: RabbitMQNode, refused: str, caplog: pytest.LogCaptureFixture
) -> None:
    """RabbitMQ answers 204 and closes, in either order, and may quote the token in doing so."""
    asked = request(node.amqp_port, credential=opening.token(Issuer().token()), timeout=30.0)
    async with opened(asked) as connection:
        recorder = Recorder()
        connection.observe(recorder)
        with pytest.raises(SecretRefusedError) as failed:
            await connection.renew(opening.token(refused), timeout=PATIENCE)
        await eventually(lambda: recorder.closes, what="the end is told")
    told = f"{failed.value} {recorder.closes} {caplog.text}"
    assert "amqp:unauthorized-access" in told
    assert refused not in told


async def test_a_token_is_renewed_in_place(node: RabbitMQNode) -> None:
    """The connection outlives the token that it was opened with."""
    asked = request(
        node.amqp_port, credential=opening.token(Issuer().token(seconds=8)), timeout=30.0
    )
    async with opened(asked) as connection:
        assert connection.cannot_renew == ""
        await connection.renew(opening.token(Issuer().token()), timeout=PATIENCE)
        loop = asyncio.get_running_loop()
        until = loop.time() + 9
        await eventually(lambda: loop.time() > until or not connection.is_open)
        assert connection.is_open


def with_token(node: RabbitMQNode, token: str, **spec: Any) -> list[dict[str, Any]]:
    """The documents of one connection with a token in a Secret."""
    return [
        a_broker(node.amqp_port, protocol="amqp10"),
        secret("orders", token=token),
        a_connection(
            "orders", credentials={"tokenRef": {"name": "orders", "key": "token"}}, **spec
        ),
    ]


def shown(held: Running) -> str:
    """Everything that was told."""
    return f"{held.status('orders')} {held.events}"
