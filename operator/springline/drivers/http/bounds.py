"""How much of anything there may be on one HTTP connection. None is met by what behaves.

What belongs to an answer that is awaited counts against that answer. What belongs to none counts
against the connection, by the budget that all drivers share (`drivers.shared.inbound`).
"""

from typing import Final

__all__ = [
    "MAX_BODY",
    "MAX_FRAME",
    "MAX_HEADERS",
    "MAX_HEADER_OCTETS",
    "MAX_HELD",
    "MAX_INFORMATIONAL",
    "MAX_IN_FLIGHT",
    "MAX_OUTSTANDING_OCTETS",
    "MAX_REQUEST_BODY",
    "MAX_REQUEST_HEADER_OCTETS",
    "MAX_RESPONSE_OCTETS",
    "MAX_RESPONSE_PIECES",
    "MAX_SETTINGS",
    "MAX_UNREAD",
    "MAX_WAITING",
    "READ_OCTETS",
]

MAX_IN_FLIGHT: Final = 128
"""Requests sent and not answered; an HTTP/2 peer may allow fewer."""
MAX_WAITING: Final = 1000
"""Requests that wait to be sent."""
MAX_REQUEST_BODY: Final = 1024 * 1024
"""Octets of the body of one request."""
MAX_REQUEST_HEADER_OCTETS: Final = 64 * 1024
"""Octets of target and header fields of one request; a long token is a few thousand."""
MAX_OUTSTANDING_OCTETS: Final = 2 * MAX_REQUEST_BODY
"""Octets of requests that are not answered yet: a peer that reads nothing costs no more."""
MAX_UNREAD: Final = 4 * MAX_OUTSTANDING_OCTETS
"""Octets queued for a peer that does not read, whatever they are; more ends the connection."""

MAX_HEADER_OCTETS: Final = 32 * 1024
"""Octets of status line and header fields of one answer, and of one line of chunked coding."""
MAX_HEADERS: Final = 200
"""Header fields of one answer."""
MAX_BODY: Final = 1024 * 1024
"""Octets of the body of one answer; it is kept in memory."""
MAX_HELD: Final = 16 * MAX_BODY
"""Octets of the bodies of all answers of a connection that are not complete."""
MAX_RESPONSE_OCTETS: Final = 2 * MAX_BODY
"""Octets of one answer on the wire, with all that frames it."""
MAX_RESPONSE_PIECES: Final = 4000
"""HTTP/2 frames, or chunks, that one answer comes in. Each costs time, however short it is."""
MAX_SETTINGS: Final = 64
"""Settings that an HTTP/2 peer makes; six are defined (RFC 9113 §6.5.2), and h2 keeps them all."""
MAX_INFORMATIONAL: Final = 16
"""1xx answers in front of one final answer."""
MAX_FRAME: Final = 16 * 1024
"""Octets of the payload of one HTTP/2 frame: SETTINGS_MAX_FRAME_SIZE (RFC 9113 §6.5.2)."""
MAX_RETRY_AFTER: Final = 3600.0
"""Seconds after which a throttled server is asked again, whatever it wants: nobody looks longer."""
READ_OCTETS: Final = 8 * 1024
"""Octets read at one time."""
