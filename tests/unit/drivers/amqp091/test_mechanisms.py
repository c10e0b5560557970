"""SASL: the client's order decides, clear text is guarded, secrets are sent as they are."""

import ssl

import pytest
from pamqp import commands as spec
from pamqp import decode, frame

from springline.core.values import Credential, CredentialKind, SaslPolicy, TLSClient
from springline.drivers.amqp091 import mechanisms
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    TerminalError,
)
from springline.reasons import Reason
from springline.redaction import Secret

PLAINTEXT = None
TLS = TLSClient(context=ssl.create_default_context())
TLS_WITH_CERTIFICATE = TLSClient(context=ssl.create_default_context(), has_client_certificate=True)


def password(username: str = "orders", secret: str = "s3cret") -> Credential:
    return Credential(
        kind=CredentialKind.PASSWORD, source="secretRef", username=username, secret=Secret(secret)
    )


def token(username: str = "", secret: str = "a.b.c") -> Credential:
    return Credential(
        kind=CredentialKind.TOKEN, source="tokenRef", username=username, secret=Secret(secret)
    )


EXTERNAL = Credential(kind=CredentialKind.EXTERNAL, source="external")


def policy(*names: str, allow_insecure: bool = False) -> SaslPolicy:
    return SaslPolicy(mechanisms=names, allow_insecure=allow_insecure)


# R2.1
@pytest.mark.parametrize(
    ("declared", "offered", "credential", "tls", "chosen"),
    [
        pytest.param(
            ("PLAIN", "AMQPLAIN"),
            ("AMQPLAIN", "PLAIN"),
            password(),
            TLS,
            "PLAIN",
            id="the client's order wins over the broker's",
        ),
        pytest.param(
            ("RABBIT-CR-DEMO", "AMQPLAIN", "PLAIN"),
            ("PLAIN", "AMQPLAIN"),
            password(),
            TLS,
            "AMQPLAIN",
            id="what is not offered is passed over",
        ),
        pytest.param(
            ("EXTERNAL", "PLAIN"),
            ("PLAIN", "EXTERNAL"),
            password(),
            TLS,
            "PLAIN",
            id="EXTERNAL is passed over without a client certificate",
        ),
        pytest.param(
            ("EXTERNAL", "PLAIN"),
            ("PLAIN", "EXTERNAL"),
            password(),
            TLS_WITH_CERTIFICATE,
            "EXTERNAL",
            id="EXTERNAL is used with a client certificate even where there is a password",
        ),
        pytest.param(
            ("PLAIN", "EXTERNAL"),
            ("PLAIN", "EXTERNAL"),
            EXTERNAL,
            TLS_WITH_CERTIFICATE,
            "EXTERNAL",
            id="external credentials use EXTERNAL only",
        ),
        pytest.param(
            ("GSSAPI", "PLAIN"),
            ("GSSAPI", "PLAIN"),
            token(),
            TLS,
            "PLAIN",
            id="a mechanism that is not supported is passed over",
        ),
    ],
)
def test_the_first_declared_mechanism_that_is_offered_wins(
    declared: tuple[str, ...],
    offered: tuple[str, ...],
    credential: Credential,
    tls: TLSClient | None,
    chosen: str,
) -> None:
    assert mechanisms.choose(policy(*declared), offered, credential, tls) == chosen


# R2.2
def test_none_in_common_names_both_lists() -> None:
    with pytest.raises(RejectedError) as caught:
        mechanisms.choose(
            policy("PLAIN", "AMQPLAIN"), ("EXTERNAL", "SCRAM-SHA-256"), password(), TLS
        )
    assert caught.value.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "no suitable authentication method" in str(caught.value)
    assert "[EXTERNAL, SCRAM-SHA-256]" in str(caught.value)
    assert "[PLAIN, AMQPLAIN]" in str(caught.value)
    assert "s3cret" not in str(caught.value)


# R2.9
@pytest.mark.parametrize("name", sorted(mechanisms.CLEAR_TEXT))
@pytest.mark.parametrize("credential", [password(), token()], ids=["password", "token"])
def test_clear_text_on_plaintext_is_refused_before_anything_is_sent(
    name: str, credential: Credential
) -> None:
    with pytest.raises(TerminalError) as caught:
        mechanisms.check(policy("EXTERNAL", name), credential, PLAINTEXT)
    assert caught.value.reason is Reason.INSECURE_MECHANISM
    assert "enable tls" in str(caught.value)
    assert "sasl.allowInsecure: true" in str(caught.value)
    with pytest.raises(TerminalError):
        mechanisms.choose(policy(name), (name,), credential, PLAINTEXT)


# R2.9
@pytest.mark.parametrize(
    ("allow_insecure", "tls"),
    [
        pytest.param(True, PLAINTEXT, id="explicitly allowed"),
        pytest.param(False, TLS, id="over TLS"),
    ],
)
def test_clear_text_is_used_where_it_is_protected_or_allowed(
    allow_insecure: bool, tls: TLSClient | None
) -> None:
    declared = policy("PLAIN", allow_insecure=allow_insecure)
    mechanisms.check(declared, password(), tls)
    assert mechanisms.choose(declared, ("PLAIN",), password(), tls) == "PLAIN"


@pytest.mark.parametrize(
    ("credential", "tls"),
    [
        pytest.param(EXTERNAL, TLS, id="external credentials without a client certificate"),
        pytest.param(EXTERNAL, PLAINTEXT, id="external credentials without TLS"),
    ],
)
def test_a_credential_no_mechanism_can_use_is_rejected_before_connecting(
    credential: Credential, tls: TLSClient | None
) -> None:
    with pytest.raises(RejectedError) as caught:
        mechanisms.check(policy("EXTERNAL", "PLAIN"), credential, tls)
    assert caught.value.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "clientCertificateRef" in str(caught.value)


@pytest.mark.parametrize(
    "credential",
    [
        pytest.param(password(username=""), id="empty user name"),
        pytest.param(password(secret=""), id="empty password"),
        pytest.param(token(secret=""), id="empty token"),
        pytest.param(password(username="or\0ders"), id="NUL in the user name"),
        pytest.param(password(secret="s3\0cret"), id="NUL in the password"),
    ],
)
def test_a_credential_that_would_be_read_as_another_one_is_refused(
    credential: Credential,
) -> None:
    """An empty one must never become `guest`, and NUL separates the fields of PLAIN."""
    with pytest.raises(CredentialRejectedError) as caught:
        mechanisms.check(policy("PLAIN"), credential, TLS)
    assert caught.value.reason is Reason.SECRET_MALFORMED
    assert "s3" not in str(caught.value)


def test_a_token_needs_no_user_name() -> None:
    mechanisms.check(policy("PLAIN"), token(username=""), TLS)
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
