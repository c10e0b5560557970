"""Credentials that expire: when to renew one, and when it is time.

What counts as due, and as over, is deadline.py's to say; here is what it is asked about.
"""

import dataclasses
import enum
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from random import Random

from springline.core import deadline, ports
from springline.core.deadline import Deadline
from springline.core.pauses import Pause
from springline.core.values import Credential

__all__ = [
    "Moment",
    "end",
    "has_expired",
    "is_due",
    "moments",
    "received",
    "received_again",
    "renewal_time",
]


class Moment(enum.Enum):
    """What comes in the life of a credential, in this order."""

    DUE = "due"  # it is to be renewed
    OVER = "over"  # its lifetime has ended


_SPREAD = 0.05
"""Share of the lifetime by which a renewal may be early, so that not everybody renews at once."""

_LONGEST_SLEEP_SECONDS = 60.0
"""The wall clock may be set, and a machine may sleep; nobody tells us."""


def received(credential: Credential, clock: ports.Clock) -> Credential:
    """Return a credential with the instant from which its lifetime is measured: now.

    One that was issued for us has it already.
    """
    if credential.received is not None or credential.expires_at is None:
        return credential
    return dataclasses.replace(credential, received=deadline.instant(clock))


def received_again(before: Credential | None, credential: Credential) -> Credential:
    """Return a credential as it was received first, if that is the same as `before`.

    What is read twice does not live longer because the wall clock was set in between.
    """
    if (
        before is None
        or before.received is None
        or before.expires_at != credential.expires_at
        or not before.same_value(credential)
    ):
        return credential
    return dataclasses.replace(credential, received=before.received)


def renewal_time(credential: Credential, *, share: float, fetched_at: datetime) -> datetime | None:
    """Return when a credential is to be renewed: after `share` of its lifetime, or a bit before.

    None if it does not expire. Where nothing says when it was issued, its lifetime begins with
    `fetched_at`. Everybody with the same credential comes to the same time, so that one request to
    its issuer and one handshake serve all of them.
    """
    if credential.expires_at is None:
        return None
    begins = min(credential.issued_at or fetched_at, credential.expires_at)
    lifetime = (credential.expires_at - begins).total_seconds()
    early = Random(f"{begins.timestamp()}").uniform(0, min(_SPREAD, share / 2))  # noqa: S311 - spreads load
    return begins + timedelta(seconds=lifetime * (share - early))


def end(credential: Credential) -> Deadline | None:
    """Return the end of a credential's lifetime, None if it has none."""
    if credential.expires_at is None:
        return None
    return Deadline.of(credential.expires_at, counted_from=credential.received)


def is_due(credential: Credential, renew_at: datetime | None, clock: ports.Clock) -> bool:
    """Whether the time to renew a credential has come, by either clock."""
    if renew_at is None:
        return False
    return Deadline.of(renew_at, counted_from=credential.received).is_near(clock)


def has_expired(credential: Credential, clock: ports.Clock) -> bool:
    """Whether a credential's lifetime is over, as far as it can be measured here."""
    ends = end(credential)
    return ends is not None and ends.is_over(clock)


def moments(
    credential: Credential, renew_at: datetime, clock: ports.Clock
) -> Iterator[Moment | Pause]:
    """Yield each moment in the life of a credential when it comes, and pauses until then.

    A wall clock that is set forward makes it due early, once, and never expired.
    """
    renewal = Deadline.of(renew_at, counted_from=credential.received)
    yield from _until(lambda: renewal.until_near(clock))
    yield Moment.DUE
    ends = end(credential)
    if ends is not None:
        yield from _until(lambda: ends.until_over(clock))
        yield Moment.OVER


def _until(seconds_left: Callable[[], float]) -> Iterator[Pause]:
    while (left := seconds_left()) > 0:
        yield Pause(min(left, _LONGEST_SLEEP_SECONDS))
