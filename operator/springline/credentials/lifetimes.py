"""How long a token that was issued just now is valid: the shortest of what is said about it.

Its issuer may say so twice, in the answer and in the token itself, and RabbitMQ looks at the token.
Only how long it lives is taken from the issuer, as far as possible: then it does not matter what
anybody's clock says.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from springline.credentials import claims

__all__ = ["LONGEST_SECONDS", "shortest"]

LONGEST_SECONDS: Final = 10 * 365 * 86400.0
"""Nothing that is issued counts for longer; somebody has mistaken the unit."""

_SLACK_SECONDS = 2.0  # `exp`, `iat` and Date have whole seconds, and an answer takes its time


def shortest(
    told: float | None, claimed: Mapping[str, Any], *, sent_at: datetime | None, now: datetime
) -> float | None:
    """Return for how many seconds a token is valid, none or less if it is over; None for ever.

    `told` is what its issuer says in the answer, `claimed` what the token says of itself, and
    `sent_at` when the answer was sent by the issuer's clock. Without that and without `iat`, the
    end in the token is compared with our clock, `now`.
    """
    seconds = told
    for each in _claimed(claimed, sent_at=sent_at, now=now):
        if seconds is None or each < seconds - _SLACK_SECONDS:
            seconds = each
    return None if seconds is None else min(seconds, LONGEST_SECONDS)


def _claimed(
    claimed: Mapping[str, Any], *, sent_at: datetime | None, now: datetime
) -> tuple[float, ...]:
    begins, ends = claims.issued_at(claimed), claims.expires_at(claimed)
    if ends is None:
        return ()
    beginnings = [each for each in (begins, sent_at) if each is not None] or [now]
    return tuple((ends - each).total_seconds() for each in beginnings)
