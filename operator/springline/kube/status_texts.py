"""Statuses as texts: digests to compare them by, and the text that a write sends. Pure.

A status is encoded once for each write. The text goes into the request and into the digest, and
the answer of the API server usually ends with the same text, so that it need not be parsed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

__all__ = ["Digest", "StatusText"]

_COUNT: Final = "attempts"
"""The field that is not worth a write of its own. It is the first one in a text."""


@dataclass(frozen=True, slots=True)
class Digest:
    """Tells whether two statuses are the same, whole and without the count of attempts."""

    whole: bytes
    without_count: bytes

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Self:
        """Digest a status as it stands in the document."""
        return cls.of_texts(*_encoded(status))

    @classmethod
    def of_texts(cls, rest: str, count: str) -> Self:
        """Digest a status by the text of its count and that of all other fields."""
        hashed = hashlib.blake2b(rest.encode(), digest_size=16)
        without_count = hashed.digest()
        hashed.update(count.encode())
        return cls(hashed.digest(), without_count)


@dataclass(frozen=True, slots=True)
class StatusText:
    """A status as it is sent."""

    text: bytes
    digest: Digest

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Self:
        """Encode a status as it stands in the document."""
        rest, count = _encoded(status)
        text = rest
        if _COUNT in status:
            more = "," if len(status) > 1 else ""
            text = f'{{"{_COUNT}":{count}{more}{rest[1:]}'
        return cls(text.encode(), Digest.of_texts(rest, count))

    @property
    def value(self) -> dict[str, Any]:
        """The status itself."""
        value: dict[str, Any] = json.loads(self.text)
        return value

    def is_status_of(self, document: bytes) -> bool:
        """Whether the text of an object shows that this is its status.

        False says nothing, because the same status can be written in another form. The API server
        writes the fields of an object in the order of their names, so the status is the last one.
        The spec cannot imitate it: a quote in a text has a backslash before it.
        """
        return document.rstrip(b"\n").endswith(b'"status":%b}' % self.text)


def _encoded(status: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of a status without its count, and the text of the count."""
    rest, count = dict(status), status.get(_COUNT)
    rest.pop(_COUNT, None)
    return _encode(rest), str(count) if type(count) is int else _encode(count)


# The same status gives the same text, in whichever order it was read or made. It is in ASCII: JSON
# has texts that UTF-8 has not.
_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
