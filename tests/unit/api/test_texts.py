"""Texts with a limit in bytes."""

import pytest

from springline.api import texts


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("orders", "orders"),
        ("a" * 255, "a" * 255),
        ("a" * 256, "a" * 252 + "…"),
        ("é" * 127, "é" * 127),
        ("é" * 128, "é" * 126 + "…"),
        ("a\n\x1b[31mb", r"a\n\x1b[31mb"),
        ("\ud800", r"\ud800"),
        ("\0" * 1_000_000, "\\x00" * 63 + "…"),
        ("", ""),
    ],
    ids=["short", "longest", "longer", "in bytes", "no half", "escapes", "no text", "huge", "none"],
)
def test_what_is_shown_is_printable_and_bounded(text: str, shown: str) -> None:
    assert texts.shown(text) == shown
    assert texts.shown(text).isprintable()
    assert len(texts.shown(text).encode()) <= 255


def test_length_is_counted_in_bytes() -> None:
    assert not texts.is_too_long("é" * 127)
    assert texts.is_too_long("é" * 128)
    assert not texts.is_too_long("ab", limit=2)
    assert texts.is_too_long("abc", limit=2)
