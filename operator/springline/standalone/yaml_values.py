"""What a scalar of YAML, or a number of JSON, becomes on its way through kubectl.

kubectl reads YAML 1.1 in Go's way, makes JSON of it and gives whole numbers back as integers: `on`
is true, `0o17` is 15, `1e3` is 1000, and `12:30:45` and every date are text.
"""

import base64
import binascii
import contextlib
import math
import re
import struct
from collections.abc import Callable, Mapping
from datetime import date
from decimal import Decimal
from typing import Final

from springline.standalone.yaml_syntax import IMPLICIT, STRING

__all__ = ["MERGE", "NULL", "Scalar", "UnusableError", "key", "number", "scalar"]

Scalar = str | int | float | bool | None

_PREFIX: Final = STRING.removesuffix("str")
NULL: Final = f"{_PREFIX}null"
MERGE: Final = f"{_PREFIX}merge"
_BINARY: Final = f"{_PREFIX}binary"
_TIMESTAMP: Final = f"{_PREFIX}timestamp"
_BOOL, _INT, _FLOAT = (f"{_PREFIX}{name}" for name in ("bool", "int", "float"))

_NAMED: Final[Mapping[str, tuple[str, Scalar]]] = {
    each: (tag, value)
    for tag, value, texts in (
        (_BOOL, True, "y yes true on"),
        (_BOOL, False, "n no false off"),
        (NULL, None, "null"),
        (_FLOAT, math.nan, ".nan"),
        (_FLOAT, math.inf, ".inf +.inf"),
        (_FLOAT, -math.inf, "-.inf"),
    )
    for text in texts.split()
    for each in (text, text.capitalize(), text.upper())
} | {
    "": (NULL, None),
    "~": (NULL, None),
    **{f"{sign}.Inf": (_FLOAT, float(f"{sign}inf")) for sign in ("", "+", "-")},
    ".NaN": (_FLOAT, math.nan),
}

_INTEGERS: Final[tuple[tuple[re.Pattern[str], int], ...]] = tuple(
    (re.compile(pattern), base)
    for pattern, base in (
        (r"([-+]?)0[xX]([0-9a-fA-F]+)", 16),
        (r"([-+]?)0[oO]([0-7]+)", 8),
        (r"([-+]?)0[bB]([01]+)", 2),
        (r"()0b([-+]?[01]+)", 2),
        (r"([-+]?)0([0-7]+)", 8),
        (r"([-+]?)(0|[1-9][0-9]*)", 10),
    )
)
_FLOATING: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_DATE: Final = re.compile(
    r"([0-9]{4})-([0-9]{1,2})-([0-9]{1,2})"
    r"(?:([Tt ])([0-9]{1,2}):([0-9]{1,2}):([0-9]{1,2})([.,][0-9]+)?(Z|[-+][0-9]{2}:[0-9]{2})?)?"
)
_SMALLEST, _LARGEST, _LARGEST_UNSIGNED = -(2**63), 2**63 - 1, 2**64 - 1
_WRITTEN_OUT: Final = 1e21
"""From here on Go writes a float with an exponent, and none with one is an integer."""

_POWERS_OF_KEYS: Final = 6
"""From this power of ten on Go writes the key of a mapping with an exponent."""


class UnusableError(ValueError):
    """A scalar that kubectl refuses. `problem` does not quote it."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem


def scalar(tag: str, text: str) -> Scalar:
    """Return what the scalar is in JSON. Raises `UnusableError`."""
    found = _decoded(tag, text)
    if isinstance(found, float) and not math.isfinite(found):
        raise UnusableError("a value is no finite number, which JSON has no word for; quote it")
    return found if isinstance(found, bool | str | None) else number(found)


def key(tag: str, text: str) -> str:
    """Return what the scalar is as the name of a field. Raises `UnusableError`."""
    match _decoded(tag, text):
        case str() as found:
            return found
        case bool() as found:
            return "true" if found else "false"
        case float() as found:
            return _single(found)
        case int() as found if found <= _LARGEST:
            return str(found)
        case _:
            raise UnusableError("a key is no usable name; quote it")


def number(value: int | float) -> int | float:
    """Return a number as it is after Go has written it as JSON and read it again."""
    if isinstance(value, float) and value.is_integer() and abs(value) < _WRITTEN_OUT:
        value = int(Decimal(repr(value)))  # the digits that are written, not those of the power
    if isinstance(value, int) and not _SMALLEST <= value <= _LARGEST:
        return float(value)
    return value


def _decoded(tag: str, text: str) -> Scalar:
    if tag == _BINARY:
        return _from_base64(text)
    if tag not in _DECODERS:
        return text  # a tag of somebody else says nothing here
    return _DECODERS[tag](text)


def _resolved(text: str) -> tuple[str, Scalar]:
    """Return the tag and the value of a plain scalar."""
    if text in _NAMED:
        return _NAMED[text]
    if text[:1] == ".":
        plain = text
    elif text[:1] in "+-0123456789":
        plain = text.replace("_", "")
        if (whole := _integer(plain)) is not None:
            return _INT, whole
    else:
        return STRING, text
    if _FLOATING.fullmatch(plain) and math.isfinite(value := float(plain)):
        return _FLOAT, value
    return STRING, text


def _integer(text: str) -> int | None:
    for pattern, base in _INTEGERS:
        # Python converts no longer ones, and none of them would fit.
        if (match := pattern.fullmatch(text)) is not None and len(match[2].lstrip("0")) <= 64:
            value = int(match[1] + match[2], base)
            most = _LARGEST if match[1] else _LARGEST_UNSIGNED
            if _SMALLEST <= value <= most:
                return value
    return None


def _tagged(tag: str) -> Callable[[str], Scalar]:
    def decode(text: str) -> Scalar:
        found, value = _resolved(text)
        if found == tag:
            return value
        if tag == _FLOAT and found == _INT and isinstance(value, int) and value <= _LARGEST:
            return float(value)
        kind = tag.removeprefix(_PREFIX)
        raise UnusableError(f"a value is no usable {kind}; if it is text, quote it")

    return decode


def _timestamp(text: str) -> str:
    if (match := _DATE.fullmatch(text)) is not None and _is_time(match):
        return text
    raise UnusableError("a value is no usable timestamp; if it is text, quote it")


def _is_time(match: re.Match[str]) -> bool:
    year, month, day = (int(match[group]) for group in (1, 2, 3))
    try:
        date(year or 4, month, day)  # Go has a year 0, which was a leap year
    except ValueError:
        return False
    if match[4] is None:
        return True
    if (match[4] == " ") != (match[9] is None):
        return False
    return int(match[5]) < 24 and int(match[6]) < 60 and int(match[7]) < 60


def _from_base64(text: str) -> str:
    joined = re.sub(r"[\r\n]", "", text)
    decoded = None
    with contextlib.suppress(binascii.Error, ValueError):
        # Python alone takes more padding than there should be.
        decoded = base64.b64decode(joined, validate=True) if len(joined) % 4 == 0 else None
    # Outside of `except`: the original error holds the text.
    if decoded is None:
        raise UnusableError("a value is not base64")
    # Go puts one replacement for each byte that is no text.
    return re.sub("[\udc80-\udcff]", "\ufffd", decoded.decode(errors="surrogateescape"))


_DECODERS: Final[dict[str, Callable[[str], Scalar]]] = {
    IMPLICIT: lambda text: _resolved(text)[1],
    STRING: lambda text: text,
    _TIMESTAMP: _timestamp,
    **{tag: _tagged(tag) for tag in (NULL, _BOOL, _INT, _FLOAT)},
}


def _single(value: float) -> str:
    """Write a number as Go writes the key of a mapping: as few digits as single precision needs."""
    if math.isnan(value):
        return ".nan"
    sign = "-" if math.copysign(1, value) < 0 else ""
    try:
        wanted = struct.pack("f", value)
    except OverflowError:
        return f"{sign}.inf"
    value = struct.unpack("f", wanted)[0]
    if math.isinf(value):
        return f"{sign}.inf"
    for precision in range(9):
        text = f"{abs(value):.{precision}e}"
        if struct.pack("f", float(f"{sign}{text}")) == wanted:
            break
    digits, _, power = text.partition("e")
    exponent = int(power)
    if exponent < -4 or exponent >= _POWERS_OF_KEYS:
        return f"{sign}{digits}e{exponent:+03d}"
    return f"{sign}{Decimal(text):f}"
