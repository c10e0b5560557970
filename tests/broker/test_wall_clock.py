"""A wall clock that is set while tokens live: the real program, its clock alone, a real broker.

Nothing waits for a time: a token of seconds is renewed before it ends, or its end is seen.
"""

import math
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from springline.core.events import EventType
from support import springline_process, token_server
from support.faketime import FaketimeMissing, WallClock
from support.identities import Issuer
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection
from support.springline_process import Springline
from support.token_server import Registered, TokenServer, serving

NAME = "springline/default/orders"
CLIENT_SECRET = "pl4nted-client-secret"
HOUR = 3600
TOKEN_SECONDS = 20

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
async def tokens() -> AsyncIterator[TokenServer]:
    async with serving({"orders": Registered(secret=CLIENT_SECRET)}) as server:
        server.seconds = TOKEN_SECONDS
        yield server


@pytest.fixture
def clock(tmp_path: Path) -> WallClock:
    """The wall clock of Springline, and of nobody else."""
    try:
        return WallClock(tmp_path)
    except FaketimeMissing as error:
        pytest.skip(str(error))


@pytest.fixture
async def springline(tmp_path: Path, clock: WallClock) -> AsyncIterator[Springline]:
    async with springline_process.running(
        tmp_path, CLIENT_SECRET, more_environment=clock.environment
    ) as springline:
        yield springline


def declare(springline: Springline, broker: RabbitMQNode, tokens: TokenServer) -> None:
    """A connection whose tokens are issued, half of whose life is over when they are renewed."""
    credentials, objects = token_server.declared(tokens, secret=CLIENT_SECRET)
    springline.write(
        "orders.yaml",
        a_broker(broker.amqp_port),
        *objects,
        a_connection("orders", credentials=credentials, rotation={"renewAt": "50%"}),
    )


def declare_token(springline: Springline, broker: RabbitMQNode, token: str) -> None:
    """A connection with this token in a Secret; it is probed as seldom as RabbitMQ looks at it."""
    springline.write(
        "orders.yaml",
        a_broker(broker.amqp_port),
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "token"},
            "stringData": {"token": token},
        },
        a_connection(
            "orders",
            credentials={"tokenRef": {"name": "token"}},
            probe={"interval": "6s", "timeout": "2s"},
        ),
    )


def pids(node: RabbitMQNode) -> list[str]:
    return [each.pid for each in node.connections() if each.name == NAME]


def told(springline: Springline) -> set[str]:
    """The types of the events in the log."""
    names = "|".join(kind.value for kind in EventType)
    return set(re.findall(rf"\b({names})\b", springline.output))


async def connected_by_token(
    springline: Springline, broker: RabbitMQNode, issuer: Issuer, *, seconds: int
) -> None:
    """Declare a token, and another one where a busy machine lets it expire before it is used."""
    issued_at = -math.inf

    def is_ready() -> bool:
        nonlocal issued_at
        if time.monotonic() - issued_at > seconds:
            declare_token(springline, broker, issuer.token(seconds=seconds))
            issued_at = time.monotonic()
        return springline.condition("Ready")[0] == "True"

    await springline.eventually(is_ready, "it is connected while the token is good")


@pytest.mark.parametrize("seconds", [-HOUR, HOUR], ids=["back", "forward"])
async def test_tokens_are_renewed_in_time_whatever_the_wall_clock_is_set_to(
    springline: Springline,
    clock: WallClock,
    broker: RabbitMQNode,
    tokens: TokenServer,
    seconds: int,
) -> None:
    """The broker never sees the end of one, and the connection stays."""
    declare(springline, broker, tokens)
    before = await springline.until("Ready", "True")
    opened = pids(broker)
    clock.set(seconds)
    await springline.eventually(lambda: len(tokens.requests) >= 3, "it was renewed twice")
    await springline.eventually(
        lambda: springline.status()["credentials"]["method"] == "InPlace", "it was renewed in place"
    )
    after = springline.status()
    assert (after["credentials"]["expiresAt"] > before["credentials"]["expiresAt"]) is (seconds > 0)
    assert pids(broker) == opened
    assert EventType.CREDENTIALS_EXPIRED.value not in told(springline)
    assert EventType.DISCONNECTED.value not in told(springline)
    assert springline.condition("Ready") == ("True", "Connected")


async def test_token_that_was_read_with_a_wrong_clock_expires_by_the_brokers_word(
    springline: Springline, clock: WallClock, broker: RabbitMQNode, issuer: Issuer
) -> None:
    """By the clock here it is good for an hour. The next one makes all well again."""
    clock.set(-HOUR)
    await connected_by_token(springline, broker, issuer, seconds=8)
    status = await springline.until("CredentialsValid", "False", "Expired")
    (message,) = [
        each["message"] for each in status["conditions"] if each["type"] == "CredentialsValid"
    ]
    assert broker.ends_expired or "the broker says it has expired (403 " in message
    declare_token(springline, broker, issuer.token(seconds=2 * HOUR))
    await springline.until("Ready", "True")
    await springline.until("Blocked", "False", "NotBlocked")


async def test_token_that_nobody_renews_expires_although_the_wall_clock_was_set_back(
    springline: Springline, clock: WallClock, broker: RabbitMQNode, issuer: Issuer
) -> None:
    """Whether the broker refuses the probe, ends the connection, or has not looked yet."""
    await connected_by_token(springline, broker, issuer, seconds=TOKEN_SECONDS)
    clock.set(-HOUR)
    await springline.until("CredentialsValid", "False", "Expired")
    assert springline.condition("Ready")[0] == "False"
