"""Credentials that expire: when to renew one, and who tells when it is time."""

from collections.abc import Callable
from datetime import datetime, timedelta
from random import Random

from springline.core import ports
from springline.core.values import Credential

__all__ = ["follow", "has_expired", "is_due", "renewal_time"]

_SPREAD = 0.05
"""Share of the lifetime by which a renewal may be early, so that not everybody renews at once."""

_LONGEST_SLEEP_SECONDS = 60.0
"""The wall clock may be set, and a machine may sleep; nobody tells us."""


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


def is_due(renew_at: datetime | None, *, now: datetime) -> bool:
    """Whether the time to renew has come."""
    return renew_at is not None and renew_at <= now


def has_expired(credential: Credential, *, now: datetime) -> bool:
    """Whether a credential's lifetime is over, by our own clock."""
    return credential.expires_at is not None and credential.expires_at <= now


async def follow(
    credential: Credential,
    renew_at: datetime,
    *,
    clock: ports.Clock,
    due: Callable[[], None],
    expired: Callable[[], None],
) -> None:
    """Call `due` when the credential is to be renewed and `expired` when its lifetime ends."""
    await _until(renew_at, clock)
    due()
    if credential.expires_at is not None:
        await _until(credential.expires_at, clock)
        expired()


async def _until(when: datetime, clock: ports.Clock) -> None:
    while (left := (when - clock.now()).total_seconds()) > 0:
        await clock.sleep(min(left, _LONGEST_SLEEP_SECONDS))
