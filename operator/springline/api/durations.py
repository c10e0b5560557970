"""Durations in manifests: text in documents, `timedelta` in Python.

The grammar, and what is written, is that of `duration_texts`.
"""

import dataclasses
from datetime import timedelta
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from springline.api import problems
from springline.api.duration_texts import EXAMPLES, LONGEST, WHOLE, format, not_a_duration, parse  # noqa: A004

__all__ = ["Span", "format", "parse"]


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
            complaint = not_a_duration()
        raise problems.refused(complaint, expected=expected)
