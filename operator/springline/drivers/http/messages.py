"""Requests and answers, as values. Pure.

Neither shows in its repr what may be a secret: header fields, bodies and the query of a target.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from springline.drivers.http import bounds

__all__ = ["Headers", "Request", "Response"]

Headers = tuple[tuple[bytes, bytes], ...]
"""Names in lower case, and values, in the order of the message."""

_IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE"})
"""RFC 9110 §9.2.2."""
_WITH_CONTENT: Final = frozenset({"POST", "PUT", "PATCH"})
"""Methods for which an empty body is said to be empty (RFC 9110 §8.6)."""

_TOKEN: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9a-z-]+")  # RFC 9110 §5.6.2, in lower case
_METHOD: Final = re.compile(r"[A-Z][A-Z-]{0,31}")
_TARGET: Final = re.compile(r"(?:/[!-~]*|\*)")
_VALUE: Final = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")

_OURS: Final = frozenset(
    {
        *(b"connection", b"content-length", b"expect", b"host", b"http2-settings", b"keep-alive"),
        *(b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade"),
    }
)
"""Fields that say how messages are framed, or what becomes of the connection."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is asked of a server. Raises `ValueError` for what cannot be sent as it is.

    Which host it goes to, how its body is framed and whether the connection stays is not the
    caller's to say.
    """

    method: str = "GET"
    target: str = "/"
    """A path with its query, percent-encoded; or `*` (RFC 9112 §3.2.1, §3.2.4)."""
    headers: Headers = field(default=(), repr=False)
    body: bytes | Iterable[bytes] = field(default=b"", repr=False)
    """Pieces of it where its length is not known beforehand. They are asked for when the request is
    sent; what raises there is raised by the call."""

    def __post_init__(self) -> None:
        if self.method == "CONNECT" or not _METHOD.fullmatch(self.method):
            raise ValueError("this is no method of a request")
        if not _TARGET.fullmatch(self.target):
            raise ValueError("a target is a path of visible ASCII characters that begins with /")
        octets = len(self.target)
        for name, value in self.headers:
            if name in _OURS or not _TOKEN.fullmatch(name):
                raise ValueError(f"a header field {name!r} cannot be given; names are lower case")
            if not _VALUE.fullmatch(value):
                raise ValueError(f"the value of {name!r} has characters that no field may have")
            octets += len(name) + len(value)
        if octets > bounds.MAX_REQUEST_HEADER_OCTETS:
            raise ValueError(f"target and header fields have {octets} octets, which is too much")

    def __repr__(self) -> str:
        return f"Request({self.method} {self.target.split('?', 1)[0]})"

    @property
    def is_idempotent(self) -> bool:
        """Whether to process it twice is the same as once (RFC 9110 §9.2.2)."""
        return self.method in _IDEMPOTENT

    @property
    def wants_length(self) -> bool:
        """Whether an empty body is to be told as such (RFC 9110 §8.6)."""
        return self.method in _WITH_CONTENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """A server's final answer. What it says is not to be trusted, and not to be shown as it is."""

    status: int
    headers: Headers = field(default=(), repr=False)
    body: bytes = field(default=b"", repr=False)
    version: str = "1.1"
    """Of HTTP: `1.0`, `1.1` or `2`."""

    def header(self, name: bytes) -> bytes | None:
        """Return the first value of a field, whose name is given in lower case."""
        return next((value for each, value in self.headers if each == name), None)

    def __repr__(self) -> str:
        return f"Response({self.status}, HTTP/{self.version}, {len(self.body)} octets)"
