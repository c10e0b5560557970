"""Bundles of certificate authorities in PEM: which certificates are in one, and what is left out.

A bundle is put together from many places, and one block that was damaged on the way is no reason to
trust none of the others. What was left out has to be said where it is missed. It reads no files and
no objects.
"""

import base64
import binascii
import hashlib
import re
import ssl
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

__all__ = ["Bundle", "Bundles", "parsed"]

_MOST_KNOWN: Final = 64
_MOST_NAMED: Final = 5

# As OpenSSL has them, and so loose that a damaged line is still seen to begin something.
_BEGIN: Final = re.compile(r"-{2,}\s*BEGIN (?:X509 |TRUSTED )?CERTIFICATE\b(?! REQUEST)")
_END: Final = re.compile(r"-{2,}\s*END (?:X509 |TRUSTED )?CERTIFICATE\b")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The certificates of a bundle."""

    certificates: tuple[bytes, ...]
    """In DER, in their order."""
    pem: str
    """The same in PEM, and nothing else."""
    left_out: str = ""
    """What was left out, as part of a sentence; empty if nothing was."""

    @property
    def identity(self) -> tuple[bytes, ...]:
        """Equal where the same authorities are trusted, whatever stands around them."""
        return tuple(sorted(set(self.certificates)))


class Bundles:
    """Bundles that were parsed before, so that a thousand sessions with the same one cost one."""

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, Bundle] = OrderedDict()

    def read(self, content: bytes) -> Bundle:
        """Return what is in a bundle; it may be nothing."""
        # Not by the content: nobody knows what else is in there.
        key = hashlib.blake2b(content).digest()
        bundle = self._known.pop(key, None) or parsed(content)
        self._known[key] = bundle
        if len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return bundle


def parsed(content: bytes) -> Bundle:
    """Return what is in a bundle; it may be nothing."""
    certificates: list[bytes] = []
    blocks: list[str] = []
    broken: list[int] = []
    judge = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Bundles have comments with names in any language; PEM itself is ASCII.
    for line, block in _blocks(content.decode("ascii", "ignore")):
        try:
            judge.load_verify_locations(cadata=block)
            certificates.append(_der(block))
        except (ssl.SSLError, ValueError):
            broken.append(line)
        else:
            blocks.append(block)
    return Bundle(certificates=tuple(certificates), pem="".join(blocks), left_out=_left_out(broken))


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield what begins like a certificate, whole or not, with the number of its first line."""
    begun: int | None = None
    block: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if _BEGIN.search(line):
            if begun is not None:
                yield begun, "\n".join(block)
            begun, block = number, []
        if begun is None:
            continue
        block.append(line)
        if _END.search(line):
            yield begun, "\n".join([*block, ""])
            begun = None
    if begun is not None:
        yield begun, "\n".join(block)


def _der(block: str) -> bytes:
    """Return what is between the first line and the last. Raises `ValueError`."""
    inside = "".join(block.split("\n")[1:-2])
    try:
        return base64.b64decode(inside, validate=False)
    except binascii.Error as error:
        raise ValueError("no base64") from error


def _left_out(lines: list[int]) -> str:
    if not lines:
        return ""
    named = ", ".join(str(line) for line in lines[:_MOST_NAMED])
    more = len(lines) - _MOST_NAMED
    where = f"line {named}" if len(lines) == 1 else f"lines {named}"
    return (
        f"what begins at {where}{f' and {more} more' if more > 0 else ''} is no certificate in PEM"
        " and was left out"
    )
