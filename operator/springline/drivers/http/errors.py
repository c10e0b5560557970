"""What a call can fail with, and every foreign failure of dialling and reading, translated once.

Foreign are the exceptions of the operating system, ssl and asyncio, whose words drivers share. What
h11 and h2 raise stays in http1.py and http2.py, and none of it is chained: it may quote the peer.
"""

import contextlib
import enum
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

from springline.drivers.shared import failures, peers, tls_failures
from springline.drivers.shared.progress import Progress, TransportStep
from springline.errors import ConnectError, RejectedError, SpringlineError, TransientError
from springline.reasons import Reason

__all__ = ["HttpProgress", "HttpStep", "RetryRequestError", "failed", "lost", "translated"]

_REJECTED = frozenset({Reason.PROTOCOL_MISMATCH, Reason.FLOODED, Reason.NEGOTIATION_FAILED})


class RetryRequestError(SpringlineError):
    """The call has no answer on this connection, and may be made on another one.

    Nothing repeats it by itself. `is_unprocessed` says that the server has certainly not begun with
    it: it was never sent, or the server said so. `is_idempotent` says that it does no harm if the
    server has (RFC 9110 §9.2.2).
    """

    def __init__(self, why: str, *, is_unprocessed: bool, is_idempotent: bool) -> None:
        super().__init__(why)
        self.why = why
        self.is_unprocessed = is_unprocessed
        self.is_idempotent = is_idempotent

    @property
    def may_repeat(self) -> bool:
        """Whether it may be made again without asking what became of it."""
        return self.is_unprocessed or self.is_idempotent

    def __str__(self) -> str:
        if self.is_unprocessed:
            return f"the request was not processed: {self.why}"
        return f"the request was not answered, and may have been processed: {self.why}"


class HttpStep(enum.Enum):
    """The step after the transport's; the value says what was missing when an attempt ended."""

    SETTINGS = "connected, but the peer sent no HTTP/2 SETTINGS frame; does the port speak HTTP/2?"


@dataclass(slots=True, kw_only=True)
class HttpProgress(Progress[HttpStep]):
    """What one attempt has reached. Nothing is proved before the first answer."""


@contextlib.contextmanager
def translated(progress: HttpProgress) -> Iterator[None]:
    """Raise what happens inside as the `ConnectError` that says what to do next."""
    try:
        yield
    except ConnectError:
        raise
    except (OSError, EOFError) as error:
        raise _translate(error, progress) from error


def failed(reason: Reason, text: str) -> ConnectError:
    """Return the error of a family that goes with the reason."""
    if reason in _REJECTED:
        return RejectedError(reason, text)
    return TransientError(reason, text)


def lost(error: BaseException, *, where: str) -> ConnectError:
    """Return what it means that reading from a connected peer raised `error`."""
    if isinstance(error, ssl.SSLError):
        # With TLS 1.3 a client certificate is refused after the handshake (RFC 8446 §4.4.2.4).
        return tls_failures.translated(error, where=where)
    return TransientError(Reason.PEER_CLOSED, f"{where}: {failures.os_text(error)}")


def _translate(error: BaseException, progress: HttpProgress) -> ConnectError:
    match error:
        case ssl.SSLError():
            return tls_failures.translated(error, where=progress.where)
        case TimeoutError():
            missing = f"{progress.step.value}{peers.usual_use(progress.endpoint.port)}"
            return failures.timed_out(progress, missing=missing)
    step = progress.step
    match step:
        case TransportStep():
            return failures.dropped_transport(
                error,
                step,
                where=progress.where,
                port_use=peers.usual_use(progress.endpoint.port),
            )
        case HttpStep.SETTINGS:
            return lost(error, where=progress.where)
        case _:
            assert_never(step)
