"""Mutations that know HTTP/1.1 and HTTP/2: they keep messages and frames whole, more or less.

Which of both a part is, its first octets say.
"""

import re
from collections.abc import Sequence
from random import Random
from typing import Final

from hpack import Encoder

from fuzz.json_mutations import change_value
from fuzz.mutations import Mutation, mutated

__all__ = ["ALL"]

# HTTP/2

_HEADER: Final = 9
_TYPES: Final = (*range(10), 0x10, 0xFF)
_FLAGS: Final = (0, 1, 4, 5, 8, 0x20, 0x24, 0x2D, 0xFF)
_STREAMS: Final = (0, 1, 2, 3, 5, 7, 9, 11, 2**31 - 1, 2**31, 2**32 - 1)
_LENGTHS: Final = (0, 1, 4, 5, 6, 8, 9, 255, 16384, 16385, 2**24 - 1)
_FIELDS: Final = (
    *((b":status", each) for each in (b"200", b"100", b"103", b"401", b"503", b"204", b"0", b"2x")),
    *((b"content-length", each) for each in (b"0", b"3", b"99999999999999999999", b"-1", b"x")),
    *((b"retry-after", each) for each in (b"0", b"30", b"9" * 40, b"x")),
    (b"content-type", b"application/json"),
    (b"server", b"Cowboy"),
    (b"connection", b"close"),
    (b"transfer-encoding", b"chunked"),
    (b":path", b"/"),
    (b"Upper", b"case"),
    (b"x" * 300, b"y" * 3000),
    (b"\xff\x00", b"\r\n"),
    (b"", b""),
)


def _is_text(part: bytes) -> bool:
    return part.startswith(b"HTTP/")


def _frames(octets: bytes) -> list[bytes]:
    """Take octets apart by the lengths they name; the last piece may be none."""
    found: list[bytes] = []
    while octets:
        length = int.from_bytes(octets[:3]) + _HEADER
        found.append(octets[:length])
        octets = octets[length:]
    return found or [b""]


def _frame(kind: int, payload: bytes, *, flags: int = 0, stream: int = 0) -> bytes:
    head = len(payload).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4)
    return head + payload


def _any_frame(rng: Random) -> bytes:
    stream = rng.choice(_STREAMS)
    match rng.randrange(8):
        case 0:
            return _frame(3, rng.choice((0, 7, 8, 13, 99)).to_bytes(4), stream=stream)
        case 1:
            code = rng.choice((0, 1, 11, 99)).to_bytes(4)
            return _frame(7, rng.choice(_STREAMS).to_bytes(4) + code + b"bye" * rng.randrange(2))
        case 2:
            pairs = (
                rng.randrange(rng.choice((9, 9, 300))).to_bytes(2)
                + rng.choice((0, 1, 100, 2**31)).to_bytes(4)
                for _ in range(rng.choice((1, 2, 70)))
            )
            return _frame(4, b"".join(pairs), flags=rng.choice((0, 0, 1)))
        case 3:
            return _frame(8, rng.choice((0, 1, 2**16, 2**31 - 1)).to_bytes(4), stream=stream)
        case 4:
            return _frame(6, b"springln", flags=rng.choice((0, 1)))
        case 5:
            return _frame(0, b"z" * rng.choice((0, 1, 900)), flags=rng.randrange(2), stream=stream)
        case 6:
            return _frame(9, b"\x88" * rng.randrange(3), flags=rng.choice((0, 4)), stream=stream)
        case _:
            return _headers(rng, stream)


def _headers(rng: Random, stream: int) -> bytes:
    fields = [rng.choice(_FIELDS) for _ in range(rng.choice((0, 1, 2, 4, 230)))]
    if rng.random() < 0.7:
        fields.insert(0, (b":status", rng.choice((b"200", b"200", b"401", b"503"))))
    return _frame(1, Encoder().encode(fields), flags=rng.choice((4, 5, 5, 0)), stream=stream)


def _change_frames(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    """Repeat, leave out, exchange or put in whole frames."""
    found = _frames(part)
    at = rng.randrange(len(found))
    match rng.randrange(5):
        case 0:
            found[at:at] = [found[at]] * rng.choice((1, 2, 40, 2500))
        case 1:
            del found[at]
        case 2:
            found.insert(at, rng.choice(_frames(rng.choice(others))))
        case 3:
            found.insert(at + rng.randrange(2), _any_frame(rng))
        case _:
            rng.shuffle(found)
    return b"".join(found)


def _change_payload(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    """Change what is in a frame, and keep the frame whole."""
    found = _frames(part)
    at = rng.randrange(len(found))
    frame = found[at].ljust(_HEADER, b"\0")
    payloads = [(each[_HEADER:],) for each in others]
    [payload] = mutated(rng, (frame[_HEADER:],), payloads)
    if frame[3] == 1 and rng.random() < 0.5:
        found[at] = _headers(rng, int.from_bytes(frame[5:9]))
    else:
        found[at] = len(payload).to_bytes(3) + frame[3:_HEADER] + payload
    return b"".join(found)


def _change_header(rng: Random, part: bytes, _: Sequence[bytes]) -> bytes:
    """Change length, type, flags or stream of a frame."""
    found = _frames(part)
    at = rng.randrange(len(found))
    frame = bytearray(found[at].ljust(_HEADER, b"\0"))
    match rng.randrange(4):
        case 0:
            frame[0:3] = rng.choice(_LENGTHS).to_bytes(3)
        case 1:
            frame[3] = rng.choice(_TYPES)
        case 2:
            frame[4] = rng.choice(_FLAGS)
        case _:
            frame[5:9] = rng.choice(_STREAMS).to_bytes(4)
    found[at] = bytes(frame)
    return b"".join(found)


# HTTP/1.1

_LINES: Final = (
    *(b"Content-Length: " + each for each in (b"0", b"3", b"+3", b"3, 3", b"9" * 30, b"-1")),
    *(b"Transfer-Encoding: " + each for each in (b"chunked", b"gzip, chunked", b"identity")),
    *(b"Connection: " + each for each in (b"close", b"keep-alive", b"upgrade")),
    *(
        b"Retry-After: " + each
        for each in (b"0", b"30", b"9" * 40, b"Fri, 01 Jan 9999 00:00:00 GMT")
    ),
    *(b"Server: Cowboy", b"Content-Type: application/json", b"X: " + b"y" * 5000, b" folded"),
    *(b"WWW-Authenticate: Bearer error=invalid_token", b"Upgrade: h2c", b"no colon", b": none"),
    *(b"Date: Fri, 01 Jan 2027 00:00:00 GMT", b"Date: never", b"\0: \xff"),
)
_STARTS: Final = (
    *(b"HTTP/1.1 " + each for each in (b"200 OK", b"100 Continue", b"101 Now", b"103 Hints")),
    *(b"HTTP/1.1 " + each for each in (b"204 None", b"304 Same", b"302 There", b"401 No")),
    *(b"HTTP/1.1 " + each for each in (b"403 No", b"408 Idle", b"429 Slow", b"503 Later")),
    *(b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 999 ", b"HTTP/2 200", b"HTTP/1.1 2000 X"),
)
_CHUNKS: Final = (
    *(
        b"0\r\n\r\n",
        b"3\r\nabc\r\n",
        b"1;x=y\r\na\r\n",
        b"ffffffffffffffff\r\n",
        b"-1\r\n",
        b"\r\n",
    ),
    *(b"0\r\ntrailer: x\r\n\r\n", b"5\r\nabc"),
)
_START: Final = re.compile(rb"HTTP/\d\.\d [^\r\n]*")


def _change_head(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    """Change the status line, or a field; what follows the head stays."""
    heads = part.split(b"\r\n\r\n")
    at = rng.randrange(max(len(heads) - 1, 1))
    lines = heads[at].split(b"\r\n")
    line = rng.randrange(len(lines))
    match rng.randrange(6):
        case 0:
            start = rng.choice(_STARTS)
            found = [each for each in lines if _START.search(each)]
            if found:
                lines[lines.index(found[0])] = _START.sub(start, found[0])
            else:
                lines.insert(0, start)
        case 1:
            del lines[line]
        case 2:
            lines[line:line] = [lines[line]] * rng.choice((1, 2, 15, 210, 2000))
        case 3:
            lines.insert(line, rng.choice(rng.choice(others).split(b"\r\n")))
        case _:
            lines.insert(line + 1, rng.choice(_LINES))
    heads[at] = b"\r\n".join(lines)
    return b"\r\n\r\n".join(heads)


def _change_content(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    """Change the JSON of an answer, put chunks in, or let one answer follow the other."""
    head, between, content = part.partition(b"\r\n\r\n")
    match rng.randrange(4):
        case 0:
            return part + rng.choice(others)
        case 1:
            return head + between + rng.choice(_CHUNKS) * rng.choice((1, 1, 2, 500)) + content
        case 2:
            return part * rng.choice((2, 3, 30))
        case _:
            changed = change_value(rng, content, others)
            length = b"Content-Length: %d" % len(changed)
            head = re.sub(rb"(?i)content-length: *\d+", length, head)
            return head + between + changed


# Both

_LONGEST_PLAN: Final = 11
"""Octets of a part that may be a plan; few parts that a server says are that short."""


def _change_plan(rng: Random, part: bytes) -> bytes:
    at = rng.randrange(len(part) + 1)
    kept = part[at + rng.randrange(2) :]
    return part[:at] + bytes([rng.randrange(24)]) * rng.choice((0, 1, 1, 2)) + kept


def _either(rng: Random, part: bytes, others: Sequence[bytes]) -> bytes:
    if len(part) <= _LONGEST_PLAN:
        return _change_plan(rng, part)
    if _is_text(part):
        alike = [each for each in others if _is_text(each)] or [b"HTTP/1.1 200 OK\r\n\r\n"]
        return rng.choice((_change_head, _change_head, _change_content))(rng, part, alike)
    alike = [each for each in others if not _is_text(each) and len(each) >= _HEADER] or [b"\0"]
    changes = (_change_frames, _change_payload, _change_payload, _change_header)
    return rng.choice(changes)(rng, part, alike)


ALL: Final[tuple[Mutation, ...]] = (_either,)
