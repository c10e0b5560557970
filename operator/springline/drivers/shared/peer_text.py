"""A peer's text, made fit for a status or a log line. Pure.

It bounds and cleans, and takes the session's secrets out before anything is cut: a peer may echo
them, on purpose or not. What a text means is a driver's to know, and is decided on what the peer
said; what is shown of it comes from here, with a veil.
"""

from collections.abc import Callable

from springline.api import texts
from springline.veil import WITHHELD, Veil

__all__ = ["cleaned", "words"]

_MOST_WORDS = 32
_LONGEST_LIST = 1024


def cleaned(
    text: object,
    limit: int = texts.LONGEST_NAME,
    *,
    veil: Veil | None = None,
    is_known: Callable[[str], bool] = lambda _: False,
) -> str:
    """Return a peer's text fit for a status or a log line: printable, of so many bytes at most.

    Without a veil it is only to be compared with what is known, and not to be shown. `is_known`
    says which texts a veil never withholds.
    """
    # A character has four bytes at most; one that was cut is replaced, and then left out.
    text = _decoded(text, 4 * limit if veil is None else None)
    if veil is not None:
        text = veil.over(text, is_known=is_known)
    text = text[:limit]
    if not text.isprintable():
        text = "".join(char if char.isprintable() else " " for char in text)
    return text.encode(errors="replace")[:limit].decode(errors="ignore").strip()


def words(
    text: object,
    *,
    veil: Veil | None = None,
    is_known: Callable[[str], bool] = lambda _: False,
) -> tuple[str, ...]:
    """Return a peer's list of words between spaces, each as `cleaned`, and not too many.

    Left out is a word that a veil withholds, and one that is too long: the beginning of it is
    nothing that the peer has said, and may be asked for.
    """
    found: list[str] = []
    room = _LONGEST_LIST
    for each in _decoded(text).split(maxsplit=_MOST_WORDS)[:_MOST_WORDS]:
        if texts.is_too_long(each):
            continue
        word = cleaned(each, veil=veil, is_known=is_known)
        if word == WITHHELD:
            continue
        room -= len(word.encode()) + 1
        if room < 0:
            break
        found += word.split()
    return tuple(found[:_MOST_WORDS])


def _decoded(text: object, most: int | None = None) -> str:
    """Return a peer's text as a text, of so many of its bytes; empty for what is none."""
    if isinstance(text, bytes | bytearray):
        return bytes(text[:most]).decode("utf-8", "replace")
    return text if isinstance(text, str) else ""
