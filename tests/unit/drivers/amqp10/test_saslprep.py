"""SASLprep: texts that mean the same become equal; what has no place in a password is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.drivers.amqp10.saslprep import SaslprepError, prepared


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param("I\u00adX", "IX", id="a soft hyphen is nothing"),
        pytest.param("user", "user", id="plain text stays"),
        pytest.param("USER", "USER", id="large letters stay large"),
        pytest.param("\u00aa", "a", id="NFKC takes an ordinal for its letter"),
        pytest.param("\u2168", "IX", id="NFKC takes a numeral apart"),
    ],
)
def test_examples_of_rfc_4013(text: str, expected: str) -> None:
    """RFC 4013 §3."""
    assert prepared(text, allow_unassigned=False) == expected


@pytest.mark.parametrize(
    ("text", "what"),
    [
        pytest.param("\u0007", "a control character", id="RFC 4013 §3, prohibited"),
        pytest.param("\u0627\u0031", "written from the right", id="RFC 4013 §3, directions"),
        pytest.param("\u0627a\u0627", "from the left", id="both directions"),
        pytest.param("a\0b", "a control character", id="NUL"),
        pytest.param("a\u0080b", "a control character", id="a control character beyond ASCII"),
        pytest.param("\ue000", "for private use", id="private use"),
        pytest.param("\ufffe", "no character", id="no character"),
        pytest.param("\ud800", "a surrogate", id="half a pair"),
        pytest.param("\ufffd", "not for plain text", id="a replaced character"),
        pytest.param("\u2ff0", "describes others", id="a description"),
        pytest.param("\u200e", "how text is displayed", id="a mark of direction"),
        pytest.param("\U000e0041", "a tagging character", id="a tag"),
    ],
)
def test_what_is_prohibited_is_told_without_showing_it(text: str, what: str) -> None:
    with pytest.raises(SaslprepError, match=what) as caught:
        prepared(f"planted{text}planted" if len(text) == 1 else text, allow_unassigned=True)
    assert "planted" not in str(caught.value)


def test_a_space_of_another_script_is_a_space() -> None:
    """RFC 4013 §2.1."""
    assert prepared("a\u3000b\u00a0c", allow_unassigned=False) == "a b c"


def test_what_unicode_3_2_does_not_know_is_for_queries_alone() -> None:
    """RFC 3454 §7: another version may treat it differently, so that it must not be stored."""
    assert prepared("\U0001f600", allow_unassigned=True) == "\U0001f600"
    with pytest.raises(SaslprepError, match="younger than Unicode"):
        prepared("\U0001f600", allow_unassigned=False)


def test_text_that_is_written_from_the_right_is_kept() -> None:
    assert prepared("\u0627\u0628 1\u0627", allow_unassigned=False) == "\u0627\u0628 1\u0627"


@given(st.text(alphabet=st.characters(min_codepoint=32, max_codepoint=126)))
def test_printable_ascii_stays_as_it_is(text: str) -> None:
    assert prepared(text, allow_unassigned=False) == text


@given(st.text())
def test_what_is_prepared_stays_as_it_is(text: str) -> None:
    try:
        once = prepared(text, allow_unassigned=False)
    except SaslprepError:
        return
    assert prepared(once, allow_unassigned=False) == once
