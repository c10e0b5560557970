"""What the system says of an attempt becomes one reason and one family, in any protocol."""

import asyncio
import enum
import errno
from dataclasses import dataclass

import pytest

from springline.core.values import Endpoint
from springline.drivers.shared import failures
from springline.drivers.shared.progress import Progress, TransportStep
from springline.errors import TransientError
from springline.reasons import Reason


class OwnStep(enum.Enum):
    """The steps of some protocol."""

    GREETING = "connected, but there was no greeting"
    READY = "greeted, but it was not ready"


@dataclass(slots=True, kw_only=True)
class OwnProgress(Progress[OwnStep]):
    """A driver's own progress."""

    @property
    def authenticated(self) -> bool:
        return self.step is OwnStep.READY


def progress(step: TransportStep | OwnStep = TransportStep.TCP) -> OwnProgress:
    return OwnProgress(endpoint=Endpoint("rabbit", 5672), timeout=3, address="10.0.0.7", step=step)


def test_the_place_is_named_with_the_address_behind_it() -> None:
    assert progress().where == "rabbit:5672 (10.0.0.7)"


@pytest.mark.parametrize("step", [*TransportStep, *OwnStep])
def test_time_that_is_over_names_what_was_missing(step: TransportStep | OwnStep) -> None:
    error = failures.timed_out(progress(step), missing=step.value)
    assert type(error) is TransientError
    assert error.reason is Reason.CONNECT_TIMEOUT
    assert error.authenticated is (step is OwnStep.READY)
    assert error.message == f"rabbit:5672 (10.0.0.7): nothing answered within 3 s ({step.value})"


@pytest.mark.parametrize(
    ("step", "reason", "says"),
    [
        (TransportStep.TCP, Reason.CONNECTION_REFUSED, "there: the peer reset the connection"),
        (
            TransportStep.TLS,
            Reason.TLS_FAILED,
            (
                "there: the peer reset the connection (connected, but the TLS handshake was not"
                " completed; does the port speak TLS?)"
            ),
        ),
    ],
)
def test_reset_of_a_transport_is_told_by_its_step(
    step: TransportStep, reason: Reason, says: str
) -> None:
    reset = ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    error = failures.dropped_transport(reset, step, where="there")
    assert type(error) is TransientError
    assert (error.reason, error.message) == (reason, says)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "no answer in time"),
        (EOFError(), "the peer closed the connection"),
        (asyncio.IncompleteReadError(b"", 7), "the peer closed the connection"),
        (ConnectionError(), "the peer closed the connection"),
        (BrokenPipeError(errno.EPIPE, "…"), "the peer reset the connection"),
        (OSError(errno.ENETUNREACH, "10.0.0.7 …"), "network is unreachable"),
        (RuntimeError("pl4nted"), "RuntimeError"),
    ],
)
def test_system_error_is_a_phrase_without_what_it_quotes(error: BaseException, text: str) -> None:
    assert failures.os_text(error) == text
