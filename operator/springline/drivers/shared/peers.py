"""What the peer speaks, told by its first bytes. Pure; used for the sentence in an error.

Only bytes that came before our login are looked at: later ones could be our own secret, echoed.
"""

from dataclasses import dataclass

__all__ = ["MAX_SAMPLE", "Expected", "describe"]

MAX_SAMPLE = 32
"""Bytes that are enough to recognise a protocol."""


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
    otherwise: str = ", which is not supported"
    """What follows where another protocol is expected."""


_SET_AMQP10 = ": set protocol: amqp10"
_AMQP_HEADERS = {
    b"\0\0\x09\x01": _AmqpHeader(protocol="AMQP 0-9-1", otherwise=": set protocol: amqp091"),
    b"\0\x01\0\0": _AmqpHeader(protocol="AMQP 1.0", otherwise=_SET_AMQP10),
    b"\x03\x01\0\0": _AmqpHeader(
        protocol="AMQP 1.0", wants=" and wants SASL first", otherwise=_SET_AMQP10
    ),
    b"\x02\x01\0\0": _AmqpHeader(
        protocol="AMQP 1.0", wants=" and wants TLS first", otherwise=_SET_AMQP10
    ),
    b"\x01\x01\x00\x0a": _AmqpHeader(protocol="AMQP 0-10"),
    b"\x01\x01\x00\x09": _AmqpHeader(protocol="AMQP 0-9"),
    b"\x01\x01\x08\x00": _AmqpHeader(protocol="AMQP 0-8"),
}
_TLS_RECORD_TYPES = frozenset({0x14, 0x15, 0x16, 0x17})


def describe(sample: bytes, expected: Expected) -> str:
    """Say in words what a peer speaks whose first bytes are `sample`, as `the peer …`."""
    if sample.startswith(b"AMQP"):
        return f"the peer speaks {_amqp_version(sample[4:8], expected)}"
    if len(sample) > 1 and sample[0] in _TLS_RECORD_TYPES and sample[1] == 3:
        return "the peer speaks TLS: set tls.enabled: true, or use the port without TLS"
    if sample.startswith(b"HTTP/"):
        return f"the peer speaks HTTP: the port is not the broker's {expected.port} port"
    if sample.startswith(b"SSH-"):
        return f"the peer speaks SSH: the port is not the broker's {expected.port} port"
    return f"the peer does not speak {expected.protocol}; its first bytes are {sample[:16]!r}"


def _amqp_version(octets: bytes, expected: Expected) -> str:
    header = _AMQP_HEADERS.get(octets)
    if header is None:
        return f"AMQP in another version ({'-'.join(map(str, octets[1:])) or 'cut off'})"
    if header.protocol != expected.protocol:
        return f"{header.protocol}{header.wants}{header.otherwise}"
    return f"{header.protocol}{header.wants or ', and refuses our version of it'}"
