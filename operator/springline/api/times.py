"""Points in time as the API has them: RFC 3339, in UTC, in whole seconds."""

from datetime import UTC, datetime

__all__ = ["rfc3339"]

_LENGTH = len("2026-11-21T08:00:00")


def rfc3339(at: datetime) -> str:
    """Return a time that has a time zone as it is written everywhere."""
    # Not by strftime, which takes several times as long: a status has a dozen times.
    return at.astimezone(UTC).isoformat(timespec="seconds")[:_LENGTH] + "Z"
