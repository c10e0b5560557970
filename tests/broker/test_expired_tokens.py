"""Tokens whose time is over, at a real RabbitMQ: at the login, on a live session, as a renewal.

Before 4.2.6 RabbitMQ leaves the connection of an expired token open and says 403 to what is done on
its channels; later ones close it. The driver tells either as it comes.
"""

import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.errors import (
    CredentialRejectedError,
    ProbeRefusal,
    ProbeRefusedError,
    SecretRefusedError,
)
from springline.reasons import Reason
from support import leaks, opening
from support.identities import Issuer
from support.opening import Recorder
from support.rabbitmq import RabbitMQNode
from support.waiting import PATIENCE, eventually

pytestmark = pytest.mark.broker

DRIVER = Amqp091Driver()
DEADLINE = PATIENCE
PROBES: list[dict[str, Any]] = [
    {"exchange": exchange, "routing_key": "springline.probe", "timeout": 10.0}
    for exchange in ("", "amq.direct")
]
LIFETIME = 2.0  # the shortest that is sure to begin: `exp` has whole seconds


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with leaks.checked():
        yield


async def opened(node: RabbitMQNode, token: str) -> tuple[Amqp091Connection, Recorder]:
    connection = await DRIVER.open(opening.request(node.amqp_port, credential=opening.token(token)))
    recorder = Recorder()
    connection.observe(recorder)
    return connection, recorder


async def refusal(connection: Amqp091Connection, probe: dict[str, Any]) -> ProbeRefusedError:
    with pytest.raises(ProbeRefusedError) as caught:
        await opening.probe(connection, **probe)
    return caught.value


async def test_an_expired_token_is_refused_at_the_login(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """In the words of a wrong password: the broker's log alone says that it has expired."""
    with pytest.raises(CredentialRejectedError) as caught:
        await opened(broker, issuer.token(seconds=-5))
    assert caught.value.reason is Reason.ACCESS_REFUSED
    assert "403 ACCESS_REFUSED - Login was refused" in caught.value.message
    assert "expired" not in caught.value.message


@pytest.mark.parametrize("probe", PROBES, ids=["default exchange", "named exchange"])
async def test_a_session_whose_token_expires_ends_or_is_well_again_once_renewed(
    broker: RabbitMQNode, issuer: Issuer, probe: dict[str, Any]
) -> None:
    """Which of both depends on the broker.

    Where it goes on, the probe is refused with the broker's text, each time, and works after
    update-secret. The first one comes late: what a channel may do is looked up anew only after it
    was idle for a while, so a busy one outlives its token even further.
    """
    connection, recorder = await opened(broker, issuer.token(seconds=LIFETIME))
    over = time.time() + LIFETIME
    if broker.ends_expired:
        await eventually(lambda: recorder.told == ["closed"], timeout=DEADLINE)
        [close] = recorder.closes
        assert (close.codes["code"], close.reason) == (320, Reason.CONNECTION_FORCED)
        assert close.says_expired
        return
    await eventually(lambda: time.time() > over, timeout=DEADLINE)
    first = await refusal(connection, probe)
    second = await refusal(connection, probe)
    for error in (first, second):
        assert error.why is ProbeRefusal.CREDENTIAL_EXPIRED
        assert "Provided JWT token has expired at timestamp" in error.text
    await connection.renew(opening.token(issuer.token()), timeout=10)
    assert await opening.probe(connection, **probe) is not None
    assert connection.is_open
    assert recorder.told == []
    await connection.close()


async def test_an_update_with_an_expired_token_ends_the_session_or_helps_nobody(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """Another reason for verifying on a handshake first."""
    connection, _ = await opened(broker, issuer.token())
    expired = opening.token(issuer.token(seconds=-5))
    if broker.ends_expired:
        with pytest.raises(SecretRefusedError):
            await connection.renew(expired, timeout=10)
        return
    await connection.renew(expired, timeout=10)
    assert connection.is_open
    error = await refusal(connection, PROBES[1])
    assert error.why is ProbeRefusal.CREDENTIAL_EXPIRED
    await connection.renew(opening.token(issuer.token()), timeout=10)
    assert await opening.probe(connection, **PROBES[1]) is not None
    await connection.close()
