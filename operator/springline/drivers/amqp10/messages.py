"""Messages, in the sections that are used here (part 3 §3.2), by proton's codec."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from proton import Data, Described, ubyte, uint, ulong

from springline.drivers.amqp10 import codec

__all__ = ["Message", "read"]

_HEADER: Final = 0x70
_PROPERTIES: Final = 0x73
_APPLICATION_PROPERTIES: Final = 0x74
_AMQP_VALUE: Final = 0x77
_DEFAULT_PRIORITY: Final = 4
_FIELDS: Final = 13  # of properties
_LONGEST_TTL: Final = 0xFFFFFFFF
_MOST_SECTIONS: Final = 64
"""Of a message that is read. There are seven kinds, and only parts of a body may come often."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What is sent, or has come. The body, which may be a secret, shows in no repr."""

    message_id: str = ""
    to: str = ""
    subject: str = ""
    reply_to: str = ""
    correlation_id: str = ""
    ttl: float | None = None
    """Seconds after which a broker may drop it."""
    application: Mapping[str, Any] = field(default_factory=dict)
    body: Any = field(default=None, repr=False)

    def encoded(self) -> bytes:
        """Return its sections."""
        ttl = None if self.ttl is None else uint(min(int(self.ttl * 1000), _LONGEST_TTL))
        properties: list[Any] = [None] * _FIELDS
        properties[0] = self.message_id or None
        properties[2] = self.to or None
        properties[3] = self.subject or None
        properties[4] = self.reply_to or None
        properties[5] = self.correlation_id or None
        sections = [
            (_HEADER, [False, ubyte(_DEFAULT_PRIORITY), ttl]),
            (_PROPERTIES, properties),
            (_APPLICATION_PROPERTIES, dict(self.application)),
            (_AMQP_VALUE, self.body),
        ]
        octets = b""
        for code, value in sections:
            data = Data()
            data.put_object(Described(ulong(code), value))
            octets += data.encode()
        return octets


def read(octets: bytes) -> Message:
    """Return what has come, as far as it is of use. Raises `UndecodableError`."""
    found: dict[int, Any] = {}
    sections = 0
    while octets:
        sections += 1
        if sections > _MOST_SECTIONS:
            raise codec.UndecodableError("too many sections")
        code, value, taken = codec.decode_section(octets)
        found[code] = value
        octets = octets[taken:]
    properties = found.get(_PROPERTIES)
    fields = properties if isinstance(properties, list) else []
    application = found.get(_APPLICATION_PROPERTIES)
    return Message(
        message_id=_text(codec.field(fields, 0)),
        subject=_text(codec.field(fields, 3)),
        correlation_id=_text(codec.field(fields, 5)),
        application=application if isinstance(application, dict) else {},
        body=found.get(_AMQP_VALUE),
    )


def _text(value: object) -> str:
    return str(value) if isinstance(value, str) else ""
