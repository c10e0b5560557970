"""The structure of encoded values (OASIS AMQP 1.0 part 1 §1.2 and §1.6). Pure.

It is walked without recursion before proton decodes anything: proton's decoder calls itself for
each level, believes the number of elements that a list says, and makes sixty thousand values of an
array of nulls that is a dozen octets long.
"""

from typing import Final, NamedTuple

__all__ = ["MAX_DEPTH", "MAX_VALUES", "MalformedValueError", "value_octets"]

MAX_DEPTH: Final = 16
"""Levels; what brokers send has six at most (a filter in the source of an Attach)."""
MAX_VALUES: Final = 4096
"""Values in one frame."""
_MAX_OF_NO_OCTETS: Final = 64
"""Elements of an array that take no octets. Many would cost a peer nothing, and us time."""

_DESCRIBED: Final = 0x00
_CODES: Final = frozenset(
    b"\x40\x41\x42\x43\x44\x45"
    b"\x50\x51\x52\x53\x54\x55\x56"
    b"\x60\x61"
    b"\x70\x71\x72\x73\x74"
    b"\x80\x81\x82\x83\x84"
    b"\x94\x98"
    b"\xa0\xa1\xa3\xb0\xb1\xb3"
    b"\xc0\xc1\xd0\xd1\xe0\xf0"
)
_FIXED: Final = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}
"""Octets of a value, by the first half of its constructor; the others say their own length."""
_WIDTHS: Final = {0xA: 1, 0xB: 4, 0xC: 1, 0xD: 4, 0xE: 1, 0xF: 4}
"""Octets of such a length, and of the number of elements."""
_TEXTS: Final = (0xA, 0xB)
_ARRAYS: Final = (0xE, 0xF)
_MAPS: Final = (0xC1, 0xD1)


class MalformedValueError(Exception):
    """The octets are no value, or one that is too deep or has too many parts."""


def value_octets(octets: bytes) -> int:
    """Return how many octets the value takes that the octets begin with.

    Raises `MalformedValueError`.
    """
    return _Walk(octets).value()


class _Level(NamedTuple):
    """Values that belong together."""

    left: int
    """How many are still to come."""
    end: int
    """Where they end at the latest."""
    is_exact: bool = False
    """Whether they end there and nowhere else: a list or a map says how long it is."""


class _Walk:
    """Walks one value."""

    __slots__ = ("_at", "_octets", "_open", "_values")

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0
        self._values = 0
        self._open: list[_Level] = []

    def value(self) -> int:
        """Pass over it; return how many octets it takes."""
        left, end, is_exact = _Level(1, len(self._octets))
        while True:
            while left == 0:
                if is_exact and self._at != end:
                    raise MalformedValueError("it is not as long as it says")
                if not self._open:
                    return self._at
                left, end, is_exact = self._open.pop()
            left -= 1
            inside = self._one(end)
            if inside is not None:
                self._open.append(_Level(left, end, is_exact))
                if len(self._open) > MAX_DEPTH:
                    raise MalformedValueError("it is too deep")
                left, end, is_exact = inside

    def _one(self, end: int) -> _Level | None:
        """Pass over a value; return what is inside instead, where there are values inside."""
        self._count(1)
        code = self._octet(end)
        if code == _DESCRIBED:
            return _Level(2, end)  # the descriptor, and what it describes
        if code not in _CODES:
            raise MalformedValueError("a type is unknown")
        kind = code >> 4
        if kind in _FIXED:
            self._pass(_FIXED[kind], end)
            return None
        width = _WIDTHS[kind]
        inside = self._number(width, end) + self._at
        if inside > end:
            raise MalformedValueError("it is cut off")
        if kind in _TEXTS:
            self._at = inside
            return None
        count = self._number(width, inside)
        if kind in _ARRAYS:
            self._array(count, inside)
            return None
        if count > MAX_VALUES:
            raise MalformedValueError("it has too many parts")
        if code in _MAPS and count % 2:
            raise MalformedValueError("a key has no value")
        return _Level(count, inside, is_exact=True)

    def _array(self, count: int, end: int) -> None:
        """Pass over an array: one constructor, and bodies of one kind, none with values inside."""
        self._count(count)
        code = self._octet(end)
        kind = code >> 4
        if code not in _CODES or (kind not in _FIXED and kind not in _TEXTS):
            raise MalformedValueError("an array of what is no simple type")
        if kind in _FIXED:
            if _FIXED[kind] == 0 and count > _MAX_OF_NO_OCTETS:
                raise MalformedValueError("it has too many parts")
            self._pass(count * _FIXED[kind], end)
        else:
            for _ in range(count):
                self._pass(self._number(_WIDTHS[kind], end), end)
        if self._at != end:
            raise MalformedValueError("it is not as long as it says")

    def _count(self, values: int) -> None:
        self._values += values
        if self._values > MAX_VALUES:
            raise MalformedValueError("it has too many parts")

    def _octet(self, end: int) -> int:
        if self._at >= end:
            raise MalformedValueError("it is cut off")
        self._at += 1
        return self._octets[self._at - 1]

    def _number(self, width: int, end: int) -> int:
        start = self._at
        self._pass(width, end)
        return int.from_bytes(self._octets[start : self._at])

    def _pass(self, octets: int, end: int) -> None:
        if self._at + octets > end:
            raise MalformedValueError("it is cut off")
        self._at += octets
