"""Texts with a limit in bytes, in characters that can be shown.

What people read of a declaration, a Secret or a peer is bounded where it enters, so that none of it
grows every status that shows it.
"""

from typing import Final

__all__ = ["LONGEST_MESSAGE", "LONGEST_NAME", "is_too_long", "printable", "shortened", "shown"]

LONGEST_NAME: Final = 255
"""Bytes of a name or a few words, such as a user, or what a broker calls itself."""

LONGEST_MESSAGE: Final = 1024
"""Bytes of a sentence or several, as in a condition or an Event."""

_CUT: Final = "…"
_MOST_BYTES: Final = 4  # of a character in UTF-8


def is_too_long(text: str, limit: int = LONGEST_NAME) -> bool:
    """Whether a text has more than so many bytes."""
    if len(text) * _MOST_BYTES <= limit:
        return False
    return len(text) > limit or len(text.encode(errors="replace")) > limit


def shortened(text: str, limit: int) -> str:
    """Return a text of so many bytes at most, cut between two characters."""
    if not is_too_long(text, limit):
        return text
    # A character has one byte at least, so no more of a huge text is looked at.
    encoded = text[:limit].encode(errors="replace")
    return encoded[: limit - len(_CUT.encode())].decode(errors="ignore") + _CUT


def printable(text: str) -> str:
    """Return a text with escapes for control characters and lone surrogates."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def shown(text: str, limit: int = LONGEST_NAME) -> str:
    """Return a text as people are shown it: printable, and of so many bytes at most."""
    return shortened(printable(text[: limit + 1]), limit)
