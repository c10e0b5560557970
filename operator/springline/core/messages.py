"""What a session is told: by those who declare it, by its helper tasks, by its connection.

Each message is handled to the end before the next. News of an attempt carries the attempt's number
and news of a connection the connection, so that what arrives late can be recognised and dropped.
"""

import asyncio
from dataclasses import dataclass

from springline import errors
from springline.core import ports, renewal, state
from springline.core.attempt import Success
from springline.core.desired import SessionSpec
from springline.core.state import Failure
from springline.core.values import CloseInfo

__all__ = [
    "AttemptEnded",
    "Changed",
    "Confirmed",
    "ConnectionNews",
    "Declare",
    "Desired",
    "Message",
    "News",
    "RenewalEnded",
    "RenewalFailed",
    "Request",
    "SaidExpired",
    "TimerRang",
    "Unusable",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """What one session is to do now, and with what."""

    spec: SessionSpec
    credentials: ports.CredentialSource
    tls: ports.TLSSource
    endpoints: ports.EndpointSource
    limit: asyncio.Semaphore
    """Shared by the sessions of one broker: how many attempts run at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """A declaration that no session can be opened for, and why."""

    generation: int
    problem: Failure


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


News = (
    state.Blocked
    | state.Unblocked
    | state.ProbeUnanswered
    | state.ProbeRefused
    | state.RenewalDue
    | state.CredentialExpired
    | Changed
    | Confirmed
    | SaidExpired
    | CloseInfo
)


@dataclass(frozen=True, slots=True)
class ConnectionNews:
    """Something happened to this connection."""

    connection: ports.Connection
    news: News


@dataclass(frozen=True, slots=True)
class RenewalFailed:
    """A try of the renewal with this number failed; news of an earlier one are stale."""

    number: int
    connection: ports.Connection
    news: state.RenewalRefused


@dataclass(frozen=True, slots=True)
class RenewalEnded:
    """The credential of this live session was brought up to date."""

    live: Success
    outcome: renewal.Outcome


Request = (
    state.CredentialChanged
    | state.RenewRequested
    | state.ReconnectRequested
    | state.CloseRequested
    | state.CloseWhenLostRequested
)

Message = (
    Declare | AttemptEnded | TimerRang | ConnectionNews | RenewalEnded | RenewalFailed | Request
)
