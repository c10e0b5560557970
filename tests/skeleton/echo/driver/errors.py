"""Every foreign failure, translated once into `springline.errors`.

Foreign are the exceptions of the operating system, ssl, asyncio and json.
"""

import contextlib
import enum
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from springline.core.values import ClosedBy, CloseInfo
from springline.drivers.shared import failures, tls_failures
from springline.drivers.shared.progress import Progress, TransportStep
from springline.errors import ConnectError, RejectedError, TransientError
from springline.reasons import Reason

__all__ = ["EchoProgress", "EchoStep", "lost", "mismatch", "translated"]


class EchoStep(enum.Enum):
    """The steps after the transport's; the value says what was missing when an attempt ended."""

    GREETING = "connected, but the peer did not greet"
    LOGIN = "greeted, but the login was not answered"
    ENTRY = "logged in, but the entry into the hub was not answered"


@dataclass(slots=True, kw_only=True)
class EchoProgress(Progress[EchoStep]):
    """What one attempt has reached."""

    @property
    def authenticated(self) -> bool:
        """Whether the hub has accepted the login."""
        return self.step is EchoStep.ENTRY


@contextlib.contextmanager
def translated(progress: EchoProgress) -> Iterator[None]:
    """Raise what happens inside as the `ConnectError` that says what to do next."""
    try:
        yield
    except ssl.SSLError as error:
        raise tls_failures.translated(error, where=progress.where) from error
    except TimeoutError as error:
        raise failures.timed_out(progress, missing=progress.step.value) from error
    except (OSError, EOFError) as error:
        raise _dropped(error, progress) from error
    except (ValueError, TypeError, LookupError):
        raise mismatch() from None  # it may quote what the peer said, and that our secret


def mismatch() -> RejectedError:
    """Return the error for a peer that does not speak Echo."""
    return RejectedError(Reason.PROTOCOL_MISMATCH, "the peer sent what is no line of Echo")


def lost(error: Exception) -> CloseInfo:
    """Return how a connection that was open ended without a word."""
    match error:
        case TimeoutError():
            reason, text = Reason.HEARTBEAT_MISSED, "nothing was heard for two heartbeats"
        case ValueError():
            reason, text = Reason.PROTOCOL_MISMATCH, mismatch().message
        case _:
            reason, text = Reason.PEER_CLOSED, failures.os_text(error)
    return CloseInfo(by=ClosedBy.TRANSPORT, reason=reason, text=text)


def _dropped(error: BaseException, progress: EchoProgress) -> ConnectError:
    if isinstance(progress.step, TransportStep):
        return failures.dropped_transport(error, progress.step, where=progress.where)
    return TransientError(
        Reason.PEER_CLOSED,
        f"{progress.where}: {failures.os_text(error)} ({progress.step.value})",
        authenticated=progress.authenticated,
    )
