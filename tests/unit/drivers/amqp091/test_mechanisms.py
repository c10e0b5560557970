"""SASL: what each mechanism says; clear text is guarded, secrets are sent as they are."""

import ssl

import pytest
from pamqp import commands as spec
from pamqp import decode, frame

from springline.core.values import Credential, CredentialKind, TLSClient
from springline.drivers.amqp091 import mechanisms
from springline.drivers.shared import sasl
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import ConnectError, RejectedError, TerminalError
from springline.reasons import Reason
from springline.redaction import Secret

PLAINTEXT = None
TLS = TLSClient(context=ssl.create_default_context())


def password(username: str = "orders", secret: str = "s3cret") -> Credential:
    return Credential(
        kind=CredentialKind.PASSWORD, source="secretRef", username=username, secret=Secret(secret)
    )


def token(username: str = "", secret: str = "a.b.c") -> Credential:
    return Credential(
        kind=CredentialKind.TOKEN, source="tokenRef", username=username, secret=Secret(secret)
    )


EXTERNAL = Credential(kind=CredentialKind.EXTERNAL, source="external")


def policy(*names: str) -> SaslPolicy:
    return SaslPolicy(mechanisms=names)


# R2.9
@pytest.mark.parametrize("name", sorted(mechanisms.TABLE.clear_text))
@pytest.mark.parametrize("credential", [password(), token()], ids=["password", "token"])
def test_clear_text_on_plaintext_is_refused_before_anything_is_sent(
    name: str, credential: Credential
) -> None:
    with pytest.raises(TerminalError) as caught:
        sasl.check(mechanisms.TABLE, policy("EXTERNAL", name), credential, PLAINTEXT)
    assert caught.value.reason is Reason.INSECURE_MECHANISM
    assert "enable tls" in str(caught.value)
    assert "sasl.allowInsecure: true" in str(caught.value)
    with pytest.raises(TerminalError):
        sasl.choose(mechanisms.TABLE, policy(name), (name,), credential, PLAINTEXT)


def test_a_token_needs_no_user_name() -> None:
    sasl.check(mechanisms.TABLE, policy("PLAIN"), token(username=""), TLS)
    assert mechanisms.start("PLAIN", token()).initial().encode() == b"\0\0a.b.c"


def test_plain_separates_user_and_password_with_nul() -> None:
    response = mechanisms.start("PLAIN", password("ördérs", "p@ss/wörd: %\"'")).initial()
    assert response.encode() == "\0ördérs\0p@ss/wörd: %\"'".encode()


def test_amqplain_is_a_field_table_without_its_length() -> None:
    response = mechanisms.start("AMQPLAIN", password("ördérs", "pä55")).initial().encode()
    _, table = decode.field_table(len(response).to_bytes(4) + response)
    assert table == {"LOGIN": "ördérs", "PASSWORD": "pä55"}


# R1.3
def test_cr_demo_says_the_user_first_and_the_password_when_asked() -> None:
    exchange = mechanisms.start("RABBIT-CR-DEMO", password())
    assert exchange.initial().encode() == b"orders"
    assert exchange.respond().encode() == b"My password is s3cret"


def test_external_lets_the_certificate_speak() -> None:
    exchange = mechanisms.start("EXTERNAL", EXTERNAL)
    assert exchange.initial().encode() == b""
    assert exchange.respond().encode() == b""


# R1.3
def test_challenges_are_answered_up_to_a_bound() -> None:
    exchange = mechanisms.start("RABBIT-CR-DEMO", password())
    for _ in range(mechanisms.MAX_ROUNDS):
        exchange.respond()
    with pytest.raises(RejectedError) as caught:
        exchange.respond()
    assert caught.value.reason is Reason.PROTOCOL_MISMATCH


@pytest.mark.parametrize("name", ["PLAIN", "AMQPLAIN"])
def test_a_challenge_to_a_mechanism_that_has_said_all_is_refused(name: str) -> None:
    with pytest.raises(ConnectError) as caught:
        mechanisms.start(name, password()).respond()
    assert caught.value.reason is Reason.PROTOCOL_MISMATCH
    assert "s3cret" not in str(caught.value)


def test_a_response_travels_as_octets_and_shows_nothing() -> None:
    """AMQPLAIN's table is no text, but pamqp takes only text."""
    octets = bytes(range(256))
    response = mechanisms.RawText(octets)
    start_ok = spec.Connection.StartOk(response=response)
    _, _, received = frame.unmarshal(frame.marshal(start_ok, 0))
    assert isinstance(received, spec.Connection.StartOk)
    # pamqp gives text where it can and octets where it must; its types know only of the text.
    assert received["response"] == octets
    assert (str(response), repr(response)) == ("", "''")
