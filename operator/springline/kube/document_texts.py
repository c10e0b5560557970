"""The version that the text of an object shows, found without parsing the text. Pure.

The API server writes the fields of an object in the order of their names and without spaces, so
the metadata precedes the spec and ends with version and uid. In a text of another form, such as a
proxy could write, nothing is found; the caller parses that one.
"""

import re
from typing import Final, NamedTuple

__all__ = ["ObjectVersion", "version_in"]

_VERSION: Final = b'"resourceVersion":"'
_FOUND: Final = re.compile(rb'"resourceVersion":"(\d{1,40})","uid":"([\w.-]{1,128})"\}', re.ASCII)


class ObjectVersion(NamedTuple):
    """One version of one object."""

    uid: str
    version: str


def version_in(text: bytes) -> ObjectVersion | None:
    """Return the version that the text of an object, or of an event with one, shows.

    None if it is not found. Metadata cannot imitate it: the keys of labels and annotations hold no
    quotes, and quotes in their values have a backslash before them.
    """
    at = text.find(_VERSION)
    found = _FOUND.match(text, at) if at >= 0 else None
    return ObjectVersion(found[2].decode(), found[1].decode()) if found is not None else None
