"""What a server says of itself, in fields of its answers. Pure."""

import re
from typing import Final

from springline.core.values import ServerInfo
from springline.drivers.http.messages import Response
from springline.drivers.shared import peer_text
from springline.veil import WITHHELD, Veil

__all__ = ["info", "says_expired"]

_SCHEME: Final = re.compile(r"(?:^|,)\s*([A-Za-z0-9!#$%&'*+.^_`|~-]+)(?=\s+[^\s=,]|\s*(?:,|$))")
"""The beginning of a challenge (RFC 9110 §11.6.1): a word that no equals sign follows."""
_INVALID_TOKEN: Final = re.compile(r'\berror\s*=\s*"?invalid_token"?', re.IGNORECASE)
_MOST_SCHEMES: Final = 8
_LONGEST_FIELD: Final = 1024
_CUT_SHORT: Final = 128
"""Characters at the end of a longer field: they may be the beginning of a secret, also escaped."""


def info(response: Response, challenge: Response | None, *, veil: Veil) -> ServerInfo:
    """Return what a server says of itself.

    `challenge` is how it answered somebody without a credential, if it was asked.
    """
    said = _veiled(response.header(b"server") or b"", veil)
    if said == WITHHELD:
        product, version = said, ""
    else:
        product, _, version = said.split(" ", 1)[0].partition("/")
    return ServerInfo(
        product=peer_text.cleaned(product, veil=veil),
        version=peer_text.cleaned(version, veil=veil),
        protocol_version=response.version,
        mechanisms=_schemes(challenge, veil) if challenge is not None else (),
        tells_blocks=True,  # one that is throttled or blocked answers
    )


def says_expired(response: Response) -> bool:
    """Whether a server refuses a token that is over: expired, revoked, or none (RFC 6750 §3.1).

    Of one that was accepted before it is one of the first two, and another one is due.
    """
    return response.status == 401 and bool(
        _INVALID_TOKEN.search(_text(response.header(b"www-authenticate") or b""))
    )


def _schemes(challenge: Response, veil: Veil) -> tuple[str, ...]:
    found = (
        peer_text.cleaned(match[1].upper(), veil=veil)
        for name, value in challenge.headers
        if name == b"www-authenticate"
        for match in _SCHEME.finditer(_veiled(value, veil, or_else=_text(value)))
        if "*" not in match[1]  # what is masked is no scheme
    )
    return tuple(dict.fromkeys(found))[:_MOST_SCHEMES]


def _veiled(value: bytes, veil: Veil, *, or_else: str = WITHHELD) -> str:
    """Mask what can be before a text is taken apart: the parts of a secret are not recognised.

    `or_else` is what is returned of one that would be withheld as a whole.
    """
    veiled = veil.over(_text(value))
    if veiled == WITHHELD:
        return or_else
    return veiled if len(value) <= _LONGEST_FIELD else veiled[:-_CUT_SHORT]


def _text(value: bytes) -> str:
    return value[:_LONGEST_FIELD].decode("latin-1")
