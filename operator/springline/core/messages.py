"""What a session is told: by those who declare it, by its helper tasks, by its connection.

Each message is handled to the end before the next. News of an attempt carries the attempt's number
and news of a connection the connection, so that what arrives late can be recognised and dropped.
"""

from dataclasses import dataclass

from springline import errors
from springline.core import ports, renewal, state
from springline.core.attempt import Success
from springline.core.lifetime import Moment
from springline.core.values import CloseInfo
from springline.core.wanted import Desired, Unusable

__all__ = [
    "AttemptEnded",
    "Changed",
    "Confirmed",
    "ConnectionNews",
    "Declare",
    "LinkSilent",
    "Message",
    "News",
    "Request",
    "SaidExpired",
    "TimerRang",
    "Tried",
]


@dataclass(frozen=True, slots=True)
class Declare:
    """This is what the session is to do from now on."""

    declaration: Desired | Unusable


@dataclass(frozen=True, slots=True)
class AttemptEnded:
    """The attempt with this number has a result."""

    number: int
    result: Success | errors.ConnectError | errors.CredentialError


@dataclass(frozen=True, slots=True)
class TimerRang:
    """It is time for the attempt that was put off under this number."""

    number: int


@dataclass(frozen=True, slots=True)
class Changed:
    """What can be shown of it has changed."""


@dataclass(frozen=True, slots=True)
class Confirmed:
    """The broker confirmed a probe's publish after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class SaidExpired:
    """The broker refused the probe because the credential in use has expired, in these words."""

    words: str


@dataclass(frozen=True, slots=True)
class LinkSilent:
    """So many probes in a row were not answered, and nothing else shows a link that is dead."""

    probes: int


News = (
    state.ProbeUnanswered
    | state.ProbeFailed
    | state.ProbeRefused
    | state.ProbeRestarted
    | Changed
    | Confirmed
    | LinkSilent
    | SaidExpired
    | Moment
    | CloseInfo
)


@dataclass(frozen=True, slots=True)
class ConnectionNews:
    """Something happened to this connection."""

    connection: ports.Connection
    news: News


@dataclass(frozen=True, slots=True)
class Tried:
    """The renewal with this number was tried for this live session."""

    number: int
    live: Success
    came: renewal.Outcome | renewal.Refusal


Request = (
    state.CredentialChanged
    | state.RenewRequested
    | state.ReconnectRequested
    | state.CloseRequested
    | state.CloseWhenLostRequested
)

Message = Declare | AttemptEnded | TimerRang | ConnectionNews | Tried | Request
