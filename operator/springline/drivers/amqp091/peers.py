"""What the peer speaks, told by its first bytes. Pure; used for the sentence in an error.

Only bytes that came before our login are looked at: later ones could be our own secret, echoed.
"""

__all__ = ["MAX_SAMPLE", "describe"]

MAX_SAMPLE = 32
"""Bytes that are enough to recognise a protocol."""

_AMQP_VERSIONS = {
    b"\0\0\x09\x01": "AMQP 0-9-1, and refuses our version of it",
    b"\0\x01\0\0": "AMQP 1.0: set protocol: amqp10",
    b"\x03\x01\0\0": "AMQP 1.0 and wants SASL first: set protocol: amqp10",
    b"\x02\x01\0\0": "AMQP 1.0 and wants TLS first: set protocol: amqp10",
    b"\x01\x01\x00\x0a": "AMQP 0-10, which is not supported",
    b"\x01\x01\x00\x09": "AMQP 0-9, which is not supported",
    b"\x01\x01\x08\x00": "AMQP 0-8, which is not supported",
}
_TLS_RECORD_TYPES = frozenset({0x14, 0x15, 0x16, 0x17})


def describe(sample: bytes) -> str:
    """Say in words what a peer speaks whose first bytes are `sample`, as `the peer …`."""
    if sample.startswith(b"AMQP"):
        return f"the peer speaks {_amqp_version(sample[4:8])}"
    if len(sample) > 1 and sample[0] in _TLS_RECORD_TYPES and sample[1] == 3:
        return "the peer speaks TLS: set tls.enabled: true, or use the port without TLS"
    if sample.startswith(b"HTTP/"):
        return "the peer speaks HTTP: the port is not the broker's AMQP port"
    if sample.startswith(b"SSH-"):
        return "the peer speaks SSH: the port is not the broker's AMQP port"
    return f"the peer does not speak AMQP 0-9-1; its first bytes are {sample[:16]!r}"


def _amqp_version(octets: bytes) -> str:
    known = _AMQP_VERSIONS.get(octets)
    return known or f"AMQP in another version ({'-'.join(map(str, octets[1:])) or 'cut off'})"
