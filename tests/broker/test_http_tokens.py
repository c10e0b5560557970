"""Tokens of OAuth 2 shown to RabbitMQ's management interface: renewed, expired, refused.

Each version of it takes the tokens that its broker takes, of whoever has one of its tags.
"""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from springline.core.events import EventType
from support import token_server
from support.identities import TRUST_IN_TOKENS, Issuer
from support.rabbitmq import RabbitMQMissing, RabbitMQNode
from support.running import Running, a_broker, a_connection, running
from support.token_server import Registered, TokenServer, answer, nothing_logged, serving
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("nothing_left")

CLIENT_SECRET = "pl4nted-client-secret"
WATCHER = ["rabbitmq.tag:monitoring"]
ALARMS = {"path": "/api/health/checks/alarms"}
UNAVAILABLE = answer("<html>the gateway is away</html>", status=503)


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitMQNode]:
    """A node with the plugin that takes tokens."""
    try:
        managed = RabbitMQNode(
            tmp_path_factory.mktemp("management"),
            plugins=("rabbitmq_auth_backend_oauth2",),
            extra_config={
                "auth_backends.1": "internal",
                "auth_backends.2": "rabbit_auth_backend_oauth2",
            },
            advanced_config=TRUST_IN_TOKENS,
            management=True,
        )
    except RabbitMQMissing as error:
        pytest.skip(str(error))
    with managed:
        yield managed


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    """An OAuth 2 server whose tokens are for who may look."""
    async with serving({"orders": Registered(secret=CLIENT_SECRET)}) as server:
        server.claims = {"scope": WATCHER}
        yield server


@pytest.fixture(autouse=True)
def nothing_told(tokens: TokenServer, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No token and no client secret is in the log, whatever the test does."""
    with nothing_logged(tokens, caplog, CLIENT_SECRET):
        yield


def declared(
    node: RabbitMQNode, credentials: dict[str, Any], *others: dict[str, Any], **spec: Any
) -> list[dict[str, Any]]:
    """The documents of a session that asks who it is, and whether there is an alarm."""
    return [
        a_broker(node.http_port, protocol="http"),
        a_connection(
            "orders",
            credentials=credentials,
            http={"path": "/api/whoami", "blockedWhen": ALARMS},
            **spec,
        ),
        *others,
    ]


def with_client(node: RabbitMQNode, tokens: TokenServer, **spec: Any) -> list[dict[str, Any]]:
    """The documents of a session whose tokens Springline asks for."""
    credentials, objects = token_server.declared(tokens, secret=CLIENT_SECRET)
    return declared(node, credentials, *objects, **spec)


def with_token(node: RabbitMQNode, token: str) -> list[dict[str, Any]]:
    """The documents of a session whose token somebody else renews."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}}
    return declared(
        node, {"tokenRef": {"name": "token"}}, {**secret, "stringData": {"token": token}}
    )


def shown(held: Running) -> str:
    """Everything that is told of the session."""
    return str(held.status("orders")) + repr(held.events)


async def test_a_token_is_shown_and_renewed_again_and_again_in_one_session(
    node: RabbitMQNode, tokens: TokenServer
) -> None:
    """Each one counts from the next request on, and alarms are seen with it."""
    tokens.seconds = 20
    documents = with_client(node, tokens, rotation={"renewAt": "10%"})
    async with running(*documents) as held:
        await held.until_ready("orders")
        status = held.status("orders")
        assert status["negotiated"]["mechanism"] == "BEARER"
        assert status["credentials"]["username"] == "ann"
        await eventually(lambda: held.types("orders").count(EventType.SECRET_UPDATED) >= 3)
        assert held.status("orders")["credentials"]["method"] == "InPlace"
        assert held.status("orders")["connectedSince"] == status["connectedSince"]
        node.set_alarm("memory")
        try:
            await held.until_reason("orders", "Blocked", "LowOnMemory")
        finally:
            node.clear_alarm("memory")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert held.types("orders").count(EventType.CONNECTED) == 1
        assert EventType.DISCONNECTED not in held.types("orders")
        assert not any(token in shown(held) for token in tokens.tokens)


async def test_an_expired_token_ends_the_session_and_is_said_to_have_expired(
    node: RabbitMQNode,
) -> None:
    """The next one opens it again."""
    first, second = (Issuer().token(seconds=each, scope=WATCHER) for each in (5, 600))
    async with running(*with_token(node, first)) as held:
        await held.until_ready("orders")
        await held.until_reason("orders", "Connected", "AccessRefused")
        await held.until_reason("orders", "CredentialsValid", "Expired")
        close = held.status("orders")["lastClose"]
        assert (close["by"], close["reason"], close["code"]) == ("Server", "AccessRefused", 401)
        assert close["text"].startswith("GET /api/whoami was answered 401 Unauthorized: ")
        held.apply(*with_token(node, second))
        await held.until_ready("orders")
        assert not any(token in shown(held) for token in (first, second))


async def test_a_token_that_expires_while_none_can_be_had_is_mended_by_the_next_one(
    node: RabbitMQNode, tokens: TokenServer
) -> None:
    """Whose clock is ahead, so that its end is known here before the broker sees it."""
    tokens.seconds, tokens.skew = 6, 2
    async with running(*with_client(node, tokens)) as held:
        await held.until_ready("orders")
        tokens.otherwise = UNAVAILABLE
        await eventually(lambda: EventType.CREDENTIALS_EXPIRED in held.types("orders"))
        await held.until_reason("orders", "Connected", "NoCredentials")
        assert held.condition("orders", "Ready")["reason"] == "TokenRequestFailed"
        tokens.seconds, tokens.otherwise = 600, None
        await held.until_ready("orders")
        assert held.types("orders").count(EventType.CREDENTIALS_EXPIRED) == 1


async def test_a_token_that_is_over_before_it_says_so_is_replaced(
    node: RabbitMQNode, tokens: TokenServer
) -> None:
    """Its issuer's clock is an hour behind. The management interface does not say `expired`."""
    tokens.seconds, tokens.skew = 3600, -3594
    async with running(*with_client(node, tokens)) as held:
        await held.until_ready("orders")
        tokens.skew = 0
        await eventually(lambda: len(tokens.requests) > 1)
        await held.until_ready("orders")
        [closed] = [each for each in held.events if each.type is EventType.DISCONNECTED]
        assert "401 Unauthorized" in closed.message
        assert len(tokens.requests) == 2


async def test_a_token_that_is_refused_is_replaced_by_another_one(
    node: RabbitMQNode, tokens: TokenServer
) -> None:
    bad = Issuer().token(key="another-key-0123456789abcdef0123456789abcdef", scope=WATCHER)
    tokens.then(answer({"access_token": bad, "token_type": "Bearer", "expires_in": 3600}))
    async with running(*with_client(node, tokens)) as held:
        await held.until_ready("orders")
        assert tokens.seen == 2
        assert bad not in shown(held)


async def test_a_token_without_a_tag_is_refused_and_status_says_why(node: RabbitMQNode) -> None:
    async with running(*with_token(node, Issuer().token())) as held:
        message = await held.until_reason("orders", "Connected", "AccessRefused")
        assert "401 Unauthorized: Not management user" in message
        held.apply(*with_token(node, Issuer().token(scope=WATCHER)))
        await held.until_ready("orders")
