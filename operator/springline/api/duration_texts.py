"""Durations as people write them in manifests: "500ms", "30s", "1h30m".

The grammar is that of Go's `time.ParseDuration` with four limits: there is no sign, a unit always
stands (even after 0), the smallest unit is the microsecond, and nothing finer than one is accepted.

`format` gives one text for each value, and `parse` reads it back to the same value:

- below two minutes the seconds stay together: "0s", "60s", "90s", "1.5s"
- from there on hours, minutes and seconds, without those that are zero: "2m", "1h30m", "24h"
- below one second "500ms", or "250us" where it is not a whole number of milliseconds

It needs no model, so a command that only waits for so long need not load any.
"""

import re
from datetime import timedelta
from decimal import Decimal
from typing import Final

__all__ = ["EXAMPLES", "LONGEST", "WHOLE", "format", "not_a_duration", "parse"]

MICROSECOND = timedelta(microseconds=1)

# The length is bounded because the text comes from outside; the longest `format` gives is shorter.
LONGEST = 40

UNITS: Final = {
    "h": 3_600_000_000,
    "m": 60_000_000,
    "s": 1_000_000,
    "ms": 1_000,
    "us": 1,
    "µs": 1,  # U+00B5, the micro sign
    "μs": 1,  # U+03BC, the Greek letter; Go takes both
}
NUMBER = r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+"
TERM: Final = re.compile(rf"({NUMBER})(h|ms|m|s|us|µs|μs)")
WHOLE: Final = re.compile(rf"(?:{TERM.pattern})+")

EXAMPLES: Final = 'such as "30s", "2m" or "1h30m"'


def parse(text: str) -> timedelta:
    """Read a duration.

    Raise `ValueError` where it is none; its text continues a sentence that begins with the value.
    """
    if len(text) > LONGEST or not WHOLE.fullmatch(text):
        bare = re.fullmatch(r"[0-9]{1,9}", text)
        raise ValueError(f'is not a duration; write "{text}s"' if bare else not_a_duration())
    total = sum(Decimal(number) * UNITS[unit] for number, unit in TERM.findall(text))
    if total != int(total):
        raise ValueError("is finer than a microsecond")
    try:
        return timedelta(microseconds=int(total))
    except OverflowError:
        raise ValueError("is too long") from None


def not_a_duration() -> str:
    """Return what is said of a text that is none, to continue a sentence."""
    return f"is not a duration; write one {EXAMPLES}"


def format(value: timedelta) -> str:  # noqa: A001 - always called by its module
    """Write a duration that is not negative in its one canonical form."""
    total = value // MICROSECOND
    if total < 0:
        raise ValueError("a duration cannot be negative")
    if 0 < total < UNITS["s"]:
        return f"{total}us" if total % UNITS["ms"] else f"{total // UNITS['ms']}ms"
    seconds, fraction = divmod(total, UNITS["s"])
    decimals = f".{fraction:06}".rstrip("0").rstrip(".")
    if seconds < 120:
        return f"{seconds}{decimals}s"
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return (
        (f"{hours}h" if hours else "")
        + (f"{minutes}m" if minutes else "")
        + (f"{seconds}{decimals}s" if seconds or decimals else "")
    )
