"""What a peer says can be shown: bounded, and printable."""

from springline.drivers.shared import peer_text
from springline.redaction import Secret
from springline.veil import Veil


def test_a_peers_text_is_made_fit_to_be_shown() -> None:
    assert peer_text.cleaned("vhost\x1b[31m\x00gone\u2028\u202eback\r\n") == "vhost [31m gone  back"
    assert peer_text.cleaned(b"caf\xc3\xa9 \xff") == "café \ufffd"
    assert peer_text.cleaned("x" * 10_000) == "x" * 255
    assert peer_text.cleaned(None) == ""
    assert peer_text.cleaned({"not": "text"}) == ""


def test_bound_is_one_of_bytes() -> None:
    assert peer_text.cleaned("é" * 10_000) == "é" * 127
    assert peer_text.cleaned("é".encode() * 10_000) == "é" * 127
    assert len(peer_text.cleaned(b"\xff" * 10_000).encode()) <= 255


def test_words_are_few_and_short() -> None:
    assert peer_text.words("PLAIN  AMQPLAIN") == ("PLAIN", "AMQPLAIN")
    assert peer_text.words(b"PLAIN EXTERNAL") == ("PLAIN", "EXTERNAL")
    assert peer_text.words("x" * 1_000_000 + " PLAIN") == ("PLAIN",)
    assert peer_text.words("a " * 1_000) == ("a",) * 32
    assert peer_text.words(None) == ()


def test_a_secret_is_taken_out_before_anything_is_cut() -> None:
    veil = Veil()
    veil.note(Secret("pl4nted-s3cret-of-some-length"))
    text = "x" * 240 + "pl4nted-s3cret-of-some-length"
    assert peer_text.cleaned(text, veil=veil) == "x" * 240 + "***"
    assert peer_text.cleaned(text.encode(), limit=60, veil=veil) == "x" * 60
    words = f"PLAIN {'a ' * 30}pl4nted-s3cret-of-some-length"
    assert peer_text.words(words, veil=veil) == ("PLAIN", *["a"] * 30, "***")


def test_a_word_that_may_be_a_secret_is_left_out_unless_it_is_known() -> None:
    veil = Veil()
    veil.note(Secret("PLAIN"))
    assert peer_text.words("PLAIN EXTERNAL", veil=veil) == ("EXTERNAL",)
    known = peer_text.words("PLAIN EXTERNAL", veil=veil, is_known=lambda word: word == "PLAIN")
    assert known == ("PLAIN", "EXTERNAL")
