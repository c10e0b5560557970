"""A session's secrets are not shown, in whatever form a peer says them."""

import base64
import html
import json
from collections.abc import Callable
from unittest import mock
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline import veil as veil_module
from springline.redaction import Secret
from springline.veil import WITHHELD, Veil

LONG = "Pl4nted/s3cret+of 24<chrs"
TOKEN = base64.urlsafe_b64encode(bytes(range(256)) * 4).decode() + ".and.more"


def veil(*secrets: str, names: tuple[str, ...] = ()) -> Veil:
    """A veil that has noted these secrets, the current one last."""
    made = Veil()
    for each in secrets:
        made.note(Secret(each))
    made.know(*names)
    return made


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


FORMS = {
    "as it is": LONG,
    "in other letters": LONG.swapcase(),
    "with a line break for a space": LONG.replace(" ", "\n"),
    "in Base64": encoded(LONG),
    "in Base64 for URLs": base64.urlsafe_b64encode(LONG.encode()).decode().rstrip("="),
    "as PLAIN says it, in Base64": encoded(f"\0ann\0{LONG}"),
    "as a header says it": encoded(f"ann:{LONG}"),
    "behind one letter, in Base64": encoded(f"x{LONG}"),
    "escaped for a URL": quote(LONG, safe=""),
    "escaped in small letters": quote(LONG, safe="").lower(),
    "escaped for a form": quote_plus(LONG),
    "escaped for HTML": html.escape(LONG),
    "escaped for JSON": json.dumps(LONG)[1:-1],
    "in hex": LONG.encode().hex(),
    "in large hex": LONG.encode().hex().upper(),
    "in hex with something between": LONG.encode().hex(":"),
    "every character escaped for a URL": "".join(f"%{each:02X}" for each in LONG.encode()),
    "escaped for a URL twice": quote(quote(LONG, safe=""), safe=""),
    "every character escaped for HTML": "".join(f"&#{ord(each)};" for each in LONG),
    "every character as C has it": "".join(f"\\x{each:02x}" for each in LONG.encode()),
    "every character as JSON may have it": "".join(f"\\u{ord(each):04x}" for each in LONG),
    "a list of octets": ",".join(map(str, LONG.encode())),
}


@pytest.mark.parametrize("said", FORMS.values(), ids=FORMS.keys())
def test_secret_is_masked_in_every_form(said: str) -> None:
    shown = veil(LONG).over(f"login with {said} refused")
    assert shown.startswith("login with ")
    assert shown.endswith(" refused")
    assert "***" in shown
    assert not any(said[start : start + 12] in shown for start in range(len(said) - 11))


ESCAPED = {
    "a password of signs, as Go writes JSON": (
        "a<b>c&d<e>f&g<h>i&",
        r"a\u003cb\u003ec\u0026d\u003ce\u003ef\u0026g\u003ch\u003ei\u0026",
    ),
    "a password of slashes, as PHP writes JSON": ("x/y/z/a/b/c/d/e/", r"x\/y\/z\/a\/b\/c\/d\/e\/"),
    "other letters, as Erlang writes octets": (
        "pässwörter",
        "<<112,195,164,115,115,119,195,182,114,116,101,114>>",
    ),
    "other letters, read as Latin-1": ("pässwörter", "pässwörter".encode().decode("latin-1")),
    "other letters, escaped for a URL": ("pässwörter", quote("pässwörter")),
    "Base64, escaped for a URL": ("?>?>?>?>?>?>?>?>", quote(encoded("?>?>?>?>?>?>?>?>"), safe="")),
}


@pytest.mark.parametrize(("secret", "said"), ESCAPED.values(), ids=ESCAPED.keys())
def test_secret_is_masked_however_it_is_escaped(secret: str, said: str) -> None:
    shown = veil(secret).over(f"no: {said} is wrong")
    assert "***" in shown
    assert shown.startswith("no: ")
    assert shown.endswith(" is wrong")
    assert len(shown) < len("no: *** is wrong") + 7


def test_what_is_escaped_and_no_secret_is_shown_as_it_was_said() -> None:
    said = r"100%25 of [1,2,3,4,5,6,7,8,9,10] in C:\\temp &amp; /%2F at 01:02:03:04:05:06:07:08:09"
    assert veil(LONG).over(said) == said


@pytest.mark.parametrize("start", [0, 7, len(TOKEN) - 12])
def test_twelve_characters_in_a_row_are_enough(start: int) -> None:
    piece = TOKEN[start : start + 12]
    assert veil(TOKEN).over(f"token {piece!r} expired") == "token '***' expired"
    assert veil(TOKEN).over(f"token {piece[:-1]!r} expired") == f"token {piece[:-1]!r} expired"


def test_secret_before_is_masked_too_and_so_is_one_that_was_tried() -> None:
    current, tried, before, old = (f"{name}-s3cret-of-a-time" for name in "dcba")
    shown = veil(old, before, tried, current).over(f"{current} {tried} {before}")
    assert shown == "*** *** ***"
    again = veil(before, tried)
    again.note(Secret(before))
    assert again.over(f"{before} {tried}") == "*** ***"


def test_whole_of_a_shorter_secret_is_masked() -> None:
    assert veil("eight-8!").over("user ann, password eight-8!") == "user ann, password ***"
    assert veil("eight-8!").over("user ann, password eight-8") == "user ann, password eight-8"


@pytest.mark.parametrize("secret", ["guest", "/", "1234567"])
def test_text_with_a_short_secret_is_withheld_as_a_whole(secret: str) -> None:
    """To mask it would confirm it."""
    shown = veil(secret).over(f"no: {secret}")
    assert shown == WITHHELD
    assert veil(secret).over(f"no: {encoded(secret)}") in (WITHHELD, f"no: {encoded(secret)}")
    assert veil(secret).over("no") == "no"


@pytest.mark.parametrize("name", ["orders-production", "rabbit-0.example"])
def test_text_with_a_secret_that_is_a_name_is_withheld(name: str) -> None:
    assert veil(name, names=("ann", name)).over(f"vhost '{name}' is gone") == WITHHELD
    assert veil(name, names=("ann",)).over(f"vhost '{name}' is gone") == "vhost '***' is gone"


def test_what_is_known_is_never_withheld() -> None:
    assert veil("memory").over("low on memory", is_known="low on memory".__eq__) == "low on memory"


def test_without_secrets_nothing_changes() -> None:
    assert veil().over("no\n") == "no\n"
    assert veil("").over("no") == "no"


def test_veil_shows_nothing_of_itself() -> None:
    assert LONG not in repr(veil(LONG))


@given(st.text(min_size=12, max_size=60), st.text(max_size=60), st.text(max_size=60), st.booleans())
def test_nothing_of_twelve_characters_gets_through(
    secret: str, before: str, after: str, is_encoded: bool
) -> None:
    try:
        said = encoded(secret) if is_encoded else secret
    except UnicodeEncodeError:
        said = secret
    shown = veil(secret).over(f"{before}{said}{after}")
    assert not any(
        said[start : start + 12] in shown and said[start : start + 12] not in before + "***" + after
        for start in range(len(said) - 11)
    )


# --- at a glance

PLAIN = st.text("abcXYZ019_.~-", min_size=6, max_size=40)


WRITTEN: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "in capitals": str.upper,
    "as Python writes it": repr,
    "for a URL": quote,
    "as numbers": lambda text: ", ".join(map(str, text.encode())),
}


@st.composite
def texts_with_a_part_of(draw: st.DrawFn, secret: str) -> str:
    """A text with a part of a form of the secret in it, or without one."""
    form = draw(st.sampled_from(sorted(set(veil_module._forms(secret)))))
    start = draw(st.integers(0, len(form)))
    part = form[start : draw(st.integers(start, len(form)))]
    around = st.text("ab \n@/%&\\,019é\0", max_size=12)
    written = draw(st.sampled_from(list(WRITTEN)))
    return draw(around) + WRITTEN[written](part) + draw(around)


@given(st.data())
def test_what_is_told_at_a_glance_is_what_a_search_finds(data: st.DataObject) -> None:
    secret = data.draw(PLAIN)
    text = data.draw(texts_with_a_part_of(secret))
    noted = veil(secret)
    shown = noted.over(text)
    with mock.patch.object(Veil, "_can_have_none", return_value=False):
        assert noted.over(text) == shown


def test_what_a_broker_says_of_itself_needs_no_search() -> None:
    said = "RabbitMQ 3.10.8 Erlang/OTP 25.2.3 rabbit@localhost PLAIN AMQPLAIN en_US"
    token = TOKEN.replace("=", "")
    assert veil(token)._can_have_none(said)
    assert veil("first-password", token)._can_have_none(said)
    assert not veil("first-password", LONG)._can_have_none(said)


def test_what_was_searched_once_is_searched_again_for_another_secret() -> None:
    """A text that is clear of one secret may have another one in it."""
    said = f"rabbit@{'x' * 40} {encoded(LONG)}"
    assert veil(TOKEN).over(said) == said
    assert veil(TOKEN).over(said) == said
    assert LONG[:12] not in veil(LONG).over(said)
    assert encoded(LONG)[4:-4] not in veil(TOKEN, LONG).over(said)


def test_what_is_known_in_one_place_is_withheld_in_another() -> None:
    said = "RabbitMQ of the shop " * 2
    short = veil("shop")
    assert short.over(said, is_known=lambda _: True) == said
    assert short.over(said) == WITHHELD
