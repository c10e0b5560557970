"""Texts with a limit in bytes, as the API server has for what people read."""

from typing import Final

__all__ = ["shortened"]

_CUT: Final = "…"
_MOST_BYTES: Final = 4  # of a character in UTF-8


def shortened(text: str, limit: int) -> str:
    """Return a text of so many bytes at most, cut between two characters."""
    if len(text) * _MOST_BYTES <= limit:
        return text
    encoded = text.encode(errors="replace")
    if len(encoded) <= limit:
        return text
    return encoded[: limit - len(_CUT.encode())].decode(errors="ignore") + _CUT
