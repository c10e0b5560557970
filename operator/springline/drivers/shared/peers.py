"""What the peer speaks, told by its first bytes, or else by its port; used for the sentence in an
error.

Later bytes than these could be our own secret, echoed, and so could these be where the login comes
first. Before it, the bytes themselves go to the debug log, and to nothing else: who may declare a
connection could read the banner of any service in status otherwise.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from springline import protocols

__all__ = ["MAX_SAMPLE", "Expected", "describe", "sample", "usual_use"]

logger = logging.getLogger(__name__)

MAX_SAMPLE = 32
"""Bytes that are enough to recognise a protocol."""
_SAMPLE_SECONDS = 0.5
"""How long a peer that speaks something else is listened to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a driver expects the peer to speak."""

    protocol: str
    """With its version, such as `AMQP 1.0`."""
    port: str
    """What its port at a broker is called, such as `AMQP`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _AmqpHeader:
    """What the four octets after `AMQP` stand for."""

    protocol: str
    wants: str = ""


_AMQP_HEADERS = {
    b"\0\0\x09\x01": _AmqpHeader(protocol="AMQP 0-9-1"),
    b"\0\x01\0\0": _AmqpHeader(protocol="AMQP 1.0"),
    b"\x03\x01\0\0": _AmqpHeader(protocol="AMQP 1.0", wants=" and wants SASL first"),
    b"\x02\x01\0\0": _AmqpHeader(protocol="AMQP 1.0", wants=" and wants TLS first"),
    b"\x01\x01\x00\x0a": _AmqpHeader(protocol="AMQP 0-10"),
    b"\x01\x01\x00\x09": _AmqpHeader(protocol="AMQP 0-9"),
    b"\x01\x01\x08\x00": _AmqpHeader(protocol="AMQP 0-8"),
}
_USUAL_USES: Final = {
    80: "HTTP",
    443: "HTTPS",
    1883: "MQTT",
    4369: "Erlang's port mapper",
    5552: "RabbitMQ streams",
    8080: "HTTP",
    8161: "ActiveMQ's console, which speaks HTTP",
    8883: "MQTT with TLS",
    15671: "RabbitMQ's management interface, which speaks HTTPS",
    15672: "RabbitMQ's management interface, which speaks HTTP",
    15691: "RabbitMQ's metrics, which speak HTTPS",
    15692: "RabbitMQ's metrics, which speak HTTP",
    25672: "the nodes of a RabbitMQ cluster among themselves",
    61613: "STOMP",
}
"""What brokers' machines have ports for beside the protocols that there are drivers for."""

_TLS_RECORD_TYPES = frozenset({0x14, 0x15, 0x16, 0x17})


async def sample(first: bytes, read: Callable[[int], Awaitable[bytes]]) -> bytes:
    """Return what a peer said first, with what follows in a moment, for `describe`.

    `read` returns so many octets at most, none at the end. Safe to cancel.
    """
    said = first
    try:
        async with asyncio.timeout(_SAMPLE_SECONDS):
            while len(said) < MAX_SAMPLE and (more := await read(MAX_SAMPLE - len(said))):
                said += more
    except (TimeoutError, OSError):
        pass  # what has come is enough for a sentence
    return said


def describe(sample: bytes, expected: Expected, *, is_after_login: bool = False) -> str:
    """Say in words what a peer speaks whose first bytes are `sample`, as `the peer …`.

    They are not logged where they come `is_after_login`: they may be what the peer was shown.
    """
    if sample.startswith(b"AMQP"):
        return f"the peer speaks {_amqp_version(sample[4:8], expected)}"
    if len(sample) > 1 and sample[0] in _TLS_RECORD_TYPES and sample[1] == 3:
        return "the peer speaks TLS: set tls.enabled: true, or use the port without TLS"
    if sample.startswith(b"HTTP/"):
        return f"the peer speaks HTTP: the port is not the broker's {expected.port} port"
    if sample.startswith(b"SSH-"):
        return f"the peer speaks SSH: the port is not the broker's {expected.port} port"
    text = f"the peer does not speak {expected.protocol}"
    if is_after_login:
        return text
    logger.debug("peer speaks something else", extra={"first_bytes": sample[:16]})
    return f"{text}; Springline's debug log has its first bytes"


def usual_use(port: int) -> str:
    """Return what a port is usually for, to follow a sentence; empty where nothing is known.

    Some peers say nothing to what they do not understand: a server of HTTP waits for the end of the
    line.
    """
    use = _USUAL_USES.get(port)
    return f" Port {port} is usually for {use}." if use is not None else ""


def _amqp_version(octets: bytes, expected: Expected) -> str:
    header = _AMQP_HEADERS.get(octets)
    if header is None:
        return f"AMQP in another version ({'-'.join(map(str, octets[1:])) or 'cut off'})"
    if header.protocol != expected.protocol:
        return f"{header.protocol}{header.wants}{_advice(header.protocol)}"
    return f"{header.protocol}{header.wants or ', and refuses our version of it'}"


def _advice(title: str) -> str:
    """Return what to declare for a protocol, if it can be declared."""
    for known in protocols.PROTOCOLS.values():
        if known.title == title:
            return f": set protocol: {known.name}"
    return ", which is not supported"
