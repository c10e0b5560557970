"""Keeps a session's secrets out of what others say: brokers and token endpoints may echo them.

What is shown of a peer's text goes through here, before anything cuts it: the half of a secret that
is left of a cut is not recognised any more. Pure, but for what it is told.
"""

import base64
import html
import json
import re
from collections.abc import Callable, Container, Iterator, Sequence
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

_MOST_LAYERS: Final = 3
"""How often what is escaped may be escaped again, as by a proxy."""

# One character each, however it is written: for URLs, by C, JSON, Python and Erlang, and for HTML.
_ESCAPED: Final = re.compile(
    r"%([0-9a-f]{2})|\\x\{?([0-9a-f]{2})\}?|\\u\{?([0-9a-f]{4})\}?|&#x([0-9a-f]{1,6});"
    r"|&#([0-9]{1,7});|&(amp|lt|gt|quot|apos);|\\([^\w\s])",
    re.IGNORECASE,
)
# Octets as numbers, as Erlang writes what it takes for no text, or in hex with something between.
_NUMBERS: Final = re.compile(
    r"(?<![0-9])[0-9]{1,3}(?:, ?[0-9]{1,3}){7,}(?![0-9])"
    r"|(?<![0-9a-f])[0-9a-f]{2}(?:[:. -][0-9a-f]{2}){7,}(?![0-9a-f])",
    re.IGNORECASE,
)
_SHORTEST_ROW: Final = len("1,2,3,4,5,6,7,8")
_NUMBER: Final = re.compile(r"[0-9a-f]+", re.IGNORECASE)

_PLAIN: Final = re.compile(r"[A-Za-z0-9_.~-]*")
"""What no URL, HTML or JSON writes otherwise (RFC 3986 §2.3): most secrets, and every JWT."""

_STRETCHES: Final = tuple(
    re.compile(f"[A-Za-z0-9_.~+/=-]{{{length}}}") for length in range(_RUN + 1)
)
"""By their length, so many characters in a row that a plain secret may have, encoded or not."""

_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")

_MOST_CLEAR: Final = 4096

_clear: set[int] = set()
"""Hashes of texts and secrets where the text was searched, and has none. Nothing is read back."""


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
        if self._can_have_none(text):
            return text
        if not all(map(self._can_be_masked, self._secrets)):
            return self._searched(text, is_known=is_known)
        # Sessions with one secret hear the same of one broker, and of each that is opened anew.
        said = hash((text, *(each.reveal() for each in self._secrets)))
        if said in _clear:
            return text
        shown = self._searched(text, is_known=is_known)
        if shown == text:
            if len(_clear) >= _MOST_CLEAR:
                _clear.clear()
            _clear.add(said)
        return shown

    def _can_be_masked(self, secret: Secret) -> bool:
        """Whether a secret is told apart from what is in texts by chance, or as a name."""
        value = secret.reveal()
        return len(value) >= _SHORT and value not in self._names

    def _searched(self, text: str, *, is_known: Callable[[str], bool]) -> str:
        found = bytearray(len(text))
        readings = [_Reading(text, range(len(text) + 1)), *_unescaped(text)]
        for secret in self._secrets:
            value = secret.reveal()
            if not self._can_be_masked(secret):
                forms = dict.fromkeys(_forms(value))
                if any(form in each.text for each in readings for form in forms) and not is_known(
                    text
                ):
                    return WITHHELD
            elif len(text) >= min(_RUN, len(value)):  # no form is shorter
                forms = dict.fromkeys(map(_comparable, _forms(value)))
                for reading in readings:
                    for form in forms:
                        _mark(found, reading, form)
        return _masked(text, found)

    def _can_have_none(self, text: str) -> bool:
        """Whether nothing in a text is long enough to be a run of a secret, at a glance.

        What a broker says of itself is a few words, and to search it takes as long as the rest of
        a handshake.
        """
        shortest = _RUN
        for secret in self._secrets:
            value = secret.reveal()
            if not self._can_be_masked(secret) or not _PLAIN.fullmatch(value):
                return False
            shortest = min(shortest, len(value))
        return (
            _STRETCHES[shortest].search(text) is None
            and not _has_escapes(text)
            and _NUMBERS.search(text) is None
        )

    def __repr__(self) -> str:
        return f"Veil({len(self._secrets)})"


class _Reading:
    """A text as one may read it, and where each of its characters stands in what was said."""

    __slots__ = ("compared", "starts", "text")

    def __init__(self, text: str, starts: Sequence[int]) -> None:
        """`starts` has one number more than there are characters: the end."""
        self.text = text
        self.compared = _comparable(text)
        self.starts = starts


def _has_escapes(text: str) -> bool:
    """Whether there may be any: most texts are a few words, and the expression takes longer."""
    return "%" in text or "\\" in text or "&" in text


def _unescaped(text: str) -> Iterator[_Reading]:
    """Yield what a text is when what is escaped in it is read as what it stands for."""
    starts: Sequence[int] = range(len(text) + 1)
    for _ in range(_MOST_LAYERS if _has_escapes(text) else 0):
        characters: list[str] = []
        places: list[int] = []
        end = 0
        for match in _ESCAPED.finditer(text):
            characters += text[end : match.start()]
            places += starts[end : match.start()]
            characters.append(_meant(match))
            places.append(starts[match.start()])
            end = match.end()
        if not end:
            break
        characters += text[end:]
        text, starts = "".join(characters), (*places, *starts[end:])
        yield _Reading(text, starts)
    if len(text) >= _SHORTEST_ROW:
        yield from _numbered(text, starts)


def _meant(match: re.Match[str]) -> str:
    """Return the one character that an escape stands for."""
    *hexadecimal, decimal, name, itself = match.groups()
    if itself:
        return itself
    if name:
        return html.unescape(match[0])
    code = int(decimal) if decimal else int(next(filter(None, hexadecimal)), 16)
    return chr(code) if code <= 0x10FFFF else " "


def _numbered(text: str, starts: Sequence[int]) -> Iterator[_Reading]:
    """Yield what rows of numbers are when they are octets; a space ends each row."""
    characters: list[str] = []
    places: list[int] = []
    for row in _NUMBERS.finditer(text):
        base = 10 if "," in row[0] else 16
        for number in _NUMBER.finditer(text, row.start(), row.end()):
            characters.append(chr(int(number[0], base)))
            places.append(starts[number.start()])
        characters.append(" ")
        places.append(starts[row.end()])
    if characters:
        yield _Reading("".join(characters), (*places, places[-1]))


def _comparable(text: str) -> str:
    """Return a text of the same length, without what nobody would notice the difference of."""
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    return text.translate(_LOWER)


def _forms(value: str) -> Iterator[str]:
    """Yield a secret as it may be written by others."""
    yield value
    octets = value.encode("utf-8", "surrogatepass")
    if not value.isascii():
        yield octets.decode("latin-1")  # as it is read by those who know nothing of UTF-8
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
    if _PLAIN.fullmatch(value):
        return  # as all of these would write it, too
    yield quote(value, safe="", errors="surrogatepass")
    yield quote_plus(value, errors="surrogatepass")
    yield html.escape(value)
    yield json.dumps(value)[1:-1]


def _mark(found: bytearray, reading: _Reading, form: str) -> None:
    """Mark where a run of a secret stands in what was said."""
    text, places = reading.compared, reading.starts
    length = min(_RUN, len(form))
    starts = range(len(text) - length + 1)
    # A broker's few words are looked for in a long token; to take that apart would cost more.
    runs: Container[str] = form
    if len(starts) * _CHEAP > len(form):
        runs = {form[start : start + length] for start in range(len(form) - length + 1)}
    for start in starts:
        if text[start : start + length] in runs:
            first, end = places[start], places[start + length]
            found[first:end] = b"\1" * (end - first)


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
