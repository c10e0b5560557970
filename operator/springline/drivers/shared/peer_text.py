"""A peer's text, made fit for a status or a log line. Pure.

It bounds and cleans; what a text means is a driver's to know.
"""

__all__ = ["cleaned"]

_MAX_TEXT = 255


def cleaned(text: object, limit: int = _MAX_TEXT) -> str:
    """Return a peer's text fit for a status or a log line: printable, at most `limit` long."""
    if isinstance(text, bytes | bytearray):
        text = bytes(text).decode("utf-8", "replace")
    if not isinstance(text, str):
        return ""
    text = text[:limit]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text.strip()
