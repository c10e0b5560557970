"""Every foreign failure of an attempt, translated once into `springline.errors`.

Foreign are the exceptions of the operating system, ssl, asyncio, aiormq and pamqp. What a broker
says in a Close is in replies.py. A connection that was open and is lost is told with the same
words, as a `CloseInfo`.
"""

import asyncio
import contextlib
import enum
import errno
import os
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from aiormq import exceptions as aiormq_errors
from pamqp import exceptions as pamqp_errors

from springline.core.values import ClosedBy, CloseInfo, Endpoint
from springline.drivers.amqp091.lengths import Login
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    SecretRefusedError,
    SecretUpdateTimeoutError,
    TransientError,
)
from springline.reasons import Reason

__all__ = [
    "BlockedSecretUpdateError",
    "Progress",
    "SecretNotSentError",
    "Step",
    "lost",
    "mismatch",
    "refused_addresses",
    "translated",
    "unexpected_frame",
]


class Step(enum.Enum):
    """How far an attempt has come; the value says what was missing when it ended."""

    TCP = "no TCP connection"
    TLS = "connected, but the TLS handshake was not completed"
    START = "connected, but the peer sent no AMQP greeting (Connection.Start)"
    LOGIN = "greeted, but the login (Connection.Start-Ok) was not answered"
    OPEN = "logged in, but opening the virtual host was not answered"


@dataclass(slots=True, kw_only=True)
class Progress:
    """What one attempt has reached; written by the attempt, read here."""

    endpoint: Endpoint
    timeout: float
    address: str = ""
    step: Step = Step.TCP
    login: Login | None = None
    """What was sent to log in, from Start-Ok on."""

    @property
    def authenticated(self) -> bool:
        """Whether the broker has accepted the login."""
        return self.step is Step.OPEN

    @property
    def where(self) -> str:
        """The peer as people see it."""
        at = f" ({self.address})" if self.address not in ("", self.endpoint.host) else ""
        return f"{self.endpoint}{at}"


class BlockedSecretUpdateError(SecretUpdateTimeoutError):
    """The broker has stopped reading from this connection, so update-secret was not even sent."""

    def __str__(self) -> str:
        return (
            "the broker has blocked the connection and reads nothing from it, so update-secret was"
            " not sent"
        )


class SecretNotSentError(SecretRefusedError):
    """update-secret cannot carry this credential. The connection is as it was."""

    def __init__(self, why: str) -> None:
        super().__init__(code=0, text=why)

    def __str__(self) -> str:
        return f"update-secret was not sent: {self.text}"


# What pamqp lets out for a frame whose inside makes no sense, besides its own exceptions.
_UNDECODABLE = (
    pamqp_errors.PAMQPException,
    aiormq_errors.ProtocolSyntaxError,
    struct.error,
    ArithmeticError,
    LookupError,
    RecursionError,
    UnicodeError,
)
_FOREIGN = (OSError, EOFError, StopAsyncIteration, aiormq_errors.AMQPError, *_UNDECODABLE)

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


@contextlib.contextmanager
def translated(progress: Progress) -> Iterator[None]:
    """Raise what happens inside as the `ConnectError` that says what to do next.

    An exception that may quote bytes of the peer is not chained: a peer can echo our secret.
    """
    try:
        yield
    except ConnectError as error:
        if isinstance(error.__cause__, asyncio.CancelledError):
            # aiormq ends its own connect task by cancelling it and hangs that on our exception.
            raise error from None
        raise
    except _UNDECODABLE as error:
        raise mismatch(f"a frame that cannot be decoded ({type(error).__name__})") from None
    except _FOREIGN as error:
        cause = _origin(error)
        raise _translate(cause, progress) from cause


def _seconds(value: float) -> str:
    """Round: what was left of a limit differs a little each time, and is to be reported once."""
    return f"{round(value, 1 if value >= 1 else 2):g}"


def refused_addresses(failures: list[tuple[str, OSError]], progress: Progress) -> ConnectError:
    """Return why none of an endpoint's addresses could be connected to."""
    if all(isinstance(error, TimeoutError) for _, error in failures):
        addresses = ", ".join(address for address, _ in failures)
        return TransientError(
            Reason.CONNECT_TIMEOUT,
            f"{progress.endpoint}: nothing answered within {_seconds(progress.timeout)} s"
            f" ({Step.TCP.value} to {addresses})",
        )
    each = "; ".join(
        _os_text(error) if address == progress.endpoint.host else f"{address}: {_os_text(error)}"
        for address, error in failures
    )
    return TransientError(Reason.CONNECTION_REFUSED, f"{progress.endpoint}: {each}")


def mismatch(what: str) -> RejectedError:
    """Return the error for a peer that sent `what`, which AMQP 0-9-1 has no room for."""
    return RejectedError(Reason.PROTOCOL_MISMATCH, f"the peer sent {what}")


def unexpected_frame(name: str, expected: str) -> RejectedError:
    """Return the error for a method out of turn."""
    return mismatch(f"{name} where {expected} is due")


def lost(error: BaseException | None) -> CloseInfo:
    """Return how a connection that was open ended without a Close. None is a plain end of file."""
    match error:
        case ConnectError():
            reason, text = error.reason, error.message
        case aiormq_errors.AMQPConnectionError() | OSError():
            reason, text = Reason.PEER_CLOSED, _os_text(_origin(error))
        case Exception() if isinstance(error, _UNDECODABLE):
            reason = Reason.PROTOCOL_MISMATCH
            text = mismatch(f"a frame that cannot be decoded ({type(error).__name__})").message
        case _:
            reason, text = Reason.PEER_CLOSED, "the peer closed the connection without a word"
    return CloseInfo(by=ClosedBy.TRANSPORT, reason=reason, text=text)


def _origin(error: BaseException) -> BaseException:
    """Return the error that aiormq wrapped into one of its own, or the error itself."""
    cause = error.__cause__
    wrapped = isinstance(error, aiormq_errors.AMQPConnectionError)
    return cause if wrapped and isinstance(cause, OSError | EOFError) else error


def _translate(error: BaseException, progress: Progress) -> ConnectError:
    match error:
        case ssl.SSLCertVerificationError():
            return _refused_certificate(error, progress)
        case ssl.SSLError():
            return _tls(error, progress)
        case TimeoutError():
            return TransientError(
                Reason.CONNECT_TIMEOUT,
                f"{progress.where}: nothing answered within {_seconds(progress.timeout)} s"
                f" ({_unanswered(progress)})",
                authenticated=progress.authenticated,
            )
        case _:
            return _dropped(error, progress)


def _dropped(error: BaseException, progress: Progress) -> ConnectError:
    """Return what an end of file or a reset means at each step."""
    text = f"{progress.where}: {_os_text(error)}"
    match progress.step:
        case Step.TCP:
            return TransientError(Reason.CONNECTION_REFUSED, text)
        case Step.TLS:
            return TransientError(
                Reason.TLS_FAILED, f"{text} ({progress.step.value}; does the port speak TLS?)"
            )
        case Step.START | Step.OPEN:
            return TransientError(
                Reason.PEER_CLOSED,
                f"{text} ({progress.step.value})",
                authenticated=progress.authenticated,
            )
        case Step.LOGIN:
            return _dropped_login(text, progress)
        case _:
            assert_never(progress.step)


def _unanswered(progress: Progress) -> str:
    """Return what was missing when the time was over, with a reason where there is one."""
    if progress.step is Step.LOGIN and progress.login is not None and progress.login.is_too_long:
        # RabbitMQ takes three seconds to hang up on it; the time-out can be shorter.
        return f"{progress.step.value}; it has {progress.login.comparison}"
    return progress.step.value


def _dropped_login(text: str, progress: Progress) -> ConnectError:
    """A broker that hangs up on a login tells nobody why, so the causes have to be guessed."""
    login = progress.login
    if login is not None and login.is_too_long:
        # Without how it hung up: that differs from time to time, and is to be reported once.
        text = f"{progress.where} hung up on a login of {login.comparison}: {login.advice}"
        if login.is_too_long_without_credential:
            return RejectedError(Reason.NEGOTIATION_FAILED, text)
        return CredentialRejectedError(Reason.CREDENTIAL_TOO_LONG, text)
    return TransientError(
        Reason.PEER_CLOSED,
        f"{text} ({progress.step.value}; brokers hang up like this on a mechanism they do not"
        " accept, on a malformed response, and on a user they cannot look up)",
    )


def _refused_certificate(error: ssl.SSLCertVerificationError, progress: Progress) -> RejectedError:
    return RejectedError(
        Reason.TLS_FAILED,
        f"{progress.where}: the broker's certificate is not accepted: {error.verify_message}"
        " (see tls.caRef and tls.serverName)",
    )


def _tls(error: ssl.SSLError, progress: Progress) -> ConnectError:
    reason = error.reason or ""
    if reason in _NOT_TLS:
        return RejectedError(
            Reason.TLS_FAILED,
            f"{progress.where}: the peer does not speak TLS: set tls.enabled: false, or use the"
            " TLS port",
        )
    if reason in _CLIENT_CERTIFICATE:
        return RejectedError(
            Reason.TLS_FAILED,
            f"{progress.where}: the broker wants a client certificate, or another one"
            f" (tls.clientCertificateRef): {_tls_text(error)}",
        )
    if reason in _NOTHING_IN_COMMON:
        return RejectedError(
            Reason.TLS_FAILED,
            f"{progress.where}: no TLS version or cipher in common: {_tls_text(error)}",
        )
    return TransientError(Reason.TLS_FAILED, f"{progress.where}: {_tls_text(error)}")


def _tls_text(error: ssl.SSLError) -> str:
    return (error.reason or _os_text(error)).replace("_", " ").lower()


def _os_text(error: BaseException) -> str:
    """Return an operating system's error as a phrase."""
    match error:
        case TimeoutError():
            return "no answer in time"
        case asyncio.IncompleteReadError() | EOFError() | StopAsyncIteration():
            return "the peer closed the connection"
        case OSError(errno=errno.ECONNRESET | errno.EPIPE):
            return "the peer reset the connection"
        case OSError(errno=int(code)) if code > 0:
            # Not `strerror`: asyncio puts addresses there.
            return os.strerror(code).lower()
        case ConnectionError():
            return "the peer closed the connection"
        case _:
            return type(error).__name__
