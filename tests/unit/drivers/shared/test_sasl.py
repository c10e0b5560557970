"""SASL policy: the client's order decides, and clear text is guarded, in any protocol."""

import ssl

import pytest

from springline.core.values import Credential, CredentialKind, TLSClient
from springline.drivers.shared import sasl
from springline.drivers.shared.sasl import MechanismTable, SaslPolicy
from springline.errors import CredentialRejectedError, RejectedError, TerminalError
from springline.reasons import Reason
from springline.redaction import Secret

TABLE = MechanismTable(
    supported=frozenset(
        {"SCRAM-SHA-256", "PLAIN", "AMQPLAIN", "RABBIT-CR-DEMO", "EXTERNAL", "ANONYMOUS"}
    ),
    clear_text=frozenset({"PLAIN", "AMQPLAIN", "RABBIT-CR-DEMO"}),
)
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
ANONYMOUS = Credential(kind=CredentialKind.ANONYMOUS, source="anonymous")


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
            ("PLAIN", "EXTERNAL", "ANONYMOUS"),
            ("ANONYMOUS", "PLAIN", "EXTERNAL"),
            ANONYMOUS,
            TLS_WITH_CERTIFICATE,
            "ANONYMOUS",
            id="anonymous credentials use ANONYMOUS only",
        ),
        pytest.param(
            ("ANONYMOUS", "PLAIN"),
            ("ANONYMOUS", "PLAIN"),
            password(),
            TLS,
            "PLAIN",
            id="no other credentials use ANONYMOUS",
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
    assert sasl.choose(TABLE, policy(*declared), offered, credential, tls) == chosen


# R2.2
def test_none_in_common_names_both_lists() -> None:
    with pytest.raises(RejectedError) as caught:
        sasl.choose(
            TABLE, policy("PLAIN", "AMQPLAIN"), ("EXTERNAL", "SCRAM-SHA-256"), password(), TLS
        )
    assert caught.value.reason is Reason.NO_AUTHENTICATION_MECHANISM
    assert "no suitable authentication method" in str(caught.value)
    assert "[EXTERNAL, SCRAM-SHA-256]" in str(caught.value)
    assert "[PLAIN, AMQPLAIN]" in str(caught.value)
    assert "s3cret" not in str(caught.value)


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
    sasl.check(TABLE, declared, password(), tls)
    assert sasl.choose(TABLE, declared, ("PLAIN",), password(), tls) == "PLAIN"


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
        sasl.check(TABLE, policy("EXTERNAL", "PLAIN"), credential, tls)
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
        sasl.check(TABLE, policy("PLAIN"), credential, TLS)
    assert caught.value.reason is Reason.SECRET_MALFORMED
    assert "s3" not in str(caught.value)


def test_clear_text_gives_way_to_a_mechanism_that_hides_the_secret() -> None:
    """Without TLS and without permission, what needs neither is used."""
    declared = policy("PLAIN", "SCRAM-SHA-256")
    sasl.check(TABLE, declared, password(), PLAINTEXT)
    offered = ("PLAIN", "SCRAM-SHA-256")
    assert sasl.choose(TABLE, declared, offered, password(), PLAINTEXT) == "SCRAM-SHA-256"
    with pytest.raises(TerminalError):
        sasl.choose(TABLE, declared, ("PLAIN",), password(), PLAINTEXT)


def test_external_is_for_drivers_that_support_it() -> None:
    without = MechanismTable(supported=frozenset({"PLAIN"}), clear_text=frozenset({"PLAIN"}))
    with pytest.raises(RejectedError):
        sasl.check(without, policy("EXTERNAL"), EXTERNAL, TLS_WITH_CERTIFICATE)


@pytest.mark.parametrize(
    ("credential", "chosen"),
    [
        pytest.param(password(), "SCRAM-SHA-256", id="a password"),
        pytest.param(token(), "PLAIN", id="a token"),
    ],
)
def test_a_token_passes_over_what_is_for_passwords_alone(
    credential: Credential, chosen: str
) -> None:
    table = MechanismTable(
        supported=TABLE.supported,
        clear_text=TABLE.clear_text,
        passwords_only=frozenset({"SCRAM-SHA-256"}),
    )
    wanted = policy("SCRAM-SHA-256", "PLAIN")
    assert sasl.choose(table, wanted, ("PLAIN", "SCRAM-SHA-256"), credential, TLS) == chosen
