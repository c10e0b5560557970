"""Mutations that know AMQP 1.0: they keep frames and values whole, more or less."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from proton import UNDESCRIBED, Array, Data, Described, symbol, ubyte, uint, ulong, ushort

from fuzz.mutations import Mutation
from fuzz.oracles import SECRET
from springline.drivers.amqp10 import codec
from springline.drivers.amqp10.codec import UndecodableError
from springline.drivers.amqp10.frames import HEADER_OCTETS, framed

__all__ = ["ALL"]

_CODES: Final = (*range(0x10, 0x19), 0x19, 0x1D, 0x23, 0x24, 0x25, 0x26, 0x27, 0x28, 0x29, 0x44)
_CHANNELS: Final = (0, 0, 1, 2, 100, 101, 0x7FFF, 0x8000, 0xFFFE, 0xFFFF)
_NUMBERS: Final = (
    0,
    1,
    2,
    3,
    7,
    16,
    255,
    256,
    0x7FFF,
    0xFFFF,
    2**31 - 1,
    2**31,
    2**32 - 2,
    2**32 - 1,
)
_NAMES: Final = ("link-0", "link-1", "link-2", "fuzz", "")
_CONDITIONS: Final = (
    *("amqp:internal-error", "amqp:not-found", "amqp:unauthorized-access"),
    *("amqp:link:detach-forced", "amqp:connection:forced", "x", ""),
)
_TEXTS: Final = (
    *("", "shutdown", "credential expired", 'Connection forced: "bye"', "x" * 3000, "\u20ac\x00\n"),
    *(f"refused {SECRET}", f"refused {','.join(str(each) for each in SECRET.encode())}"),
    f"{{shutdown,[{','.join(str(each) for each in SECRET.encode())}]}}",
)


def _frames(octets: bytes) -> list[bytes]:
    """Take octets apart by the lengths they name; the last piece may be none."""
    found: list[bytes] = []
    while octets:
        length = max(int.from_bytes(octets[:4]), HEADER_OCTETS)
        found.append(octets[:length])
        octets = octets[length:]
    return found or [b""]


def _error(rng: Random) -> Described:
    info = {symbol("k"): _value(rng, 1)} if rng.random() < 0.3 else None
    return Described(ulong(0x1D), [symbol(rng.choice(_CONDITIONS)), rng.choice(_TEXTS), info])


def _value(rng: Random, depth: int = 0) -> Any:
    number = rng.choice(_NUMBERS)
    makers: list[Callable[[], Any]] = [
        lambda: None,
        lambda: rng.random() < 0.5,
        lambda: uint(number),
        lambda: ushort(number % 0x10000),
        lambda: ubyte(number % 0x100),
        lambda: ulong(number << rng.choice((0, 32))),
        lambda: rng.choice(_NAMES),
        lambda: rng.choice(_TEXTS),
        lambda: symbol(rng.choice(_CONDITIONS)),
        lambda: b"octets" * rng.choice((0, 1, 50)),
        lambda: Array(UNDESCRIBED, Data.SYMBOL, *map(symbol, _NAMES[: rng.randrange(4)])),
        lambda: _error(rng),
    ]
    if depth < 3:
        makers += [
            lambda: [_value(rng, depth + 1) for _ in range(rng.randrange(8))],
            lambda: {symbol(f"k{n}"): _value(rng, depth + 1) for n in range(rng.randrange(4))},
            lambda: Described(ulong(rng.choice(_CODES)), _value(rng, depth + 1)),
        ]
    return rng.choice(makers)()


def _encoded(rng: Random, code: int, fields: Sequence[Any]) -> bytes:
    octets = codec.encode(code, fields)
    if rng.random() < 0.05:
        octets = b"\x00\x80" + code.to_bytes(8) + octets[3:]
    return octets


def _usual(rng: Random, code: int) -> list[Any]:
    """Return fields of the right types, with any values."""

    def number() -> Any:
        return uint(rng.choice(_NUMBERS))

    def handle() -> Any:
        return uint(rng.choice((0, 0, 0, 1, 2, rng.choice(_NUMBERS))))

    role = rng.random() < 0.5
    terminus = Described(ulong(rng.choice((0x28, 0x29, 0x30))), [rng.choice(_NAMES), number()])
    state = Described(ulong(rng.choice((0x23, 0x24, 0x25, 0x26, 0x27, 0x34))), [_error(rng)])
    match code:
        case codec.OPEN:
            properties = {symbol("product"): rng.choice(("RabbitMQ", SECRET))}
            return ["theirs", None, number(), ushort(9), number(), *[None] * 4, properties]
        case codec.BEGIN:
            ours = rng.choice((None, ushort(rng.choice((0, 0, 1, 2, 99)))))
            return [ours, number(), number(), number(), number()]
        case codec.ATTACH:
            name = rng.choice(_NAMES)
            return [
                name,
                handle(),
                role,
                ubyte(2),
                ubyte(0),
                terminus,
                terminus,
                None,
                None,
                uint(0),
            ]
        case codec.FLOW:
            link = [handle(), number(), number(), None, role] if rng.random() < 0.6 else []
            return [number(), number(), number(), number(), *link]
        case codec.TRANSFER:
            more = [role, rng.random() < 0.5, None, state, None, None, rng.random() < 0.1]
            return [
                handle(),
                uint(rng.choice((0, 0, 1, 2, 9))),
                b"tag",
                uint(0),
                *more[: rng.randrange(8)],
            ]
        case codec.DISPOSITION:
            return [role, number(), rng.choice((None, number())), rng.random() < 0.5, state]
        case codec.DETACH:
            return [handle(), role, _error(rng)]
        case _:
            return [_error(rng)] if rng.random() < 0.7 else []


def _any_frame(rng: Random) -> bytes:
    code = rng.choice(_CODES[:9] if rng.random() < 0.9 else _CODES)
    fields = _usual(rng, code)
    if fields and rng.random() < 0.4:
        fields[rng.randrange(len(fields))] = _value(rng)
    payload = b""
    if code == codec.TRANSFER:
        payload = rng.choice((b"", b"\x00\x53\x77\xa1\x01a", b"x" * 5000))
    return framed(_encoded(rng, code, fields) + payload, channel=rng.choice(_CHANNELS))


def _add_frame(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    found = _frames(part)
    at = rng.randrange(len(found) + 1)
    found[at:at] = [_any_frame(rng)] * rng.choice((1, 1, 1, 2, 30))
    return b"".join(found)


def _shuffle_frames(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    found = _frames(part)
    at, other = rng.randrange(len(found)), rng.randrange(len(found))
    match rng.randrange(4):
        case 0:
            found[at:at] = [found[at]] * rng.choice((1, 2, 100))
        case 1:
            del found[at]
        case 2:
            found[at], found[other] = found[other], found[at]
        case _:
            found.insert(at, rng.choice(_frames(rng.choice(others))))
    return b"".join(found)


def _change_header(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    found = _frames(part)
    at = rng.randrange(len(found))
    frame = bytearray(found[at].ljust(HEADER_OCTETS, b"\0"))
    match rng.randrange(4):
        case 0:
            frame[6:8] = rng.choice(_CHANNELS).to_bytes(2)
        case 1:
            frame[4] = rng.choice((0, 1, 2, 3, 4, 255))
        case 2:
            frame[5] = rng.choice((0, 1, 2, 255))
        case _:
            frame[:4] = rng.choice((0, 7, 8, 9, len(frame) + 1, 4097, 2**32 - 1)).to_bytes(4)
    found[at] = bytes(frame)
    return b"".join(found)


def _change_field(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    found = _frames(part)
    at = rng.randrange(len(found))
    channel = int.from_bytes(found[at][6:8])
    body = found[at][HEADER_OCTETS:]
    try:
        code, fields, taken = codec.decode_section(body)
    except UndecodableError:
        return _add_frame(rng, part, ())
    if not isinstance(fields, list):
        return part
    for _each in range(rng.choice((1, 1, 2))):
        fields = fields + [None] * (rng.randrange(12) - len(fields))
        if fields:
            fields[rng.randrange(len(fields))] = _value(rng)
    found[at] = framed(_encoded(rng, code, fields) + body[taken:], channel=channel)
    return b"".join(found)


ALL: Final[Sequence[Mutation]] = (
    *(_add_frame, _add_frame, _shuffle_frames, _change_header, _change_field, _change_field),
)
