"""The Authorization field, and what no scheme has room for."""

import base64

import pytest

from springline.core.values import Credential
from springline.drivers.http import logins
from springline.drivers.shared import sasl
from springline.drivers.shared.sasl import SaslPolicy
from springline.errors import CredentialRejectedError, TerminalError
from springline.reasons import Reason
from support.opening import external, password, token

POLICY = SaslPolicy(mechanisms=("EXTERNAL", "BEARER", "BASIC"))


def test_a_password_goes_by_basic_in_utf_8() -> None:
    [(name, value)] = logins.authorization(password("ann", "pä:ß"))
    assert name == b"authorization"
    kind, encoded = value.split(b" ")
    assert kind == b"Basic"
    assert base64.b64decode(encoded).decode() == "ann:pä:ß"


def test_a_token_goes_by_bearer() -> None:
    assert logins.authorization(token("a.b-c_d~e+f/g==")) == (
        (b"authorization", b"Bearer a.b-c_d~e+f/g=="),
    )


def test_a_client_certificate_needs_no_field() -> None:
    assert logins.authorization(external()) == ()


@pytest.mark.parametrize(
    ("credential", "reason"),
    [
        (password("a:b", "planted-secret"), Reason.SECRET_MALFORMED),
        (password("ann", "planted-secret\r\nx: y"), Reason.SECRET_MALFORMED),
        (password("a\nnn", "planted-secret"), Reason.SECRET_MALFORMED),
        (password("ann", "planted-secret\ud800"), Reason.SECRET_MALFORMED),
        (token("planted-secret\r\nx: y"), Reason.SECRET_MALFORMED),
        (token("planted-secret with a space"), Reason.SECRET_MALFORMED),
        (token("planted-secret\n"), Reason.SECRET_MALFORMED),
        (token(""), Reason.SECRET_MALFORMED),
        (token("planted-secret" * 5000), Reason.CREDENTIAL_TOO_LONG),
    ],
)
def test_what_the_scheme_has_no_room_for_is_refused_without_showing_it(
    credential: Credential, reason: Reason
) -> None:
    with pytest.raises(CredentialRejectedError) as caught:
        logins.authorization(credential)
    assert caught.value.reason is reason
    assert "planted-secret" not in str(caught.value)


@pytest.mark.parametrize("credential", [password(), token("abc")])
def test_no_scheme_sends_a_secret_in_the_clear_by_accident(credential: Credential) -> None:
    with pytest.raises(TerminalError) as caught:
        sasl.check(logins.TABLE, POLICY, credential, None)
    assert caught.value.reason is Reason.INSECURE_MECHANISM
    assert logins.scheme(credential) in logins.TABLE.clear_text
