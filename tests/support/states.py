"""The states of a session that tests begin with, each reached by the events that lead to it."""

from springline.core.state import (
    AttemptFailed,
    Blocked,
    CloseRequested,
    CloseWhenLostRequested,
    Declared,
    Failure,
    Lost,
    Opened,
    SessionState,
    StateEvent,
    step,
)
from springline.reasons import Reason
from support.builders import a_block, credential_refused, no_secret, terminal, unreachable

__all__ = [
    "BLOCKED",
    "CONNECTED",
    "CONNECTING",
    "ENDED",
    "ENDING_WITH_CONNECTION",
    "GONE",
    "INVALID",
    "LOST",
    "REJECTED",
    "STAYED_CLOSED",
    "SUSPENDED",
    "TERMINAL",
    "UNUSABLE",
    "WAITING",
    "WITHOUT_SECRET",
    "after",
]

INVALID = Failure(reason=Reason.INVALID_SPEC, message="the declaration contradicts itself")
GONE = Failure(reason=Reason.PEER_CLOSED, message="the peer ended the connection")


def after(*events: StateEvent, of: SessionState | None = None) -> SessionState:
    current = of if of is not None else SessionState()
    for event in events:
        current = step(current, event).state
    return current


CONNECTING = SessionState()
CONNECTED = after(Opened())
BLOCKED = after(Opened(), Blocked(block=a_block()))
LOST = after(Opened(), Lost(failure=GONE))
WAITING = after(AttemptFailed(error=unreachable()))
WITHOUT_SECRET = after(AttemptFailed(error=no_secret()))
REJECTED = after(AttemptFailed(error=credential_refused()))
TERMINAL = after(AttemptFailed(error=terminal()))
UNUSABLE = after(Declared(problem=INVALID))
SUSPENDED = after(Declared(suspend=True))
STAYED_CLOSED = after(Declared(stay_closed=True), Opened(), Lost(failure=GONE))
ENDING_WITH_CONNECTION = after(Opened(), CloseWhenLostRequested())
ENDED = after(CloseRequested())
