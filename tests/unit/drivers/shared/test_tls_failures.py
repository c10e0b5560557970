"""What OpenSSL says of a handshake becomes one reason, and one family, in any protocol."""

import ssl

import pytest

from springline.drivers.shared import tls_failures
from springline.errors import ConnectError, RejectedError, TransientError
from springline.reasons import Reason


@pytest.mark.parametrize(
    ("reason", "family", "says"),
    [
        (
            "WRONG_VERSION_NUMBER",
            RejectedError,
            "the peer does not speak TLS: set tls.enabled: false, or use the TLS port",
        ),
        (
            "TLSV13_ALERT_CERTIFICATE_REQUIRED",
            RejectedError,
            (
                "the broker wants a client certificate, or another one (tls.clientCertificateRef):"
                " tlsv13 alert certificate required"
            ),
        ),
        (
            "NO_CIPHERS_AVAILABLE",
            RejectedError,
            "no TLS version or cipher in common: no ciphers available",
        ),
        ("TLSV1_ALERT_INTERNAL_ERROR", TransientError, "tlsv1 alert internal error"),
    ],
)
def test_reason_of_openssl_is_translated(
    reason: str, family: type[ConnectError], says: str
) -> None:
    error = ssl.SSLError(1, f"[SSL: {reason}] …")
    error.reason = reason
    translation = tls_failures.translated(error, where="there")
    assert type(translation) is family
    assert translation.reason is Reason.TLS_FAILED
    assert translation.message == f"there: {says}"


def test_refused_certificate_says_what_is_wrong_with_it() -> None:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_message = "certificate has expired"
    translation = tls_failures.translated(error, where="there")
    assert type(translation) is RejectedError
    assert translation.message == (
        "there: the broker's certificate is not accepted: certificate has expired"
        " (see tls.caRef and tls.serverName)"
    )
