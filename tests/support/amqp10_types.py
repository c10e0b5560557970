"""The type system of AMQP 1.0, as octets and back, for peers of tests (AMQP 1.0 §1).

It is our own, so that it can encode what the specification forbids, and needs no library. Python's
types stand for the usual ones: `int` for long, `str` for string, `bytes` for binary; a type of AMQP
that is another one has a class here. `Raw` goes out as it is.
"""

import struct
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = [
    "Array",
    "Byte",
    "Composite",
    "Described",
    "Int",
    "Raw",
    "Short",
    "Symbol",
    "Timestamp",
    "UByte",
    "UInt",
    "ULong",
    "UShort",
    "accepted",
    "composite",
    "decoded",
    "encoded",
    "error",
    "message",
    "modified",
    "received",
    "rejected",
    "released",
    "sections",
    "source",
    "symbols",
    "target",
]


class Symbol(str):
    """A symbol: ASCII."""

    __slots__ = ()


class UByte(int):
    """An unsigned integer of 8 bits."""

    __slots__ = ()


class UShort(int):
    """An unsigned integer of 16 bits."""

    __slots__ = ()


class UInt(int):
    """An unsigned integer of 32 bits."""

    __slots__ = ()


class ULong(int):
    """An unsigned integer of 64 bits."""

    __slots__ = ()


class Byte(int):
    """An integer of 8 bits."""

    __slots__ = ()


class Short(int):
    """An integer of 16 bits."""

    __slots__ = ()


class Int(int):
    """An integer of 32 bits."""

    __slots__ = ()


class Timestamp(int):
    """Milliseconds since 1970."""

    __slots__ = ()


class Array(list[Any]):
    """Values of one type."""


class Raw(bytes):
    """A value that is encoded already, rightly or wrongly."""

    __slots__ = ()


@dataclass(frozen=True)
class Described:
    """A value with a descriptor that no composite type here has."""

    descriptor: Any
    value: Any


@dataclass(frozen=True)
class Composite:
    """A performative, an outcome, a terminus: a list whose places have names.

    A field that is not set is None: `open.hostname`.
    """

    name: str
    fields: Mapping[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name not in dict(_COMPOSITES[self.name][1]):
            raise AttributeError(name)
        return self.fields.get(name)


# Composite types: descriptor, then each field with its type. "symbols" is a symbol or an array of
# them, "fields" a map with symbols for keys, "*" whatever the value is by itself.
_Fields = tuple[tuple[str, str], ...]


def _fields(text: str) -> _Fields:
    pairs = (each.partition(":") for each in text.split())
    return tuple((name, kind or "*") for name, _, kind in pairs)


_COMPOSITES: Final[Mapping[str, tuple[int, _Fields]]] = {
    "open": (
        0x10,
        _fields(
            "container_id:string hostname:string max_frame_size:uint channel_max:ushort"
            " idle_time_out:uint outgoing_locales:symbols incoming_locales:symbols"
            " offered_capabilities:symbols desired_capabilities:symbols properties:fields"
        ),
    ),
    "begin": (
        0x11,
        _fields(
            "remote_channel:ushort next_outgoing_id:uint incoming_window:uint outgoing_window:uint"
            " handle_max:uint offered_capabilities:symbols desired_capabilities:symbols"
            " properties:fields"
        ),
    ),
    "attach": (
        0x12,
        _fields(
            "name:string handle:uint role snd_settle_mode:ubyte rcv_settle_mode:ubyte source target"
            " unsettled incomplete_unsettled initial_delivery_count:uint max_message_size:ulong"
            " offered_capabilities:symbols desired_capabilities:symbols properties:fields"
        ),
    ),
    "flow": (
        0x13,
        _fields(
            "next_incoming_id:uint incoming_window:uint next_outgoing_id:uint outgoing_window:uint"
            " handle:uint delivery_count:uint link_credit:uint available:uint drain echo"
            " properties:fields"
        ),
    ),
    "transfer": (
        0x14,
        _fields(
            "handle:uint delivery_id:uint delivery_tag message_format:uint settled more"
            " rcv_settle_mode:ubyte state resume aborted batchable"
        ),
    ),
    "disposition": (0x15, _fields("role first:uint last:uint settled state batchable")),
    "detach": (0x16, _fields("handle:uint closed error")),
    "end": (0x17, _fields("error")),
    "close": (0x18, _fields("error")),
    "error": (0x1D, _fields("condition:symbol description:string info:fields")),
    "received": (0x23, _fields("section_number:uint section_offset:ulong")),
    "accepted": (0x24, ()),
    "rejected": (0x25, _fields("error")),
    "released": (0x26, ()),
    "modified": (0x27, _fields("delivery_failed undeliverable_here message_annotations:fields")),
    "source": (
        0x28,
        _fields(
            "address durable:uint expiry_policy:symbol timeout:uint dynamic"
            " dynamic_node_properties:fields distribution_mode:symbol filter:fields default_outcome"
            " outcomes:symbols capabilities:symbols"
        ),
    ),
    "target": (
        0x29,
        _fields(
            "address durable:uint expiry_policy:symbol timeout:uint dynamic"
            " dynamic_node_properties:fields capabilities:symbols"
        ),
    ),
    "coordinator": (0x30, _fields("capabilities:symbols")),
    "sasl_mechanisms": (0x40, _fields("sasl_server_mechanisms:symbols")),
    "sasl_init": (0x41, _fields("mechanism:symbol initial_response hostname:string")),
    "sasl_challenge": (0x42, _fields("challenge")),
    "sasl_response": (0x43, _fields("response")),
    "sasl_outcome": (0x44, _fields("code:ubyte additional_data")),
    "header": (
        0x70,
        _fields("durable priority:ubyte ttl:uint first_acquirer delivery_count:uint"),
    ),
    "properties": (
        0x73,
        _fields(
            "message_id user_id to:string subject:string reply_to:string correlation_id"
            " content_type:symbol content_encoding:symbol absolute_expiry_time:timestamp"
            " creation_time:timestamp group_id:string group_sequence:uint reply_to_group_id:string"
        ),
    ),
}
_NAMES: Final = {code: name for name, (code, _) in _COMPOSITES.items()}

# The sections of a message that are no lists (§3.2).
_SECTIONS: Final = {
    "delivery_annotations": 0x71,
    "message_annotations": 0x72,
    "application_properties": 0x74,
    "data": 0x75,
    "sequence": 0x76,
    "value": 0x77,
    "footer": 0x78,
}
_SECTION_NAMES: Final = {code: name for name, code in _SECTIONS.items()}

_CONVERSIONS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "ubyte": UByte,
    "ushort": UShort,
    "uint": UInt,
    "ulong": ULong,
    "timestamp": Timestamp,
    "symbol": Symbol,
    "string": str,
    "symbols": lambda value: (
        Symbol(value) if isinstance(value, str) else Array(Symbol(each) for each in value)
    ),
    "fields": lambda value: {Symbol(key): each for key, each in value.items()},
    "*": lambda value: value,
}


def composite(name: str, /, **fields: Any) -> Composite:
    """Return a composite value. Raises `TypeError` for a field that it does not have."""
    known = dict(_COMPOSITES[name][1])
    strange = fields.keys() - known.keys()
    if strange:
        raise TypeError(f"{name} has no {', '.join(sorted(strange))}")
    return Composite(name, {key: value for key, value in fields.items() if value is not None})


def error(condition: str, description: str | None = None, **info: Any) -> Composite:
    """Return an error (§2.8.14)."""
    return composite("error", condition=condition, description=description, info=info or None)


def source(address: str | None = None, **fields: Any) -> Composite:
    """Return where messages come from."""
    return composite("source", address=address, **fields)


def target(address: str | None = None, **fields: Any) -> Composite:
    """Return where messages go to."""
    return composite("target", address=address, **fields)


def accepted() -> Composite:
    """Return the outcome of a message that was taken."""
    return composite("accepted")


def rejected(condition: str | None = None, description: str | None = None) -> Composite:
    """Return the outcome of a message that is invalid."""
    return composite("rejected", error=error(condition, description) if condition else None)


def released() -> Composite:
    """Return the outcome of a message that was not looked at."""
    return composite("released")


def modified(**fields: Any) -> Composite:
    """Return the outcome of a message that was not taken, and is changed."""
    return composite("modified", **fields)


def received(number: int = 0, offset: int = 0) -> Composite:
    """Return the state of a message that has no outcome yet."""
    return composite("received", section_number=number, section_offset=offset)


# Encoding


def _sized(small: int | None, large: int, octets: bytes) -> bytes:
    if small is not None and len(octets) < 256:
        return bytes([small, len(octets)]) + octets
    return bytes([large]) + len(octets).to_bytes(4) + octets


def _compound(small: int, large: int, items: list[bytes]) -> bytes:
    octets = b"".join(items)
    if len(octets) < 255 and len(items) < 256:
        return bytes([small, len(octets) + 1, len(items)]) + octets
    return bytes([large]) + struct.pack(">II", len(octets) + 4, len(items)) + octets


def _array(values: Array) -> bytes:
    """Return an array; its elements have one constructor, the large one of their type."""
    wide = [_wide(each) for each in values] or [_wide(Symbol(""))]
    constructor = wide[0][:1]
    elements = b"".join(each[1:] for each in wide) if values else b""
    body = len(values).to_bytes(4) + constructor + elements
    return b"\xf0" + len(body).to_bytes(4) + body


def _wide(value: Any) -> bytes:
    if isinstance(value, Symbol):
        return _sized(None, 0xB3, value.encode("ascii"))
    if isinstance(value, str):
        return _sized(None, 0xB1, value.encode())
    if isinstance(value, bytes):
        return _sized(None, 0xB0, value)
    if isinstance(value, bool):
        return b"\x56" + bytes([value])
    return _number(value)


# By the type itself, which may be one of the classes above: code and form.
_NUMBERS: Final[Mapping[type, tuple[int, str]]] = {
    UByte: (0x50, ">B"),
    UShort: (0x60, ">H"),
    UInt: (0x70, ">I"),
    ULong: (0x80, ">Q"),
    Byte: (0x51, ">b"),
    Short: (0x61, ">h"),
    Int: (0x71, ">i"),
    int: (0x81, ">q"),
    Timestamp: (0x83, ">q"),
    float: (0x82, ">d"),
}


def _number(value: Any) -> bytes:
    code, form = _NUMBERS[type(value)]
    return bytes([code]) + struct.pack(form, value)


def _composite(value: Composite) -> bytes:
    code, fields = _COMPOSITES[value.name]
    items: list[bytes] = []
    for name, kind in fields:
        found = value.fields.get(name)
        keeps = found is None or isinstance(found, Raw)
        items.append(encoded(found if keeps else _CONVERSIONS[kind](found)))
    while items and items[-1] == b"\x40":
        items.pop()
    return b"\x00\x53" + bytes([code]) + (_compound(0xC0, 0xD0, items) if items else b"\x45")


_ENCODERS: Final[tuple[tuple[type | tuple[type, ...], Callable[[Any], bytes]], ...]] = (
    (Raw, bytes),
    (type(None), lambda _: b"\x40"),
    (bool, lambda value: b"\x41" if value else b"\x42"),
    ((int, float), _number),
    (Symbol, lambda value: _sized(0xA3, 0xB3, value.encode("ascii"))),
    (str, lambda value: _sized(0xA1, 0xB1, value.encode())),
    (bytes, lambda value: _sized(0xA0, 0xB0, value)),
    (uuid.UUID, lambda value: b"\x98" + value.bytes),
    (Composite, _composite),
    (Described, lambda value: b"\x00" + encoded(value.descriptor) + encoded(value.value)),
    (Array, _array),
    ((list, tuple), lambda value: _compound(0xC0, 0xD0, [encoded(each) for each in value])),
    (
        Mapping,
        lambda value: _compound(
            0xC1, 0xD1, [encoded(each) for pair in value.items() for each in pair]
        ),
    ),
)


def encoded(value: Any) -> bytes:
    """Return a value as octets. Raises `TypeError` for one that AMQP has no type for."""
    for kind, encode in _ENCODERS:
        if isinstance(value, kind):
            return encode(value)
    raise TypeError(type(value))


# Decoding

_FIXED: Final[Mapping[int, tuple[str, Callable[[Any], Any]]]] = {
    0x50: (">B", UByte),
    0x51: (">b", Byte),
    0x52: (">B", UInt),
    0x53: (">B", ULong),
    0x54: (">b", Int),
    0x55: (">b", int),
    0x56: (">B", bool),
    0x60: (">H", UShort),
    0x61: (">h", Short),
    0x70: (">I", UInt),
    0x71: (">i", Int),
    0x72: (">f", float),
    0x73: (">I", chr),
    0x74: (">4s", bytes),  # decimals stay octets
    0x80: (">Q", ULong),
    0x81: (">q", int),
    0x82: (">d", float),
    0x83: (">q", Timestamp),
    0x84: (">8s", bytes),
    0x94: (">16s", bytes),
    0x98: (">16s", lambda octets: uuid.UUID(bytes=octets)),
}
_EMPTY: Final[Mapping[int, Callable[[], Any]]] = {
    0x40: lambda: None,
    0x41: lambda: True,
    0x42: lambda: False,
    0x43: lambda: UInt(0),
    0x44: lambda: ULong(0),
    0x45: list,
}
_VARIABLE: Final[Mapping[int, Callable[[bytes], Any]]] = {
    0xA0: bytes,
    0xA1: lambda octets: octets.decode(),
    0xA3: lambda octets: Symbol(octets.decode("ascii")),
}


class _Reader:
    """Octets, and how far they have been read."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self._at = 0

    @property
    def is_at_end(self) -> bool:
        """Whether all has been read."""
        return self._at == len(self._octets)

    @property
    def rest(self) -> bytes:
        """What has not been read."""
        return self._octets[self._at :]

    def take(self, length: int) -> bytes:
        """Return the next octets. Raises `ValueError` if there are not so many."""
        found = self._octets[self._at : self._at + length]
        if len(found) < length:
            raise ValueError("a value is cut short")
        self._at += length
        return found

    def value(self, code: int | None = None) -> Any:
        """Return the next value; `code` is for one whose constructor has been read."""
        code = self.take(1)[0] if code is None else code
        if code == 0:
            return _described(self.value(), self.value())
        if code in _EMPTY:
            return _EMPTY[code]()
        if code in _FIXED:
            form, make = _FIXED[code]
            return make(struct.unpack(form, self.take(struct.calcsize(form)))[0])
        if code & 0xEF in _VARIABLE:
            return _VARIABLE[code & 0xEF](self.take(self._size(code)))
        if code >> 4 in (0xC, 0xD, 0xE, 0xF):
            return _Reader(self.take(self._size(code)))._several(code)
        raise ValueError(f"no type has the code {code:#x}")

    def _size(self, code: int) -> int:
        # 0xA., 0xC. and 0xE. have one octet, 0xB., 0xD. and 0xF. four.
        return int.from_bytes(self.take(4 if code & 0x10 else 1))

    def _several(self, code: int) -> Any:
        """Return what a compound value or an array has, whose size has been read."""
        count = self._size(code)
        if code >> 4 in (0xE, 0xF):
            return self._elements(count)
        values = [self.value() for _ in range(count)]
        if code & 0x0F == 0:
            return values
        return dict(zip(values[::2], values[1::2], strict=True))

    def _elements(self, count: int) -> Array:
        constructor = self.take(1)[0]
        if constructor != 0:
            return Array(self.value(constructor) for _ in range(count))
        descriptor, constructor = self.value(), self.take(1)[0]
        return Array(_described(descriptor, self.value(constructor)) for _ in range(count))


def _described(descriptor: Any, value: Any) -> Any:
    name = _NAMES.get(descriptor) if isinstance(descriptor, int) else None
    if name is None or not isinstance(value, list):
        return Described(descriptor, value)
    fields = _COMPOSITES[name][1]
    if len(value) > len(fields):
        raise ValueError(f"{name} has {len(value)} fields")
    named = zip((each for each, _ in fields), value, strict=False)
    return Composite(name, {key: each for key, each in named if each is not None})


def decoded(octets: bytes) -> tuple[Any, bytes]:
    """Return the first value, and the octets behind it. Raises `ValueError` for what is none."""
    reader = _Reader(octets)
    value = reader.value()
    return value, reader.rest


# Messages


def message(
    value: Any = None, *, properties: Mapping[str, Any] | None = None, **more: Any
) -> bytes:
    """Return a message as octets: its value, its properties, and sections by their names.

    `header` and `properties` are their fields; `data` and the others are as they are.
    """
    found: dict[int, bytes] = {}
    if properties is not None:
        found[0x73] = encoded(composite("properties", **properties))
    if (header := more.pop("header", None)) is not None:
        found[0x70] = encoded(composite("header", **header))
    if value is not None or not more.keys() & {"data", "sequence"}:
        more["value"] = value
    for name, section in more.items():
        code = _SECTIONS[name]
        found[code] = encoded(Described(ULong(code), section))
    return b"".join(found[code] for code in sorted(found))


def sections(octets: bytes) -> dict[str, Any]:
    """Return the sections of a message by their names; of several data sections the last one."""
    found: dict[str, Any] = {}
    reader = _Reader(octets)
    while not reader.is_at_end:
        match reader.value():
            case Composite(name=name) as section:
                found[name] = section
            case Described(descriptor=int(code), value=value):
                found[_SECTION_NAMES[code]] = value
            case strange:
                raise ValueError(f"{strange!r} is no section")
    return found


def symbols(value: Any) -> list[str]:
    """Return what a field of one or more symbols has, as texts."""
    return [str(each) for each in (value if isinstance(value, list) else [value] if value else [])]
