"""Statuses as texts: which ones are the same, what is sent, and what an answer says. Pure.

A status is encoded once for each write. Its text is what is sent and what is digested, and most
often the answer of the API server ends with the very same text, so that nothing of it is parsed.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

__all__ = ["Digest", "StatusText"]

_COUNT: Final = "attempts"
"""The field that alone is not worth a write at once. It comes before all others in a text."""


@dataclass(frozen=True, slots=True)
class Digest:
    """A status, as far as it takes to see whether another one is the same."""

    whole: bytes
    without_count: bytes

    @classmethod
    def of(cls, status: Mapping[str, Any]) -> Self:
        """Digest a status as it stands in the document."""
        return cls.of_texts(*_encoded(status))

    @classmethod
    def of_texts(cls, rest: str, count: str) -> Self:
        """Digest a status by the texts of its count and of everything else."""
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

    def is_that_of(self, document: bytes) -> bool:
        """Whether the text of an object shows that its status is this one.

        False says nothing: the same can be written in another way. The API server writes the fields
        of an object in the order of their names, so that the status comes last, and without spaces.
        What stands before the status cannot have been made up by who declares the object: a quote
        in a text has a backslash before it.
        """
        return document.rstrip(b"\n").endswith(b'"status":%b}' % self.text)


def _encoded(status: Mapping[str, Any]) -> tuple[str, str]:
    """Return the text of a status without its count, and that of the count."""
    rest, count = dict(status), status.get(_COUNT)
    rest.pop(_COUNT, None)
    return _encode(rest), str(count) if type(count) is int else _encode(count)


# The same status gives the same text, in whichever order it was read or made. It is in ASCII: JSON
# has texts that UTF-8 has not.
_encode: Final = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
