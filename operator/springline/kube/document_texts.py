"""What can be seen of an object's text without parsing it: which version of which object it is.

Pure. The API server writes the fields of an object in the order of their names and without spaces,
so the metadata comes before what is declared, and ends with version and uid. Where it does not, or
something in between writes it anew, nothing is seen, and whoever asks parses the text.
"""

import re
from typing import Final, NamedTuple

__all__ = ["Made", "made"]

_VERSION: Final = b'"resourceVersion":"'
_MADE: Final = re.compile(rb'"resourceVersion":"(\d{1,40})","uid":"([\w.-]{1,128})"\}', re.ASCII)


class Made(NamedTuple):
    """One version of one object."""

    uid: str
    version: str


def made(text: bytes) -> Made | None:
    """Return which version of which object a text shows; None where that cannot be seen.

    In metadata nobody can make it up: keys of labels and annotations hold no quotes, and in values
    they have a backslash before them.
    """
    at = text.find(_VERSION)
    found = _MADE.match(text, at) if at >= 0 else None
    return Made(found[2].decode(), found[1].decode()) if found is not None else None
