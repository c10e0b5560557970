"""AMQP's types, by proton's codec: what a frame holds, as Python values, and back.

What comes from a peer may be anything. All that proton and its wrapping raise for what makes no
sense is one error here, which quotes nothing of it.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from proton import (
    UNDESCRIBED,
    Array,
    Data,
    Described,
    ProtonException,
    symbol,
    ubyte,
    uint,
    ulong,
    ushort,
)

from springline.drivers.amqp10 import structure

__all__ = [
    "ATTACH",
    "BEGIN",
    "CLOSE",
    "DETACH",
    "DISPOSITION",
    "END",
    "FLOW",
    "OPEN",
    "SASL_CHALLENGE",
    "SASL_INIT",
    "SASL_MECHANISMS",
    "SASL_OUTCOME",
    "SASL_RESPONSE",
    "TRANSFER",
    "UndecodableError",
    "decode",
    "decode_section",
    "descriptor",
    "encode",
    "field",
    "first_fields",
    "symbol_array",
    "symbol_map",
    "symbols",
    "value",
]

# Descriptors (OASIS AMQP 1.0, part 2 §2.7 and part 5 §5.3.3).
OPEN: Final = 0x10
BEGIN: Final = 0x11
ATTACH: Final = 0x12
FLOW: Final = 0x13
TRANSFER: Final = 0x14
DISPOSITION: Final = 0x15
DETACH: Final = 0x16
END: Final = 0x17
CLOSE: Final = 0x18
SASL_MECHANISMS: Final = 0x40
SASL_INIT: Final = 0x41
SASL_CHALLENGE: Final = 0x42
SASL_RESPONSE: Final = 0x43
SASL_OUTCOME: Final = 0x44

_SMALL_ULONG: Final = b"\x00\x53"
_SENSELESS = (ProtonException, RecursionError, ArithmeticError, LookupError, TypeError, ValueError)
_PLAIN: Final = frozenset({type(None), bool, str, symbol, ubyte, ushort, uint, ulong})
"""What frames are full of, and what keeps no octets of proton's."""


class UndecodableError(Exception):
    """The inside of a frame makes no sense. It holds none of it."""


def encode(code: int, fields: Sequence[Any]) -> bytes:
    """Return a performative: a described list."""
    data = Data()
    data.put_object(Described(ulong(code), list(fields)))
    octets: bytes = data.encode()
    return octets


def descriptor(body: bytes) -> int | None:
    """Return which performative a body begins with, where that is written in the usual short way.

    It costs nothing, so that our own frames, which are written so, need not all be decoded.
    """
    return body[2] if body[:2] == _SMALL_ULONG and len(body) > 2 else None


def decode(body: bytes) -> tuple[int, list[Any]]:
    """Return the descriptor and the fields of a performative; what follows it is left out.

    Raises `UndecodableError`.
    """
    code, value, _ = decode_section(body)
    if not isinstance(value, list):
        raise UndecodableError("not a performative")
    return code, value


def first_fields(body: bytes, count: int) -> list[Any]:
    """Return so many fields of a performative of our own, as proton has written it."""
    data = Data()
    data.decode(body)
    data.rewind()
    data.next()
    data.enter()
    data.next()  # the descriptor
    data.next()
    data.enter()
    return [_owned(data.get_object()) for _ in range(count) if data.next() is not None]


def decode_section(octets: bytes) -> tuple[int, Any, int]:
    """Return descriptor and value of what the octets begin with, and how many of them that takes.

    Raises `UndecodableError`.
    """
    data = Data()
    try:
        taken = structure.value_octets(octets)
        if data.decode(octets[:taken]) != taken:
            raise UndecodableError("read otherwise")
        found = _object(data)
        if not isinstance(found, Described) or not isinstance(found.descriptor, ulong):
            raise UndecodableError("not described by a number")
        return int(found.descriptor), _owned(found.value), taken
    except structure.MalformedValueError as error:
        raise UndecodableError(str(error)) from None
    except _SENSELESS as error:
        raise UndecodableError(type(error).__name__) from None


def value(data: Data) -> Any:
    """Return what proton has kept of a field, None for nothing. Raises `UndecodableError`."""
    try:
        return _owned(_object(data))
    except _SENSELESS as error:
        raise UndecodableError(type(error).__name__) from None


def _object(data: Data) -> Any:
    data.rewind()
    return data.get_object() if data.next() is not None else None


def _owned(value: Any) -> Any:
    """Return a value with octets of its own: proton's are gone, or others, when its `Data` is."""
    match value:
        case memoryview():
            return bytes(value)
        case list():
            return [each if type(each) in _PLAIN else _owned(each) for each in value]
        case dict():
            return {key: _owned(each) for key, each in value.items()}
        case Described():
            return Described(_owned(value.descriptor), _owned(value.value))
        case Array():
            return Array(value.descriptor, value.type, *map(_owned, value.elements))
        case _:
            return value


def field(fields: Sequence[Any], index: int, default: Any = None) -> Any:
    """Return a field; the last ones may be left out, and each may be null (part 1 §1.4)."""
    value = fields[index] if index < len(fields) else None
    return default if value is None else value


def symbols(value: object) -> tuple[str, ...]:
    """Return what may be one symbol or many (part 1 §1.4, `multiple`); none of what is neither."""
    if isinstance(value, str):
        return (str(value),)
    elements = getattr(value, "elements", value)
    if not isinstance(elements, list | tuple):
        return ()
    return tuple(str(each) for each in elements if isinstance(each, str))


def symbol_map(values: Mapping[str, str]) -> dict[symbol, str]:
    """Return a map with symbols for keys, as properties of a connection have it."""
    return {symbol(name): value for name, value in values.items()}


def symbol_array(names: Sequence[str]) -> Array:
    """Return many symbols where one or many may be (part 1 §1.4, `multiple`)."""
    return Array(UNDESCRIBED, Data.SYMBOL, *(symbol(name) for name in names))
