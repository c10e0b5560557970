"""SASL for AMQP 1.0: what each mechanism says, and that the broker proves what it has to."""

import asyncio
import base64
import ssl
from collections.abc import Callable
from typing import TypeVar

import pytest

from springline.core.values import Credential, TLSClient
from springline.drivers.amqp10 import mechanisms
from springline.drivers.amqp10.derivations import Derivations
from springline.drivers.shared import sasl
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import ConnectError, CredentialRejectedError, RejectedError, TerminalError
from springline.reasons import Reason
from support.opening import anonymous, external, password, token
from support.scram_server import ScramServer, ScramUser

TLS = TLSClient(context=ssl.create_default_context())
TLS_WITH_CERTIFICATE = TLSClient(context=ssl.create_default_context(), has_client_certificate=True)
POLICY = SaslPolicy(mechanisms=mechanisms.MECHANISMS)
SCRAM = ("SCRAM-SHA-1", "SCRAM-SHA-256")

T = TypeVar("T")


def server(name: str) -> ScramServer:
    return ScramServer(user=ScramUser.create(name, "orders", "s3cret"))


def login(name: str, credential: Credential | None = None) -> mechanisms.Exchange:
    return mechanisms.start(name, credential or password("orders", "s3cret"))


# R2.1, R2.9, R4.4
@pytest.mark.parametrize(
    ("credential", "tls", "chosen"),
    [
        pytest.param(password(), None, "SCRAM-SHA-256", id="a password needs no TLS with SCRAM"),
        pytest.param(password(), TLS, "SCRAM-SHA-256", id="SCRAM is wanted more than PLAIN"),
        pytest.param(token("a.b"), TLS, "PLAIN", id="a token has no salted form"),
        pytest.param(external(), TLS_WITH_CERTIFICATE, "EXTERNAL", id="a certificate"),
        pytest.param(anonymous(), None, "ANONYMOUS", id="no login"),
    ],
)
def test_the_order_of_the_client_decides(
    credential: Credential, tls: TLSClient | None, chosen: str
) -> None:
    offered = tuple(reversed(mechanisms.MECHANISMS))
    assert sasl.choose(mechanisms.TABLE, POLICY, offered, credential, tls) == chosen


@pytest.mark.parametrize(
    ("offered", "credential"), [(("PLAIN",), password()), (mechanisms.MECHANISMS, token("a.b"))]
)
def test_no_secret_goes_in_clear_text(offered: tuple[str, ...], credential: Credential) -> None:
    """R4.4."""
    with pytest.raises(TerminalError) as caught:
        sasl.choose(mechanisms.TABLE, POLICY, offered, credential, None)
    assert caught.value.reason is Reason.INSECURE_MECHANISM


def test_a_token_is_no_password_of_scram() -> None:
    policy = SaslPolicy(mechanisms=SCRAM)
    with pytest.raises(RejectedError) as caught:
        sasl.check(mechanisms.TABLE, policy, token("a.b"), TLS)
    assert caught.value.reason is Reason.NO_AUTHENTICATION_MECHANISM


def test_plain_separates_user_and_password_with_nul() -> None:
    """RFC 4616 §2."""
    assert login("PLAIN", password("ördérs", "p@ss")).initial() == "\0ördérs\0p@ss".encode()


def test_a_token_goes_as_the_password_of_plain() -> None:
    assert login("PLAIN", token("a.b.c")).initial() == b"\0\0a.b.c"


def test_what_is_no_text_is_refused_before_it_is_sent() -> None:
    with pytest.raises(CredentialRejectedError) as caught:
        login("PLAIN", password("orders", "planted\ud800")).initial()
    assert caught.value.reason is Reason.SECRET_MALFORMED
    assert "planted" not in str(caught.value)


async def test_external_lets_the_certificate_speak() -> None:
    exchange = login("EXTERNAL", external())
    assert exchange.initial() == b""
    assert await exchange.respond(b"who are you?") == b""
    exchange.finish(None)


def test_anonymous_says_nothing() -> None:
    exchange = login("ANONYMOUS", anonymous())
    assert exchange.initial() == b""
    exchange.finish(b"welcome")


@pytest.mark.parametrize("name", ["PLAIN", "ANONYMOUS"])
async def test_a_challenge_to_a_mechanism_that_has_said_all_is_refused(name: str) -> None:
    exchange = login(name)
    exchange.initial()
    with pytest.raises(ConnectError) as caught:
        await exchange.respond(b"more")
    assert caught.value.reason is Reason.PROTOCOL_MISMATCH
    assert "s3cret" not in str(caught.value)


async def test_challenges_are_answered_up_to_a_bound() -> None:
    exchange = login("EXTERNAL", external())
    for _ in range(mechanisms.MAX_ROUNDS):
        await exchange.respond(b"")
    with pytest.raises(RejectedError) as caught:
        await exchange.respond(b"")
    assert caught.value.reason is Reason.PROTOCOL_MISMATCH


@pytest.mark.parametrize("name", SCRAM)
async def test_the_proof_may_come_as_a_challenge(name: str) -> None:
    peer, exchange = server(name), login(name)
    proof = await exchange.respond(peer.first(exchange.initial()))
    assert await exchange.respond(peer.final(proof)) == b""
    exchange.finish(None)


@pytest.mark.parametrize("name", SCRAM)
async def test_the_proof_may_come_with_the_outcome(name: str) -> None:
    """RFC 4422 §3.6, AMQP 1.0 §5.3.3.6: additional data with success."""
    peer, exchange = server(name), login(name)
    proof = await exchange.respond(peer.first(exchange.initial()))
    exchange.finish(peer.final(proof))


async def test_the_proof_may_come_with_both() -> None:
    peer, exchange = server("SCRAM-SHA-256"), login("SCRAM-SHA-256")
    final = peer.final(await exchange.respond(peer.first(exchange.initial())))
    await exchange.respond(final)
    exchange.finish(final)


@pytest.mark.parametrize("rounds", [0, 1])
@pytest.mark.parametrize("nothing", [None, b""], ids=["none", "empty"])
async def test_a_broker_that_proves_nothing_is_no_broker(
    rounds: int, nothing: bytes | None
) -> None:
    """An impostor accepts any login, so that it is told what comes next."""
    peer, exchange = server("SCRAM-SHA-256"), login("SCRAM-SHA-256")
    first = exchange.initial()
    if rounds:
        await exchange.respond(peer.first(first))
    with pytest.raises(RejectedError, match="without proving that it knows the password") as caught:
        exchange.finish(nothing)
    assert caught.value.reason is Reason.ACCESS_REFUSED
    assert not isinstance(caught.value, CredentialRejectedError)


async def test_a_wrong_proof_with_the_outcome_is_refused() -> None:
    peer, exchange = server("SCRAM-SHA-256"), login("SCRAM-SHA-256")
    await exchange.respond(peer.first(exchange.initial()))
    with pytest.raises(RejectedError, match="could not prove that it knows the password"):
        exchange.finish(b"v=" + base64.b64encode(bytes(32)))


async def test_a_wrong_password_is_the_credential() -> None:
    peer = server("SCRAM-SHA-256")
    exchange = login("SCRAM-SHA-256", password("orders", "wrong"))
    proof = await exchange.respond(peer.first(exchange.initial()))
    with pytest.raises(CredentialRejectedError, match="invalid-proof"):
        await exchange.respond(peer.final(proof))


async def test_a_broker_that_never_has_enough_is_left() -> None:
    peer, exchange = server("SCRAM-SHA-256"), login("SCRAM-SHA-256")
    final = peer.final(await exchange.respond(peer.first(exchange.initial())))
    for _ in range(mechanisms.MAX_ROUNDS - 1):
        await exchange.respond(final)
    with pytest.raises(RejectedError, match="still asks for more"):
        await exchange.respond(final)


class Counted:
    """Remembers what is computed elsewhere."""

    def __init__(self) -> None:
        self.calls = 0

    async def run(self, call: Callable[[], T]) -> T:
        self.calls += 1
        return call()


async def test_what_takes_long_is_computed_off_the_loop() -> None:
    elsewhere = Counted()
    peer = server("SCRAM-SHA-256")
    exchange = mechanisms.start(
        "SCRAM-SHA-256",
        password("orders", "s3cret"),
        derivations=Derivations(elsewhere),
        nonce=lambda: "ours",
    )
    first = exchange.initial()
    assert first == b"n,,n=orders,r=ours"
    proof = await exchange.respond(peer.first(first))
    assert elsewhere.calls == 1
    exchange.finish(peer.final(proof))
    assert elsewhere.calls == 1


async def test_many_log_in_at_once() -> None:
    async def one() -> None:
        peer, exchange = server("SCRAM-SHA-1"), login("SCRAM-SHA-1")
        exchange.finish(peer.final(await exchange.respond(peer.first(exchange.initial()))))

    async with asyncio.TaskGroup() as logins:
        for number in range(20):
            logins.create_task(one(), name=f"login {number}")


@pytest.mark.parametrize("name", [*SCRAM, "PLAIN"])
def test_an_exchange_shows_nothing(name: str) -> None:
    exchange = login(name)
    assert "s3cret" not in repr(exchange)


def test_an_unknown_mechanism_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="CRAM-MD5"):
        login("CRAM-MD5")
