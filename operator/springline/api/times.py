"""Points in time as the API has them: RFC 3339, in UTC, in whole seconds."""

from datetime import UTC, datetime

__all__ = ["rfc3339"]


def rfc3339(at: datetime) -> str:
    """Return a time that has a time zone as it is written everywhere."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
