"""Keeps a session's secrets out of what others say: brokers and token endpoints may echo them.

What is shown of a peer's text goes through here, before anything cuts it: the half of a secret that
is left of a cut is not recognised any more. Pure, but for what it is told.
"""

import base64
import html
import json
from collections.abc import Callable, Container, Iterator
from typing import Final
from urllib.parse import quote, quote_plus

from springline.redaction import Secret

__all__ = ["WITHHELD", "Veil"]

WITHHELD: Final = "(not shown: the secret is too short or too like a name to be told apart)"

_MASK: Final = "***"

_RUN: Final = 12
"""So many characters of a secret in a row are no coincidence."""

_CHEAP: Final = 8
"""So many characters of a secret are looked through in the time that one run of it is cut out."""

_SHORT: Final = 8
"""A secret of fewer characters can be in any text by chance. To mask it would confirm it."""

_KEPT: Final = 3
"""Secrets that are remembered: the current one, the one before, and one that was tried between."""

_MOST_LOOKED_AT: Final = 128 * 1024
"""Characters of a text that are looked at, and so the most that are shown."""

_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")


class Veil:
    """The secrets of one session, as far as texts of others are searched for them.

    It holds no copies: the secrets are those of the session's credentials.
    """

    __slots__ = ("_names", "_secrets")

    def __init__(self) -> None:
        self._secrets: tuple[Secret, ...] = ()
        self._names: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """What is in texts of others and no secret: user, place, host."""
        return self._names

    def note(self, secret: Secret) -> None:
        """Take note of a secret before it is sent. Those before it are remembered for a while."""
        if secret and (not self._secrets or self._secrets[0] != secret):
            others = tuple(each for each in self._secrets if each != secret)
            self._secrets = (secret, *others)[:_KEPT]

    def know(self, *names: str) -> None:
        """Take note of what a peer may name, in the place of what was noted before."""
        self._names = frozenset(filter(None, names))

    def over(self, text: str, *, is_known: Callable[[str], bool] = lambda _: False) -> str:
        """Return a text without the secrets in it.

        Where one is too short to be masked, or is a name as well, the text is withheld, unless it
        `is_known`: one that the peer always says, and names of ours.
        """
        text = text[:_MOST_LOOKED_AT]
        found = bytearray(len(text))
        compared = _comparable(text)
        for secret in self._secrets:
            value = secret.reveal()
            if len(value) < _SHORT or value in self._names:
                if any(form in text for form in _forms(value)) and not is_known(text):
                    return WITHHELD
            elif len(text) >= min(_RUN, len(value)):  # no form is shorter
                for form in _forms(value):
                    _mark(found, compared, _comparable(form))
        return _masked(text, found)

    def __repr__(self) -> str:
        return f"Veil({len(self._secrets)})"


def _comparable(text: str) -> str:
    """Return a text of the same length, without what nobody would notice the difference of."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return text.translate(_LOWER)


def _forms(value: str) -> Iterator[str]:
    """Yield a secret as it may be written by others."""
    yield value
    octets = value.encode("utf-8", "surrogatepass")
    if len(value) < _SHORT:
        # The ends of what stands around it would make too much of it.
        yield base64.b64encode(octets).decode().rstrip("=")
    else:
        yield base64.b64encode(octets).decode()
        # Encoded with what stands in front of it, it is one of three texts but for its ends.
        for offset in range(3):
            encoded = base64.b64encode(b"\0" * offset + octets).decode()
            inside = encoded[(offset * 8 + 5) // 6 : (offset + len(octets)) * 8 // 6]
            yield inside
            yield inside.replace("+", "-").replace("/", "_")
    yield octets.hex()
    for form in (
        quote(value, safe="", errors="surrogatepass"),
        quote_plus(value, errors="surrogatepass"),
        html.escape(value),
        json.dumps(value)[1:-1],
    ):
        if form != value:
            yield form


def _mark(found: bytearray, text: str, form: str) -> None:
    """Mark where a run of a secret stands in a text."""
    length = min(_RUN, len(form))
    starts = range(len(text) - length + 1)
    # A broker's few words are looked for in a long token; to take that apart would cost more.
    runs: Container[str] = form
    if len(starts) * _CHEAP > len(form):
        runs = {form[start : start + length] for start in range(len(form) - length + 1)}
    for start in starts:
        if text[start : start + length] in runs:
            found[start : start + length] = b"\1" * length


def _masked(text: str, found: bytearray) -> str:
    if not any(found):
        return text
    parts: list[str] = []
    for character, is_secret in zip(text, found, strict=True):
        if not is_secret:
            parts.append(character)
        elif not parts or parts[-1] != _MASK:
            parts.append(_MASK)
    return "".join(parts)
