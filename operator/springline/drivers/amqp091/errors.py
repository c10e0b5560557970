"""Every foreign failure of an attempt, translated once into `springline.errors`.

Foreign are the exceptions of the operating system, ssl, asyncio, aiormq and pamqp; the words for
the first three are shared with other drivers. What a broker says in a Close is in replies.py. A
connection that was open and is lost is told with the same words, as a `CloseInfo`.
"""

import asyncio
import contextlib
import enum
import ssl
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from aiormq import exceptions as aiormq_errors
from pamqp import exceptions as pamqp_errors

from springline.core.values import ClosedBy, CloseInfo
from springline.drivers.amqp091.lengths import Login
from springline.drivers.amqp091.replies import RESOURCE_ERROR, Close
from springline.drivers.shared import failures, peers, tls_failures
from springline.drivers.shared.progress import Progress, TransportStep
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    SecretUpdateTimeoutError,
    TransientError,
)
from springline.reasons import Reason

__all__ = [
    "BlockedSecretUpdateError",
    "HandshakeProgress",
    "HandshakeStep",
    "flooded",
    "is_undecodable",
    "lost",
    "mismatch",
    "objected",
    "translated",
    "undecodable",
    "unexpected_frame",
]


class HandshakeStep(enum.Enum):
    """The steps after the transport's; the value says what was missing when an attempt ended."""

    START = (
        "connected, but the peer sent no AMQP greeting (Connection.Start);"
        " does the port speak AMQP 0-9-1?"
    )
    LOGIN = "greeted, but the login (Connection.Start-Ok) was not answered"
    OPEN = "logged in, but opening the virtual host was not answered"


@dataclass(slots=True, kw_only=True)
class HandshakeProgress(Progress[HandshakeStep]):
    """What one attempt has reached; written by the attempt, read here."""

    login: Login | None = None
    """What was sent to log in, from Start-Ok on."""

    @property
    def authenticated(self) -> bool:
        """Whether the broker has accepted the login."""
        return self.step is HandshakeStep.OPEN


class BlockedSecretUpdateError(SecretUpdateTimeoutError):
    """The broker has stopped reading from this connection, so update-secret was not even sent."""

    def __str__(self) -> str:
        return (
            "the broker has blocked the connection and reads nothing from it, so update-secret was"
            " not sent"
        )


# What pamqp lets out for a frame whose inside makes no sense, besides its own exceptions.
_UNDECODABLE = (
    pamqp_errors.PAMQPException,
    aiormq_errors.ProtocolSyntaxError,
    struct.error,
    ArithmeticError,
    LookupError,
    RecursionError,
    ValueError,
)
_FOREIGN = (OSError, EOFError, StopAsyncIteration, aiormq_errors.AMQPError, *_UNDECODABLE)


@contextlib.contextmanager
def translated(progress: HandshakeProgress) -> Iterator[None]:
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
    except _FOREIGN as error:
        if is_undecodable(error):
            raise undecodable(error) from None
        cause = _origin(error)
        raise _translate(cause, progress) from cause


def flooded(what: str) -> RejectedError:
    """Return the error for a peer that sends more than a session takes."""
    return RejectedError(Reason.FLOODED, f"the peer sent {what}, and no session takes so much")


def mismatch(what: str) -> RejectedError:
    """Return the error for a peer that sent `what`, which AMQP 0-9-1 has no room for."""
    return RejectedError(Reason.PROTOCOL_MISMATCH, f"the peer sent {what}")


def is_undecodable(error: BaseException) -> bool:
    """Whether an error is about a frame whose inside makes no sense."""
    # A certificate that is refused is a ValueError, too.
    return isinstance(error, _UNDECODABLE) and not isinstance(error, ssl.SSLError)


def undecodable(error: BaseException) -> RejectedError:
    """Return the error for a frame whose inside makes no sense, without a byte of it."""
    return mismatch(f"a frame that cannot be decoded ({type(error).__name__})")


def unexpected_frame(name: str, expected: str) -> RejectedError:
    """Return the error for a method out of turn."""
    return mismatch(f"{name} where {expected} is due")


def lost(error: BaseException | None) -> CloseInfo:
    """Return how a connection that was open ended without a Close. None is a plain end of file."""
    match error:
        case ConnectError():
            reason, text = error.reason, error.message
        case OSError() | EOFError():
            reason, text = Reason.PEER_CLOSED, failures.os_text(error)
        case Exception() if is_undecodable(error):
            reason, text = Reason.PROTOCOL_MISMATCH, undecodable(error).message
        case _:
            reason, text = Reason.PEER_CLOSED, "the peer closed the connection without a word"
    return CloseInfo(by=ClosedBy.TRANSPORT, reason=reason, text=text)


def objected(close: Close) -> CloseInfo:
    """Return how a connection that was open ended with our Close for what the peer sent."""
    return CloseInfo(
        by=ClosedBy.CLIENT,
        reason=Reason.FLOODED if close.code == RESOURCE_ERROR else Reason.PROTOCOL_MISMATCH,
        text=close.text,
        codes=close.codes,
    )


def _origin(error: BaseException) -> BaseException:
    """Return the error that aiormq wrapped into one of its own, or the error itself."""
    cause = error.__cause__
    wrapped = isinstance(error, aiormq_errors.AMQPConnectionError)
    return cause if wrapped and isinstance(cause, OSError | EOFError) else error


def _translate(error: BaseException, progress: HandshakeProgress) -> ConnectError:
    match error:
        case ssl.SSLError():
            return tls_failures.translated(error, where=progress.where)
        case TimeoutError():
            return failures.timed_out(progress, missing=_unanswered(progress))
        case _:
            return _dropped(error, progress)


def _dropped(error: BaseException, progress: HandshakeProgress) -> ConnectError:
    """Return what an end of file or a reset means at each step."""
    step = progress.step
    match step:
        case TransportStep():
            return failures.dropped_transport(
                error,
                step,
                where=progress.where,
                port_use=peers.usual_use(progress.endpoint.port),
            )
        case HandshakeStep.START | HandshakeStep.OPEN:
            return TransientError(
                Reason.PEER_CLOSED,
                f"{progress.where}: {failures.os_text(error)} ({_missing(progress)})",
                authenticated=progress.authenticated,
            )
        case HandshakeStep.LOGIN:
            return _dropped_login(f"{progress.where}: {failures.os_text(error)}", progress)
        case _:
            assert_never(step)


def _unanswered(progress: HandshakeProgress) -> str:
    """Return what was missing when the time was over, with a reason where there is one."""
    login = progress.login
    missing = _missing(progress)
    if progress.step is HandshakeStep.LOGIN and login is not None and login.is_too_long:
        # RabbitMQ takes three seconds to hang up on it; the time-out can be shorter.
        return f"{missing}; it has {login.comparison}"
    return missing


def _missing(progress: HandshakeProgress) -> str:
    return failures.missing(progress, greeting=HandshakeStep.START)


def _dropped_login(text: str, progress: HandshakeProgress) -> ConnectError:
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
