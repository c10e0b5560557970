"""How a case is made of those that there are. It knows nothing of what the octets mean.

Targets add mutations of their own, which do.
"""

from collections.abc import Callable, Sequence
from random import Random

from fuzz.cases import LONGEST, MOST_PARTS, Case

__all__ = ["Mutation", "change_lines", "mutated"]

Mutation = Callable[[Random, bytes, Sequence[bytes]], bytes]
"""Makes another part of a part, from a random source and the parts of the corpus."""

_NUMBERS: tuple[int, ...] = (
    0,
    1,
    2,
    4,
    7,
    8,
    16,
    31,
    32,
    127,
    128,
    254,
    255,
    256,
    4095,
    4096,
    65535,
    2**31,
    2**32 - 1,
)
_OCTETS = (
    b"\0",
    b"\xff",
    b"\xce",
    b"\r\n",
    b"\xed\xa0\x80",
    b"\xf0\x9f\x98\x80",
    b"\xc3",
    b"\x1b[2J",
)


def _flip(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    changed = bytearray(part or b"\0")
    for _each in range(rng.choice((1, 1, 2, 4))):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _octet(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(part) + 1)
    return part[:at] + bytes([rng.randrange(256)]) + part[at + rng.randrange(2) :]


def _remove(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(part) + 1)
    return part[:start] + part[start + rng.randrange(1, 17) :]


def _truncate(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    return part[: rng.randrange(len(part) + 1)]


def _repeat(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    start = rng.randrange(len(part) + 1)
    end = start + rng.randrange(1, 33)
    times = rng.choice((2, 3, 8, 64, 300, 5000))
    return part[:start] + part[start:end] * times + part[end:]


def _number(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    width, at = rng.choice((1, 2, 4)), rng.randrange(len(part) + 1)
    value = rng.choice(_NUMBERS) % (1 << 8 * width)
    return part[:at] + value.to_bytes(width) + part[at + width :]


def _interesting(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    at = rng.randrange(len(part) + 1)
    return part[:at] + rng.choice(_OCTETS) + part[at + rng.randrange(3) :]


def _splice(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    other = rng.choice(others)
    start = rng.randrange(len(other) + 1)
    piece = other[start : start + rng.randrange(1, 257)]
    at = rng.randrange(len(part) + 1)
    return part[:at] + piece + part[at + rng.choice((0, len(piece))) :]


def change_lines(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    """Repeat, leave out, exchange or bring in lines, or change how one is indented."""
    found = part.split(b"\n")
    at, other = rng.randrange(len(found)), rng.randrange(len(found))
    match rng.randrange(5):
        case 0:
            found[at:at] = [found[at]] * rng.choice((1, 2, 10, 200))
        case 1:
            del found[at : at + rng.randrange(1, 4)]
        case 2:
            found[at], found[other] = found[other], found[at]
        case 3:
            found.insert(at, rng.choice(rng.choice(others).split(b"\n")))
        case _:
            found[at] = rng.choice((b"  ", b"- ", b"\t", b"")) + found[at].strip()
    return b"\n".join(found)


_PLAIN: tuple[Mutation, ...] = (
    *(_flip, _octet, _remove, _truncate, _repeat, _number, _interesting, _splice, change_lines),
)


def mutated(rng: Random, case: Case, corpus: Sequence[Case], own: Sequence[Mutation] = ()) -> Case:
    """Return another case, by one mutation or some; half of them are the target's own, if any."""
    others = [part for each in corpus for part in each if part] or [b"\0"]
    parts = list(case) or [b""]
    for _ in range(rng.choice((1, 1, 1, 2, 2, 3, 6))):
        if len(case) > 1 and rng.random() < 0.15:
            _shuffle(rng, parts, rng.choice(corpus))
            continue
        at = rng.randrange(len(parts))
        mutations = own if own and rng.random() < 0.6 else _PLAIN
        parts[at] = rng.choice(mutations)(rng, parts[at], others)[:LONGEST]
    return tuple(parts[:MOST_PARTS])


def _shuffle(rng: Random, parts: list[bytes], other: Case) -> None:
    """Change the order of parts, leave one out, or go on as in another case."""
    at = rng.randrange(len(parts))
    match rng.randrange(5):
        case 0:
            parts.insert(rng.randrange(len(parts) + 1), parts[at])
        case 1 if len(parts) > 1:
            del parts[at]
        case 2:
            parts[at:] = other[rng.randrange(len(other) + 1) :] or (b"",)
        case 3:
            parts.insert(at, rng.choice(other) if other else b"")
        case _:
            parts.insert(at, b"")
