"""Durations as people write them in manifests: "500ms", "30s", "1h30m".

The grammar is that of Go's `time.ParseDuration` with four limits: there is no sign, a unit always
stands (even after 0), the smallest unit is the microsecond, and nothing finer than one is accepted.

`format` gives one text for each value, and `parse` reads it back to the same value:

- below two minutes the seconds stay together: "0s", "60s", "90s", "1.5s"
- from there on hours, minutes and seconds, without those that are zero: "2m", "1h30m", "24h"
- below one second "500ms", or "250us" where it is not a whole number of milliseconds
"""

import dataclasses
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from springline.api import problems

__all__ = ["Span", "format", "parse"]

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
        raise ValueError(f'is not a duration; write "{text}s"' if bare else _not_a_duration())
    total = sum(Decimal(number) * UNITS[unit] for number, unit in TERM.findall(text))
    if total != int(total):
        raise ValueError("is finer than a microsecond")
    try:
        return timedelta(microseconds=int(total))
    except OverflowError:
        raise ValueError("is too long") from None


def _not_a_duration() -> str:
    return f"is not a duration; write one {EXAMPLES}"


def format(value: timedelta) -> str:  # noqa: A001 - always called as `durations.format`
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


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Annotate a `timedelta` field with the durations it accepts, both ends included.

    A document gives text; Python code may give a `timedelta`. It is written back as text.
    """

    minimum: str
    maximum: str
    zero: bool = False  # "0s" is accepted too, as "off"
    whole_seconds: bool = False  # what is sent to the broker counts in seconds

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self._validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                format, return_schema=core_schema.str_schema()
            ),
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        # What `_validate` does, for the API server: CEL reads durations as Go does.
        rule = (
            f"self.matches(r'^{WHOLE.pattern}$') && duration(self) >= duration('{self.minimum}')"
            f" && duration(self) <= duration('{self.maximum}')"
        )
        if self.whole_seconds:
            rule += " && duration(self).getMilliseconds() % 1000 == 0"
        if self.zero:
            rule = f"({rule}) || self.matches('^(0(h|ms|m|s|us))+$')"
        return {
            "type": "string",
            "maxLength": LONGEST,
            "x-kubernetes-validations": [{"rule": rule, "message": self._expected}],
        }

    @property
    def _expected(self) -> str:
        """One sentence for everything that can be wrong, where only one can be given."""
        what = "a duration in whole seconds" if self.whole_seconds else "a duration"
        off = " (0s turns it off)" if self.zero else ""
        return f"must be {what} between {self.minimum} and {self.maximum}{off}, {EXAMPLES}"

    def _validate(self, value: object) -> timedelta:
        duration = value if isinstance(value, timedelta) else self._parse(value)
        if self.zero and not duration:
            return duration
        if not parse(self.minimum) <= duration <= parse(self.maximum):
            bounds = f"between {self.minimum} and {self.maximum}"
            if self.zero:
                bounds = f"0s, or {bounds}"
            raise problems.refused(
                f"is out of range; it must be {bounds}", expected=f"must be {bounds}"
            )
        if self.whole_seconds and duration % timedelta(seconds=1):
            raise problems.refused(
                "has a fraction of a second; write whole seconds", expected="must be whole seconds"
            )
        return duration

    def _parse(self, value: object) -> timedelta:
        expected = f"must be a duration {EXAMPLES}"
        if isinstance(value, str):
            try:
                return parse(value)
            except ValueError as error:
                complaint = str(error)
        elif isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**9:
            complaint = f'is not a duration; write "{value}s"'
        else:
            complaint = _not_a_duration()
        raise problems.refused(complaint, expected=expected)
