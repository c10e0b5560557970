"""Foreign failures, and what they mean at each step."""

import errno
import ssl

import pytest

from springline.core.values import Endpoint
from springline.drivers.http import errors
from springline.drivers.http.errors import HttpProgress, HttpStep, RetryRequestError
from springline.drivers.shared.progress import TransportStep
from springline.errors import ConnectError, RejectedError, TransientError
from springline.reasons import Reason


def at(step: TransportStep | HttpStep) -> HttpProgress:
    return HttpProgress(endpoint=Endpoint("localhost", 15672), timeout=5, step=step)


@pytest.mark.parametrize(
    ("step", "error", "reason"),
    [
        (TransportStep.TCP, ConnectionRefusedError(), Reason.CONNECTION_REFUSED),
        (TransportStep.TCP, TimeoutError(), Reason.CONNECT_TIMEOUT),
        (TransportStep.TLS, EOFError(), Reason.TLS_FAILED),
        (TransportStep.TLS, ssl.SSLError(1, "x"), Reason.TLS_FAILED),
        (HttpStep.SETTINGS, TimeoutError(), Reason.CONNECT_TIMEOUT),
        (HttpStep.SETTINGS, ConnectionResetError(errno.ECONNRESET, "x"), Reason.PEER_CLOSED),
    ],
)
def test_a_foreign_failure_is_translated_once(
    step: TransportStep | HttpStep, error: Exception, reason: Reason
) -> None:
    if isinstance(error, ssl.SSLError):
        error.reason = "UNSUPPORTED_PROTOCOL"
    with pytest.raises(ConnectError) as caught, errors.translated(at(step)):
        raise error
    assert caught.value.reason is reason
    assert caught.value.__cause__ is error
    assert "localhost:15672" in caught.value.message


def test_a_client_certificate_is_asked_for_after_the_handshake_of_tls_1_3() -> None:
    error = ssl.SSLError(1, "alert")
    error.reason = "TLSV13_ALERT_CERTIFICATE_REQUIRED"
    found = errors.lost(error, where="localhost:443")
    assert isinstance(found, RejectedError)
    assert "clientCertificateRef" in found.message


@pytest.mark.parametrize(
    ("reason", "family"),
    [
        (Reason.PROTOCOL_MISMATCH, RejectedError),
        (Reason.FLOODED, RejectedError),
        (Reason.PEER_CLOSED, TransientError),
    ],
)
def test_a_reason_has_its_family(reason: Reason, family: type[ConnectError]) -> None:
    assert type(errors.failed(reason, "text")) is family


@pytest.mark.parametrize(
    ("is_unprocessed", "is_idempotent", "may_repeat", "words"),
    [
        (True, False, True, "was not processed"),
        (False, True, True, "may have been processed"),
        (False, False, False, "may have been processed"),
    ],
)
def test_the_retryable_error_says_whether_to_repeat_without_asking(
    is_unprocessed: bool, is_idempotent: bool, may_repeat: bool, words: str
) -> None:
    error = RetryRequestError("x", is_unprocessed=is_unprocessed, is_idempotent=is_idempotent)
    assert error.may_repeat is may_repeat
    assert words in str(error)
