"""Tokens that an OAuth 2 server issues, renewed on real connections again and again.

Lifetimes are seconds here, so that several renewals fit into a test; nothing waits for a time, only
for what is to be seen.
"""

import functools
import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from springline.core.events import EventType
from springline.core.values import SessionKey
from support import token_server
from support.identities import Issuer
from support.rabbitmq import RabbitMQNode
from support.running import Running, a_broker, a_connection, running
from support.token_server import Registered, TokenServer, answer, nothing_logged, serving
from support.waiting import eventually

pytestmark = pytest.mark.usefixtures("nothing_left")

CLIENT_SECRET = "pl4nted-client-secret"


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    """An OAuth 2 server with one client, whose tokens last as long as the test says."""
    async with serving({"orders": Registered(secret=CLIENT_SECRET)}) as server:
        yield server


@pytest.fixture(autouse=True)
def nothing_told(tokens: TokenServer, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    """No token and no client secret is in the log, whatever the test does."""
    with nothing_logged(tokens, caplog, CLIENT_SECRET):
        yield


def declared(
    node: RabbitMQNode, tokens: TokenServer, *names: str, renew_at: str = "40%", **spec: Any
) -> list[dict[str, Any]]:
    """The documents of connections that share one client of the OAuth 2 server."""
    credentials, objects = token_server.declared(tokens, secret=CLIENT_SECRET)
    return [
        a_broker(node.amqp_port),
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


def pids(node: RabbitMQNode) -> dict[str, str]:
    """Which connections the broker has, by name; another connection has another pid."""
    return {each.name: each.pid for each in node.connections()}


def credentials(held: Running, name: str = "orders") -> dict[str, Any]:
    """What status says of the credential."""
    return dict(held.status(name).get("credentials", {}))


def was_updated(held: Running, name: str = "orders") -> bool:
    return credentials(held, name).get("method") == "InPlace"


def logged(node: RabbitMQNode, *words: str) -> int:
    """How many lines of the broker's log have all these words."""
    lines = node.log_text().splitlines()
    return sum(all(word in line for word in words) for line in lines)


HANDSHAKE = ("springline/default/fleet-", "(verification)", "granted access")
GOODBYE = ("springline/default/fleet-", "closing AMQP connection")


async def test_two_hundred_sessions_get_a_new_token_without_losing_one(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    """One request for the token, one throw-away handshake, and the same 200 connections."""
    names = [f"fleet-{number}" for number in range(200)]
    tokens.seconds = 30
    handshakes = logged(broker, *HANDSHAKE)
    async with running(*declared(broker, tokens, *names)) as held:
        await held.until_ready(*names)
        before = pids(broker)
        assert len(before) == 200
        assert len(tokens.requests) == 1
        for name in names:
            await eventually(functools.partial(was_updated, held, name), what=name)
        after = pids(broker)
        assert {name: pid for name, pid in after.items() if "verification" not in name} == before
        assert len(tokens.requests) == 2
        assert not {event.type for event in held.events} & {
            EventType.DISCONNECTED,
            EventType.SESSION_REPLACED,
        }
        assert all(held.is_ready(name) for name in names)
    # The log is written a little later; all of it is there when it has every goodbye.
    await eventually(lambda: logged(broker, *GOODBYE) >= 200)
    assert logged(broker, *HANDSHAKE) - handshakes == 1


async def test_a_token_is_renewed_again_and_again_on_one_connection(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    tokens.seconds = 20
    async with running(*declared(broker, tokens, "orders", renew_at="10%")) as held:
        await held.until_ready("orders")
        before = pids(broker)
        await eventually(lambda: len(tokens.requests) >= 4)
        await eventually(lambda: held.types("orders").count(EventType.SECRET_UPDATED) >= 3)
        assert pids(broker).items() >= before.items()
        assert held.types("orders").count(EventType.CONNECTED) == 1
        assert EventType.CREDENTIALS_EXPIRING not in held.types("orders")


async def test_a_token_that_the_broker_refuses_costs_no_session(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    """Its refusal is shown, once; the next good one is asked for and taken."""
    tokens.seconds = 30
    bad = [Issuer().token(key="not-the-key-of-the-broker-0123456789abcdef") for _ in range(3)]
    async with running(*declared(broker, tokens, "orders", renew_at="10%")) as held:
        await held.until_ready("orders")
        before = pids(broker)
        tokens.then(
            *(
                answer({"access_token": each, "token_type": "Bearer", "expires_in": 30})
                for each in bad
            )
        )
        message = await held.until_reason("orders", "CredentialsValid", "Rejected")
        assert "ACCESS_REFUSED" in message
        assert held.condition("orders", "Connected")["status"] == "True"
        assert pids(broker).items() >= before.items()
        await held.until_ready("orders")
        assert was_updated(held)
        assert pids(broker).items() >= before.items()
        assert held.types("orders").count(EventType.SECRET_REJECTED) == 1
        shown = json.dumps(held.status("orders")) + repr(held.events)
        assert not any(each in shown for each in bad)


async def test_a_token_of_another_subject_replaces_the_session(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    tokens.seconds = 20
    async with running(*declared(broker, tokens, "orders", renew_at="10%")) as held:
        await held.until_ready("orders")
        tokens.subject = "ben"
        await eventually(lambda: credentials(held).get("method") == "Replaced")
        assert credentials(held)["username"] == "ben"
        assert EventType.DISCONNECTED not in held.types("orders")
        await eventually(lambda: len(pids(broker)) == 1)


async def test_a_blocked_session_gets_its_new_token_by_replacement(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    """And is renewed in place again when the alarm is over."""
    tokens.seconds = 30
    async with running(*declared(broker, tokens, "orders", renew_at="15%")) as held:
        await held.until_ready("orders")
        broker.set_alarm("memory")
        try:
            await held.until_reason("orders", "Blocked", "LowOnMemory")
            await eventually(lambda: credentials(held).get("method") == "Replaced")
            assert len(tokens.requests) >= 2
        finally:
            broker.clear_alarm("memory")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        await eventually(lambda: was_updated(held))
        assert EventType.DISCONNECTED not in held.types("orders")


UNAVAILABLE = answer("<html>the gateway is away</html>", status=503)


async def test_an_oauth2_server_that_is_away_for_a_while_leaves_no_trace(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    """The token is still valid meanwhile; the warning goes when there is a new one."""
    tokens.seconds = 30
    async with running(*declared(broker, tokens, "orders", renew_at="10%")) as held:
        await held.until_ready("orders")
        before = pids(broker)
        tokens.otherwise = UNAVAILABLE
        message = await held.until_reason("orders", "CredentialsValid", "Expiring")
        assert "503" in message
        assert held.is_ready("orders")
        seen = tokens.seen
        await eventually(lambda: tokens.seen >= seen + 2)
        tokens.otherwise = None
        await held.until_reason("orders", "CredentialsValid", "Verified")
        assert pids(broker).items() >= before.items()
        kinds = held.types("orders")
        assert kinds.count(EventType.CREDENTIALS_EXPIRING) == 1
        assert EventType.CREDENTIALS_EXPIRED not in kinds


async def test_a_token_that_the_broker_calls_expired_is_renewed_although_it_seems_to_be_good(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    """Its issuer's clock is an hour behind: the broker sees its end after seconds, and says so."""
    tokens.seconds, tokens.skew = 3600, -3592
    quiet = {"interval": "6s", "timeout": "2s"}  # a busy channel is not looked at for its expiry
    async with running(*declared(broker, tokens, "orders", probe=quiet)) as held:
        await held.until_ready("orders")
        before, seemed = pids(broker), credentials(held)["expiresAt"]
        tokens.skew = 0
        await eventually(lambda: EventType.CREDENTIALS_EXPIRED in held.types("orders"))
        [expired] = [each for each in held.events if each.type is EventType.CREDENTIALS_EXPIRED]
        assert "the broker says it has expired (" in expired.message
        assert "has expired at timestamp" in expired.message or broker.ends_expired
        await eventually(lambda: credentials(held).get("expiresAt") != seemed)
        await held.until_ready("orders")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert len(tokens.requests) == 2
        assert was_updated(held) is not broker.ends_expired
        assert (pids(broker).items() >= before.items()) is not broker.ends_expired
        assert EventType.PROBE_REFUSED not in held.types("orders")


async def test_a_server_that_says_when_to_come_again_is_not_asked_before(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    """Whoever is the same client waits with the others, and then all are well."""
    names = [f"many-{number}" for number in range(20)]
    tokens.then(answer("busy", status=429, **{"Retry-After": "5"}))
    async with running(*declared(broker, tokens, *names)) as held:
        message = await held.until_reason(names[0], "CredentialsValid", "TokenRequestFailed")
        assert "it is not asked again before" in message
        await held.until_ready(*names)
        assert tokens.seen == 2


async def test_a_token_that_expires_is_said_to_and_the_next_one_mends_it(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    """Whether the broker ends the connection, or keeps it and refuses what is done on it."""
    tokens.seconds = 6
    quiet = {"interval": "6s", "timeout": "2s"}  # a busy channel is not looked at for its expiry
    async with running(*declared(broker, tokens, "orders", probe=quiet)) as held:
        await held.until_ready("orders")
        before = pids(broker)
        tokens.otherwise = UNAVAILABLE
        await eventually(lambda: EventType.CREDENTIALS_EXPIRED in held.types("orders"))
        if broker.ends_expired:
            await held.until_reason("orders", "Connected", "NoCredentials")
            assert held.condition("orders", "Ready")["reason"] == "TokenRequestFailed"
            [close] = [each for each in held.events if each.type is EventType.DISCONNECTED]
            assert "credential expired" in close.message
        else:
            await held.until_reason("orders", "CredentialsValid", "Expired")
            assert held.condition("orders", "Ready")["reason"] == "Expired"
            await held.until_reason("orders", "Blocked", "ProbeDisabled")
        tokens.seconds = 600
        tokens.otherwise = None
        await held.until_ready("orders")
        await held.until_reason("orders", "Blocked", "NotBlocked")
        assert was_updated(held) is not broker.ends_expired
        assert (pids(broker).items() >= before.items()) is not broker.ends_expired
        assert held.types("orders").count(EventType.CREDENTIALS_EXPIRED) == 1


async def test_an_expired_token_that_somebody_else_renews_is_said_to_have_expired(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """Also where the session cannot be opened any more, because of it."""
    async with running(*with_token(broker, issuer.token(seconds=3))) as held:
        await held.until_ready("orders")
        await held.until_reason("orders", "CredentialsValid", "Expired")
        held.parts.manager.reconnect(SessionKey("default", "orders"))
        await held.until_reason("orders", "Connected", "AccessRefused")
        message = await held.until_reason("orders", "CredentialsValid", "Expired")
        assert "ACCESS_REFUSED" in message
        held.apply(*with_token(broker, issuer.token(seconds=600)))
        await held.until_ready("orders")


def expires_at(held: Running) -> str:
    return str(held.status("orders")["credentials"]["expiresAt"])


def is_another(held: Running, before: str) -> bool:
    """Whether the session has another token by now."""
    return expires_at(held) != before


def with_token(node: RabbitMQNode, token: str) -> list[dict[str, Any]]:
    """The documents of a connection whose token somebody else renews."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "token"}}
    return [
        a_broker(node.amqp_port),
        {**secret, "stringData": {"token": token}},
        a_connection("orders", credentials={"tokenRef": {"name": "token"}}),
    ]


async def test_a_session_outlives_its_token_beside_a_change_that_is_refused(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    tokens.seconds = 12
    held_to = declared(broker, tokens, "orders", renew_at="20%")
    change = [
        {**each, "spec": {**each["spec"], "virtualHost": "not-there"}}
        if each["kind"] == "BrokerConnection"
        else each
        for each in held_to
    ]
    async with running(*held_to) as held:
        await held.until_ready("orders")
        since = held.status("orders")["connectedSince"]
        first_ends = datetime.fromisoformat(expires_at(held))
        held.apply(*change)
        await held.until_reason("orders", "Synced", "VirtualHostNotFound")
        while datetime.now(UTC) < first_ends:
            await eventually(functools.partial(is_another, held, expires_at(held)))
            assert held.condition("orders", "CredentialsValid")["reason"] == "Verified", (
                held.status("orders")
            )
        assert held.status("orders")["connectedSince"] == since
        assert held.condition("orders", "Synced")["reason"] == "VirtualHostNotFound"
        assert EventType.DISCONNECTED not in held.types("orders")
        assert held.types("orders").count(EventType.CHANGE_REFUSED) == 1
        held.apply(*held_to)
        await held.until_ready("orders")


async def test_a_renewal_that_meets_a_broker_restart_ends_with_the_new_token(
    disposable_broker: RabbitMQNode, tokens: TokenServer
) -> None:
    tokens.seconds = 8
    async with running(*declared(disposable_broker, tokens, "orders")) as held:
        await held.until_ready("orders")
        first = len(tokens.requests)
        disposable_broker.stop()
        await held.until_reason("orders", "Connected", "ConnectionRefused")
        await eventually(lambda: len(tokens.requests) > first)
        disposable_broker.start()
        await held.until_ready("orders")
        await eventually(lambda: was_updated(held))


async def test_a_server_that_is_away_at_the_start_is_said_to_be(
    broker: RabbitMQNode, tokens: TokenServer
) -> None:
    tokens.otherwise = UNAVAILABLE
    async with running(*declared(broker, tokens, "orders")) as held:
        message = await held.until_reason("orders", "CredentialsValid", "TokenRequestFailed")
        assert "503" in message
        assert held.condition("orders", "Ready")["reason"] == "TokenRequestFailed"
        tokens.otherwise = None
        await held.until_ready("orders")
