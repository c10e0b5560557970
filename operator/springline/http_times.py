"""Times in the headers of an answer: when it was sent, and when its server wants to be asked again.

Pure. What cannot be read is none.
"""

import email.utils
from datetime import UTC, datetime

__all__ = ["date", "retry_after"]

_MOST_DIGITS = 12  # more than all seconds of the calendar


def date(text: str | None) -> datetime | None:
    """Return the time of an HTTP-date in any of its three forms (RFC 9110 §5.6.7)."""
    if not text or not text.isascii():
        return None
    try:
        found = email.utils.parsedate_to_datetime(text)
        # Those without a zone are in UTC, too. The other ones may lie beyond the calendar there.
        return found.astimezone(UTC) if found.tzinfo is not None else found.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        return None


def retry_after(text: str | None, *, sent_at: datetime | None, now: datetime) -> float | None:
    """Return the seconds that a server wants to be left alone for (RFC 9110 §10.2.3).

    It says so in seconds or as a time by its own clock: that is compared with when it sent the
    answer by the same clock, or with ours if it does not say that.
    """
    text = (text or "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:_MOST_DIGITS])
    until = date(text)
    if until is None:
        return None
    return max((until - (sent_at or now)).total_seconds(), 0.0)
