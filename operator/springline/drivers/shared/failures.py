"""What the operating system says of an attempt, as an error that says what to do next.

TLS has tls_failures.py. What a failure at one of a driver's own steps means is the driver's.
"""

import asyncio
import enum
import errno
import os
from typing import TypeVar

from springline.drivers.shared import peers
from springline.drivers.shared.progress import Progress, TransportStep
from springline.errors import ConnectError, TransientError
from springline.reasons import Reason

__all__ = ["dropped_transport", "missing", "os_text", "seconds", "timed_out"]

StepT = TypeVar("StepT", bound=enum.Enum)


def timed_out(progress: Progress[StepT], *, missing: str) -> ConnectError:
    """Return what it means that the time of an attempt is over, and `missing` was not there."""
    return TransientError(
        Reason.CONNECT_TIMEOUT,
        f"{progress.where}: nothing answered within {seconds(progress.timeout)} s ({missing})",
        authenticated=progress.authenticated,
    )


def dropped_transport(
    error: BaseException, step: TransportStep, *, where: str, port_use: str = ""
) -> ConnectError:
    """Return what an end of file or a reset means before a driver's own steps.

    `port_use` is what the port is usually for, as `peers` says it.
    """
    text = f"{where}: {os_text(error)}"
    if step is TransportStep.TCP:
        return TransientError(Reason.CONNECTION_REFUSED, text)
    return TransientError(Reason.TLS_FAILED, f"{text} ({step.value}{port_use})")


def missing(progress: Progress[StepT], *, greeting: StepT) -> str:
    """Return what was missing, with what the port is usually for where it may be the wrong one.

    At `greeting` a peer is to say for the first time that it speaks the protocol.
    """
    text: str = progress.step.value
    if progress.step in (TransportStep.TLS, greeting):
        text += peers.usual_use(progress.endpoint.port)
    return text


def os_text(error: BaseException) -> str:
    """Return an operating system's error, or an end of file, as a phrase."""
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


def seconds(value: float) -> str:
    """Round: what was left of a limit differs a little each time, and is to be reported once."""
    return f"{round(value, 1 if value >= 1 else 2):g}"
