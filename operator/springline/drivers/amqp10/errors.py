"""Every foreign failure of an attempt, translated once into `springline.errors`.

Foreign are the exceptions of the operating system, ssl and asyncio; the words for these are shared
with other drivers. What a peer says in an error condition is in conditions.py.
"""

import asyncio
import contextlib
import enum
import ssl
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, assert_never

from springline.drivers.shared import failures, peers, tls_failures
from springline.drivers.shared.progress import Progress, TransportStep
from springline.errors import (
    ConnectError,
    CredentialRejectedError,
    RejectedError,
    TransientError,
)
from springline.reasons import Reason

__all__ = [
    "Amqp10Progress",
    "HandshakeStep",
    "flooded",
    "mismatch",
    "refused_login",
    "translated",
]

_DELIBERATE_SECONDS: Final = 2.0
"""RabbitMQ 4 answers an Open that it does not want by hanging up after three seconds. A broker that
goes down hangs up at once."""


class HandshakeStep(enum.Enum):
    """The steps after the transport's; the value says what was missing when an attempt ended."""

    SASL = "connected, but the peer sent no AMQP 1.0 greeting; does the port speak AMQP 1.0?"
    LOGIN = "greeted, but the login (sasl-init) was not answered"
    OPEN = "logged in, but opening the connection was not answered"
    BEGIN = "the connection is open, but beginning a session was not answered"


@dataclass(slots=True, kw_only=True)
class Amqp10Progress(Progress[HandshakeStep]):
    """What one attempt has reached; written by the attempt, read here."""

    place: str = ""
    """The virtual host, for people."""
    opened_at: float = field(default=0.0)
    """When our Open was sent, in the event loop's time."""

    @property
    def authenticated(self) -> bool:
        """Whether the broker has accepted the login."""
        return self.step in (HandshakeStep.OPEN, HandshakeStep.BEGIN)


@contextlib.contextmanager
def translated(progress: Amqp10Progress) -> Iterator[None]:
    """Raise what happens inside as the `ConnectError` that says what to do next."""
    try:
        yield
    except ConnectError:
        raise
    except (OSError, EOFError) as error:
        raise _translate(error, progress) from error


def flooded(what: str) -> RejectedError:
    """Return the error for a peer that sends more than a session takes."""
    return RejectedError(Reason.FLOODED, f"the peer sent {what}, and no session takes so much")


def mismatch(what: str) -> RejectedError:
    """Return the error for a peer that sent `what`, which AMQP 1.0 has no room for."""
    return RejectedError(Reason.PROTOCOL_MISMATCH, f"the peer sent {what}")


def refused_login(code: int, *, mechanism: str, where: str, hint: str) -> ConnectError:
    """Return what the outcome of a login means that is not 0 (part 5 §5.3.3.6)."""
    advice = f"; {hint}" if hint else ""
    match code:
        case 1:
            return CredentialRejectedError(
                Reason.ACCESS_REFUSED, f"login refused (SASL {mechanism}, outcome 1: auth){advice}"
            )
        case 2 | 3:
            return RejectedError(
                Reason.ACCESS_REFUSED,
                f"{where}: the broker's login has a permanent fault (SASL {mechanism}, outcome"
                f" {code}: {'sys' if code == 2 else 'sys-perm'}); its log says more",
            )
        case 4:
            return TransientError(
                Reason.PEER_CLOSED,
                f"{where}: the broker cannot log anybody in now (SASL {mechanism}, outcome 4:"
                " sys-temp)",
            )
        case _:
            return mismatch(f"a SASL outcome that there is not ({code})")


def _translate(error: BaseException, progress: Amqp10Progress) -> ConnectError:
    match error:
        case ssl.SSLError():
            return tls_failures.translated(error, where=progress.where)
        case TimeoutError():
            return failures.timed_out(progress, missing=_missing(progress))
        case _:
            return _dropped(error, progress)


def _dropped(error: BaseException, progress: Amqp10Progress) -> ConnectError:
    """Return what an end of file or a reset means at each step."""
    step = progress.step
    text = f"{progress.where}: {failures.os_text(error)}"
    match step:
        case TransportStep():
            return failures.dropped_transport(
                error,
                step,
                where=progress.where,
                port_use=peers.usual_use(progress.endpoint.port),
            )
        case HandshakeStep.SASL | HandshakeStep.BEGIN:
            return _peer_closed(f"{text} ({_missing(progress)})", progress)
        case HandshakeStep.LOGIN:
            return _peer_closed(
                f"{text} ({step.value}; brokers hang up like this on a mechanism they do not accept"
                " and on a user they cannot look up)",
                progress,
            )
        case HandshakeStep.OPEN:
            waited = asyncio.get_running_loop().time() - progress.opened_at
            if waited < _DELIBERATE_SECONDS:
                return _peer_closed(f"{text} ({step.value})", progress)
            return RejectedError(
                Reason.ACCESS_REFUSED,
                f"{progress.where} took the login, and hung up on {progress.place} without a word:"
                " RabbitMQ 4 does that where there is no such virtual host, or the user may not"
                " enter it",
                authenticated=True,
            )
        case _:
            assert_never(step)


def _peer_closed(text: str, progress: Amqp10Progress) -> ConnectError:
    return TransientError(Reason.PEER_CLOSED, text, authenticated=progress.authenticated)


def _missing(progress: Amqp10Progress) -> str:
    return failures.missing(progress, greeting=HandshakeStep.SASL)
