"""The SASL layer (part 5 §5.3), before anything else is said: who offers what, and the login.

It is ours, below proton's engine: asyncio makes the TLS, of which proton would know nothing, and
the broker's list of mechanisms is to be shown.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from proton import symbol

from springline.core.values import OpenRequest
from springline.drivers.amqp10 import codec, errors, mechanisms
from springline.drivers.amqp10.errors import Amqp10Progress, HandshakeStep
from springline.drivers.amqp10.frames import (
    AMQP_HEADER,
    HEADER_OCTETS,
    MIN_MAX_FRAME_SIZE,
    SASL,
    SASL_HEADER,
    Frame,
    FrameSplitter,
    MalformedFrameError,
    framed,
)
from springline.drivers.amqp10.parameters import Amqp10Parameters
from springline.drivers.shared import hints, peer_text, peers, sasl
from springline.errors import RejectedError
from springline.reasons import Reason

__all__ = ["LoggedIn", "log_in", "read_header"]

_EXPECTED: Final = peers.Expected(protocol="AMQP 1.0", port="AMQP")
_MOST_OCTETS: Final = 8 * MIN_MAX_FRAME_SIZE
"""Of one frame: §5.3.1 allows 512, and some brokers send more for SCRAM."""
_MOST_FRAMES: Final = 32
_ACCEPTED: Final = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedIn:
    """What came of the login."""

    mechanism: str
    offered: tuple[str, ...]
    """What the broker offers, as it is shown."""


async def log_in(
    request: OpenRequest[Amqp10Parameters],
    hostname: str,
    *,
    reader: asyncio.StreamReader,
    write: Callable[[bytes], None],
    progress: Amqp10Progress,
) -> LoggedIn:
    """Log in. Raises `ConnectError`s and what reading raises. Safe to cancel."""
    progress.step = HandshakeStep.SASL
    write(SASL_HEADER)
    await read_header(SASL_HEADER, reader, is_after_login=False)
    layer = _Layer(reader)
    offered = _words(await layer.expect(codec.SASL_MECHANISMS))
    mechanism = sasl.choose(
        mechanisms.TABLE, request.parameters.sasl, offered, request.credential, request.tls
    )
    exchange = mechanisms.start(mechanism, request.credential, broker=str(request.endpoint))
    progress.step = HandshakeStep.LOGIN
    write(_frame(codec.SASL_INIT, [symbol(mechanism), exchange.initial(), hostname or None]))
    while True:
        code, fields = await layer.next()
        match code:
            case codec.SASL_CHALLENGE:
                response = await exchange.respond(_octets(codec.field(fields, 0)))
                write(_frame(codec.SASL_RESPONSE, [response]))
            case codec.SASL_OUTCOME:
                _judge(codec.field(fields, 0), mechanism, request, progress)
                exchange.finish(_octets(codec.field(fields, 1)))
                return LoggedIn(
                    mechanism=mechanism,
                    offered=peer_text.words(
                        " ".join(offered),
                        veil=request.veil,
                        is_known=mechanisms.TABLE.supported.__contains__,
                    ),
                )
            case _:
                raise errors.mismatch("something else where the outcome of the login is due")


async def read_header(
    expected: bytes, reader: asyncio.StreamReader, *, is_after_login: bool
) -> None:
    """Read a protocol header. Raises `RejectedError` with what the peer speaks instead."""
    sample = await reader.readexactly(1)
    while sample == expected[: len(sample)] and len(sample) < HEADER_OCTETS:
        more = await reader.read(HEADER_OCTETS - len(sample))
        if not more:
            break
        sample += more
    if sample == expected:
        return
    sample = await peers.sample(sample, reader.read)
    if not is_after_login and sample[:HEADER_OCTETS] == AMQP_HEADER:
        raise RejectedError(
            Reason.NO_AUTHENTICATION_MECHANISM,
            "the peer speaks AMQP 1.0 without a login (no SASL), which is not supported",
        )
    raise RejectedError(
        Reason.PROTOCOL_MISMATCH,
        peers.describe(sample, _EXPECTED, is_after_login=is_after_login),
    )


class _Layer:
    """Reads frames of SASL, one at a time, and nothing that comes after the last one."""

    __slots__ = ("_frames", "_reader")

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._frames = 0

    async def next(self) -> tuple[int, list[Any]]:
        self._frames += 1
        if self._frames > _MOST_FRAMES:
            raise errors.flooded(f"more than {_MOST_FRAMES} frames of SASL")
        head = await self._reader.readexactly(HEADER_OCTETS)
        size = int.from_bytes(head[:4])
        if not HEADER_OCTETS <= size <= _MOST_OCTETS:
            raise errors.mismatch(f"a frame of SASL of {size} octets")
        frame = self._split(head + await self._reader.readexactly(size - HEADER_OCTETS))
        if frame.type != SASL:
            raise errors.mismatch("a frame of another layer where one of SASL is due")
        try:
            return codec.decode(frame.body)
        except codec.UndecodableError:
            raise errors.mismatch("a frame of SASL that cannot be decoded") from None

    async def expect(self, code: int) -> list[Any]:
        found, fields = await self.next()
        if found != code:
            raise errors.mismatch("something else where the mechanisms of the login are due")
        return fields

    def _split(self, octets: bytes) -> Frame:
        try:
            [frame] = FrameSplitter(_MOST_OCTETS).feed(octets)
        except MalformedFrameError as error:
            raise errors.mismatch(str(error)) from None
        return frame


def _judge(
    code: object,
    mechanism: str,
    request: OpenRequest[Amqp10Parameters],
    progress: Amqp10Progress,
) -> None:
    if not isinstance(code, int):
        raise errors.mismatch("a SASL outcome without a code")
    if code != _ACCEPTED:
        raise errors.refused_login(
            int(code),
            mechanism=mechanism,
            where=progress.where,
            hint=hints.on_refused_login(request.credential, request.address),
        )


def _words(fields: list[Any]) -> tuple[str, ...]:
    return codec.symbols(codec.field(fields, 0))


def _octets(value: object) -> bytes:
    if value is None:
        return b""
    if not isinstance(value, bytes):
        raise errors.mismatch("a SASL challenge that is no binary")
    return value


def _frame(code: int, fields: list[Any]) -> bytes:
    return framed(codec.encode(code, fields), type=SASL)
