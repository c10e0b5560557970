"""What peers say: their texts, and their first octets. Claims of tokens, too."""

import base64

from fuzz import oracles
from fuzz.cases import Case
from fuzz.json_mutations import change_value
from fuzz.targets import Target
from springline.credentials import claims
from springline.drivers.amqp091 import greeting
from springline.drivers.shared import peer_text, peers
from springline.drivers.shared.peers import Expected
from springline.redaction import Secret
from springline.veil import Veil

__all__ = ["CLAIMS", "PEER_TEXTS"]

_MOST_WORDS = 32
_EXPECTED = Expected(protocol="AMQP 0-9-1", port="AMQP")
_LONGEST_NAME = 1024
_LONGEST_PART = 2048
"""Octets; to look through more of them takes long, and shows nothing else."""


def _peer_texts(case: Case) -> None:
    veil = Veil()
    veil.note(Secret(oracles.SECRET))
    veil.know("fuzz", "/", "broker.example.com")
    for whole in case:
        part = whole[:_LONGEST_PART]
        for text in (part, part.decode("utf-8", "replace"), part.decode("latin-1")):
            shown = [peer_text.cleaned(text, veil=veil)]
            # What a word was cut to is no part of a secret that was not hidden before.
            words = peer_text.words(text, veil=veil)
            assert len(words) <= _MOST_WORDS, f"{len(words)} words"
            shown += words
            info = greeting.server_info(
                {"product": text, "version": text, "capabilities": text},
                mechanisms=text,
                locales=text,
                veil=veil,
            )
            shown += [info.product, *info.mechanisms, *info.locales]
            assert all(each.isprintable() for each in shown), "what is shown is not printable"
            oracles.check_texts(shown, longest=_LONGEST_NAME, what="what is shown of a peer")
        sample = part[: peers.MAX_SAMPLE]
        oracles.check_texts([peers.describe(sample, _EXPECTED)], longest=_LONGEST_NAME)
        peers.usual_use(int.from_bytes(part[:2]))


def _claims(case: Case) -> None:
    for part in case:
        token = Secret(part.decode("utf-8", "surrogateescape"))
        found = claims.read(token)
        subject = claims.subject(found)
        assert subject.isprintable()
        assert len(subject) <= _LONGEST_NAME
        assert all(isinstance(each, str) for each in claims.audiences(found))
        issued, expiry = claims.issued_at(found), claims.expires_at(found)
        assert issued is None or expiry is None or issued < expiry


PEER_TEXTS = Target(name="peer_texts", run=_peer_texts, share=2)


def _token_parts(case: Case) -> None:
    """Look at claims as they are, and as a token has them."""
    _claims(case)
    _claims(
        tuple(b"e30." + base64.urlsafe_b64encode(each).rstrip(b"=") + b".c2ln" for each in case)
    )


CLAIMS = Target(name="claims", run=_token_parts, share=2, mutations=(change_value,))
