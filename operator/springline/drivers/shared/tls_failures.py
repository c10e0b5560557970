"""What OpenSSL says of a TLS handshake, as an error that says what to do next.

By the reason codes of OpenSSL, never by its texts. Pure.
"""

import ssl

from springline.drivers.shared import failures
from springline.errors import ConnectError, RejectedError, TransientError
from springline.reasons import Reason

__all__ = ["translated"]

_NOT_TLS = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "HTTP_REQUEST",
        "HTTPS_PROXY_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "UNEXPECTED_MESSAGE",
    }
)
_NOTHING_IN_COMMON = frozenset(
    {
        "UNSUPPORTED_PROTOCOL",
        "NO_PROTOCOLS_AVAILABLE",
        "NO_CIPHERS_AVAILABLE",
        "TLSV1_ALERT_PROTOCOL_VERSION",
        "SSLV3_ALERT_HANDSHAKE_FAILURE",
        "TLSV1_ALERT_INSUFFICIENT_SECURITY",
        "DH_KEY_TOO_SMALL",
    }
)
_CLIENT_CERTIFICATE = frozenset(
    {
        "TLSV13_ALERT_CERTIFICATE_REQUIRED",
        "SSLV3_ALERT_BAD_CERTIFICATE",
        "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE",
        "SSLV3_ALERT_CERTIFICATE_REVOKED",
        "SSLV3_ALERT_CERTIFICATE_EXPIRED",
        "SSLV3_ALERT_CERTIFICATE_UNKNOWN",
        "TLSV1_ALERT_UNKNOWN_CA",
        "TLSV1_ALERT_ACCESS_DENIED",
        "TLSV1_ALERT_DECRYPT_ERROR",
    }
)


def translated(error: ssl.SSLError, *, where: str, left_out: str = "") -> ConnectError:
    """Return what a failure of TLS with the peer at `where` means.

    `left_out` is what of the declared authorities is not trusted, as `TLSClient` has it.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _refused_certificate(error, where, left_out)
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return RejectedError(
            Reason.TLS_FAILED,
            f"{where}: the peer does not speak TLS: set tls.enabled: false, or use the TLS port",
        )
    if reason in _CLIENT_CERTIFICATE:
        return RejectedError(
            Reason.TLS_FAILED,
            f"{where}: the broker wants a client certificate, or another one"
            f" (tls.clientCertificateRef): {_text(error)}",
        )
    if reason in _NOTHING_IN_COMMON:
        return RejectedError(
            Reason.TLS_FAILED, f"{where}: no TLS version or cipher in common: {_text(error)}"
        )
    return TransientError(Reason.TLS_FAILED, f"{where}: {_text(error)}")


def _refused_certificate(
    error: ssl.SSLCertVerificationError, where: str, left_out: str
) -> RejectedError:
    flaw = f"; of tls.caRef, {left_out}" if left_out else ""
    return RejectedError(
        Reason.TLS_FAILED,
        f"{where}: the broker's certificate is not accepted: {error.verify_message}"
        f" (see tls.caRef and tls.serverName{flaw})",
    )


def _text(error: ssl.SSLError) -> str:
    return (error.reason or failures.os_text(error)).replace("_", " ").lower()
