"""Tokens longer than what a real RabbitMQ reads before the login, or in one frame.

It looks up how much it reads before the login at each connect, so a test can change that.
"""

import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pamqp.frame
import pytest
from pamqp import commands as spec

from springline.drivers.amqp091.connection import Amqp091Connection
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.drivers.amqp091.lengths import FRAME_OVERHEAD, Login, secret_limit
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    SecretNotSentError,
    SecretRefusedError,
    TransientError,
)
from springline.reasons import Reason
from support import fake_peer, leaks, opening
from support.fake_peer import Talk
from support.identities import Certificates, Issuer
from support.opening import Recorder
from support.rabbitmq import RabbitMQNode
from support.waiting import eventually

pytestmark = pytest.mark.broker

DRIVER = Amqp091Driver()
PROBE: dict[str, Any] = {"exchange": "amq.direct", "routing_key": "x", "timeout": 10.0}
MUCH = 16384


@pytest.fixture(autouse=True)
async def _nothing_left() -> AsyncIterator[None]:
    async with leaks.checked():
        yield


@pytest.fixture
def patient(broker: RabbitMQNode) -> Iterator[RabbitMQNode]:
    """A broker that is configured to read long logins."""
    before = broker.eval("application:get_env(rabbit, initial_frame_max)")
    broker.eval(f"application:set_env(rabbit, initial_frame_max, {MUCH})")
    yield broker
    if before == "undefined":
        broker.eval("application:unset_env(rabbit, initial_frame_max)")
    else:
        number = before.removeprefix("{ok,").removesuffix("}")
        broker.eval(f"application:set_env(rabbit, initial_frame_max, {number})")


@pytest.fixture
def a_token(issuer: Issuer) -> Callable[[int], str]:
    """Makes valid tokens of a length, or a few bytes less."""

    def token(length: int) -> str:
        missing = length - len(issuer.token(padding=""))
        return issuer.token(padding="x" * (missing * 3 // 4))

    return token


async def opened(node: RabbitMQNode, token: str, **changes: Any) -> Amqp091Connection:
    port = node.amqps_port if changes.get("tls") else node.amqp_port
    return await DRIVER.open(opening.request(port, credential=opening.token(token), **changes))


async def refused(node: RabbitMQNode, token: str, **changes: Any) -> ConnectError:
    with pytest.raises(ConnectError) as caught:
        await opened(node, token, **changes)
    assert token not in "".join(traceback.format_exception(caught.value))
    return caught.value


async def login_limit(node: RabbitMQNode, token: str) -> int:
    connection = await opened(node, token)
    await connection.close()
    return Login(server=connection.info.server, octets=0, response_octets=0).limit


async def login_length(token: str, **changes: Any) -> int:
    """Return how long a login is, as the other side sees it."""

    async def measure(talk: Talk) -> None:
        await talk.greet()
        await talk.log_in()

    async with fake_peer.serving(measure) as peer:
        with pytest.raises(ConnectError):
            await DRIVER.open(
                opening.request(peer.port, credential=opening.token(token), **changes)
            )
        login = peer.talk.last(spec.Connection.StartOk)
        assert login is not None
        return len(pamqp.frame.marshal(login, 0)) - FRAME_OVERHEAD


@pytest.mark.parametrize("with_tls", [False, True], ids=["plaintext", "TLS"])
async def test_a_token_longer_than_the_broker_reads_is_named_as_the_cause(
    broker: RabbitMQNode,
    certificates: Certificates,
    issuer: Issuer,
    a_token: Callable[[int], str],
    with_tls: bool,
) -> None:
    """All that the broker does is to hang up, three seconds later."""
    limit = await login_limit(broker, issuer.token())
    tls = certificates.client() if with_tls else None
    error = await refused(broker, a_token(limit), tls=tls)
    assert type(error) is CredentialRejectedError
    assert error.reason is Reason.CREDENTIAL_TOO_LONG
    assert not error.authenticated
    assert f"of which RabbitMQ {broker_version(broker)} reads {limit} by default" in error.message
    assert "fewer scopes" in error.message


def broker_version(node: RabbitMQNode) -> str:
    return node.eval("rabbit_misc:version()").strip('"')


async def test_the_limit_is_what_the_broker_reads_to_the_byte(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """It counts the whole frame but for its header and end, client properties included."""
    token = issuer.token()
    limit = await login_limit(broker, token)
    missing = limit - await login_length(token, client_properties={"padding": ""})
    connection = await opened(broker, token, client_properties={"padding": "x" * missing})
    await connection.close()
    error = await refused(broker, token, client_properties={"padding": "x" * (missing + 1)})
    assert f"a login of {limit + 1} bytes" in error.message


async def test_long_client_properties_are_not_the_credentials_fault(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """No new Secret would help."""
    error = await refused(broker, issuer.token(), client_properties={"notes": "x" * 9000})
    assert type(error) is RejectedError
    assert error.reason is Reason.NEGOTIATION_FAILED
    assert "clientProperties" in error.message


async def test_a_time_out_that_is_shorter_than_the_brokers_silence_mentions_the_length(
    broker: RabbitMQNode, a_token: Callable[[int], str]
) -> None:
    error = await refused(broker, a_token(9000), timeout=0.5)
    assert type(error) is TransientError
    assert error.reason is Reason.CONNECT_TIMEOUT
    assert "bytes, of which RabbitMQ" in error.message


async def test_a_long_token_is_renewed_in_place_where_the_broker_takes_it(
    patient: RabbitMQNode, a_token: Callable[[int], str]
) -> None:
    """A frame of the usual frame-max holds it."""
    connection = await opened(patient, a_token(5000))
    await connection.renew(opening.token(a_token(9000)), timeout=10)
    assert await opening.probe(connection, **PROBE) is not None
    await connection.close()


async def test_a_token_that_fits_in_no_frame_leaves_the_session_alone(
    patient: RabbitMQNode, issuer: Issuer, a_token: Callable[[int], str]
) -> None:
    """It opens another connection, but cannot be brought to this one."""
    frame_max = patient.least_frame_max
    long = a_token(frame_max + 900)
    connection = await opened(patient, issuer.token(), frame_max=frame_max)
    recorder = Recorder()
    connection.observe(recorder)
    with pytest.raises(SecretNotSentError) as caught:
        await connection.renew(opening.token(long), timeout=10)
    assert long not in "".join(traceback.format_exception(caught.value))
    assert connection.is_open
    assert await opening.probe(connection, **PROBE) is not None
    successor = await opened(patient, long, frame_max=frame_max)
    assert await opening.probe(successor, **PROBE) is not None
    assert recorder.told == []
    await connection.close()
    await successor.close()


async def test_the_longest_secret_that_is_sent_is_read(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """The broker says no to what is in it, and nothing of its length."""
    frame_max = broker.least_frame_max
    connection = await opened(broker, issuer.token(), frame_max=frame_max)
    recorder = Recorder()
    connection.observe(recorder)
    limit = secret_limit(frame_max)
    assert limit is not None
    with pytest.raises(SecretRefusedError) as caught:
        await connection.renew(opening.token("x" * limit), timeout=10)
    assert caught.value.text.startswith("530 ")
    await eventually(lambda: recorder.told == ["closed"])


async def test_a_secret_that_fits_in_no_frame_of_the_broker_is_not_sent(
    broker: RabbitMQNode, issuer: Issuer
) -> None:
    """Without a declared frameMax it is the broker's that counts."""
    connection = await opened(broker, issuer.token(), frame_max=0)
    recorder = Recorder()
    connection.observe(recorder)
    frame_max = opening.agreed(connection).frame_max
    with pytest.raises(SecretNotSentError):
        await connection.renew(opening.token("x" * frame_max), timeout=10)
    assert recorder.told == []
    await connection.close()
