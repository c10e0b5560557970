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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

__all__ = ["Bundle", "Bundles", "parsed"]

_MOST_KNOWN: Final = 64
_MOST_NAMED: Final = 5

# As OpenSSL has them, and so loose that a damaged line is still seen to begin something.
_BEGIN: Final = re.compile(r"-{2,}\s*BEGIN (?:X509 |TRUSTED )?CERTIFICATE\b(?! REQUEST)")
_END: Final = re.compile(r"-{2,}\s*END (?:X509 |TRUSTED )?CERTIFICATE\b")
# Where a file without a line break at its end was put in front of another one.
_STUCK: Final = re.compile(r"(?<=.)(?=-----BEGIN )")

_OTHER_FORMS: Final[Mapping[bytes, str]] = {
    b"\x30": "it seems to be DER, which `openssl x509 -inform der` makes PEM of",
    b"\xff\xfe": "it is text in UTF-16",
    b"\xfe\xff": "it is text in UTF-16",
}
"""What begins so, and has no certificate in PEM in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """The certificates of a bundle."""

    certificates: tuple[bytes, ...]
    """In DER, in their order."""
    pem: str
    """The same in PEM, and nothing else."""
    left_out: str = ""
    """What was left out, as part of a sentence; empty if nothing was."""
    lines: Mapping[bytes, int] = field(default_factory=dict)
    """Where each certificate begins."""
    ends: Mapping[bytes, float] = field(default_factory=dict)
    """When each expires, in seconds since the epoch, as far as that is known."""

    @property
    def identity(self) -> tuple[bytes, ...]:
        """Equal where the same authorities are trusted, whatever stands around them."""
        return tuple(sorted(set(self.certificates)))

    def at(self, now: float) -> "Bundle":
        """Return the bundle without what has expired at a time, in seconds since the epoch.

        OpenSSL takes an expired authority of the bundle before a valid one of the same name that
        the peer sends. A bundle in which all have expired stays as it is, and says so when used.
        """
        expired = [each for each in self.certificates if self.ends.get(each, now) < now]
        valid = tuple(each for each in self.certificates if each not in expired)
        if not expired or not valid:
            return self
        where = _begins_at(self.lines[each] for each in expired)
        told = f"{where} has expired and was left out"
        return Bundle(
            certificates=valid,
            pem="".join(map(ssl.DER_cert_to_PEM_cert, valid)),
            left_out=", and ".join(filter(None, (self.left_out, told))),
            lines=self.lines,
            ends=self.ends,
        )


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
    lines: dict[bytes, int] = {}
    judge = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Bundles have comments with names in any language; PEM itself is ASCII.
    for line, block in _blocks(content.decode("ascii", "ignore")):
        try:
            judge.load_verify_locations(cadata=block)
            certificate = _der(block)
        except (ssl.SSLError, ValueError):
            broken.append(line)
        else:
            certificates.append(certificate)
            lines.setdefault(certificate, line)
            blocks.append(block)
    return Bundle(
        certificates=tuple(certificates),
        pem="".join(blocks),
        left_out=_left_out(broken) or ("" if certificates else _other_form(content)),
        lines=lines,
        ends=_ends(judge),
    )


def _blocks(text: str) -> Iterator[tuple[int, str]]:
    """Yield what begins like a certificate, whole or not, with the number of its first line."""
    begun: int | None = None
    block: list[str] = []
    numbered = (
        (number, piece.strip())
        for number, whole in enumerate(text.splitlines(), start=1)
        for piece in _STUCK.split(whole)
    )
    for number, line in numbered:
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


def _ends(judge: ssl.SSLContext) -> Mapping[bytes, float]:
    """Return when the authorities expire that a context has."""
    try:
        return {
            certificate: ssl.cert_time_to_seconds(str(told["notAfter"]))
            for certificate, told in zip(
                judge.get_ca_certs(binary_form=True), judge.get_ca_certs(), strict=True
            )
        }
    except (ssl.SSLError, ValueError):  # one has something in it that Python does not read
        return {}


def _other_form(content: bytes) -> str:
    found = (says for start, says in _OTHER_FORMS.items() if content.startswith(start))
    return next(found, "")


def _left_out(lines: list[int]) -> str:
    return f"{_begins_at(lines)} is no certificate in PEM and was left out" if lines else ""


def _begins_at(numbers: Iterable[int]) -> str:
    lines = list(numbers)
    named = ", ".join(str(line) for line in lines[:_MOST_NAMED])
    more = len(lines) - _MOST_NAMED
    where = f"line {named}" if len(lines) == 1 else f"lines {named}"
    return f"what begins at {where}{f' and {more} more' if more > 0 else ''}"
