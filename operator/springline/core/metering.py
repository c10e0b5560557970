"""Measuring at the place where it happens: every attempt, every update of a live session.

Events leave repetitions out and status shows only the last; what is told to the meter is complete.
"""

import asyncio
import contextlib
from collections.abc import Iterator

from springline import errors
from springline.core import ports
from springline.core.outcomes import AttemptOutcome, UpdateOutcome, VerificationOutcome
from springline.reasons import Reason

__all__ = ["NO_METER", "NoMeter", "attempt"]


class NoMeter:
    """Counts nothing, as `core.ports.Meter`."""

    def attempt_ended(
        self, protocol: str, *, outcome: AttemptOutcome, reason: Reason, seconds: float
    ) -> None:
        pass

    def disconnected(self, reason: Reason) -> None:
        pass

    def secret_updated(self, method: str, outcome: UpdateOutcome, seconds: float) -> None:
        pass

    def verified(self, outcome: VerificationOutcome) -> None:
        pass

    def probed(self, seconds: float) -> None:
        pass


NO_METER = NoMeter()


@contextlib.contextmanager
def attempt(meter: ports.Meter, clock: ports.Clock, protocol: str) -> Iterator[None]:
    """Measure the attempt that is made within, however it ends."""
    started = clock.monotonic()
    outcome, reason = AttemptOutcome.OPENED, Reason.OPEN
    try:
        yield
    except BaseException as error:
        outcome, reason = _judged(error)
        raise
    finally:
        seconds = clock.monotonic() - started
        meter.attempt_ended(protocol, outcome=outcome, reason=reason, seconds=seconds)


def _judged(error: BaseException) -> tuple[AttemptOutcome, Reason]:
    match error:
        case errors.CredentialError(reason=reason):
            return AttemptOutcome.NO_CREDENTIAL, reason
        case errors.TerminalError(reason=reason):
            return AttemptOutcome.TERMINAL, reason
        case errors.RejectedError(reason=reason):
            return AttemptOutcome.REFUSED, reason
        case errors.ConnectError(reason=reason):
            return AttemptOutcome.TRANSIENT, reason
        case asyncio.CancelledError():
            return AttemptOutcome.DROPPED, Reason.CLIENT_CLOSED
        case _:
            return AttemptOutcome.TRANSIENT, Reason.INTERNAL_ERROR
