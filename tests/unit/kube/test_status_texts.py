"""Statuses as texts: which ones are the same, and when an answer shows what was sent."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springline.kube.status_texts import Digest, StatusText

STATUS: dict[str, Any] = {"state": "Connected", "attempts": 2, "conditions": [{"type": "Ready"}]}

TEXTS = st.text(st.characters(codec="utf-8"))
STATUSES = st.dictionaries(
    st.sampled_from(["attempts", "state", "server", "holder"]),
    st.one_of(st.integers(0, 9), TEXTS, st.dictionaries(TEXTS, TEXTS, max_size=2)),
)


def answer(status: Any, **spec: Any) -> bytes:
    """Return an object as the API server writes it."""
    document = {"kind": "BrokerConnection", "metadata": {}, "spec": spec, "status": status}
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return f"{text}\n".encode()


def test_a_status_of_any_text_has_a_digest() -> None:
    """JSON has texts that UTF-8 has not, and others may write them."""
    one, other = Digest.of({"attempts": "\ud800"}), Digest.of({"attempts": "\ud801"})
    assert one.whole != other.whole
    assert one.without_count == other.without_count


@given(STATUSES)
def test_a_text_says_what_the_status_is_and_has_its_digest(status: dict[str, Any]) -> None:
    text = StatusText.of(status)
    assert text.value == status
    assert json.loads(text.text) == status
    assert text.digest == Digest.of(dict(reversed(status.items())))


@given(STATUSES, STATUSES)
def test_an_answer_shows_what_was_sent_only_where_it_has_it(
    sent: dict[str, Any], held: dict[str, Any]
) -> None:
    text = StatusText.of(sent)
    if text.is_status_of(answer(held)):
        assert held == sent


def test_an_answer_with_the_same_status_is_seen_to_have_it() -> None:
    assert StatusText.of(STATUS).is_status_of(answer(STATUS))
    assert StatusText.of(STATUS).is_status_of(answer(STATUS).strip())
    assert StatusText.of({}).is_status_of(answer({}))


@pytest.mark.parametrize(
    "held",
    [
        {**STATUS, "attempts": 3},
        {**STATUS, "theirs": "1"},
        {**STATUS, "state": "Waiting"},
        {"state": "Connected"},
        {},
    ],
    ids=["another count", "more", "another value", "less", "nothing"],
)
def test_an_answer_with_another_status_is_not_taken_for_it(held: dict[str, Any]) -> None:
    assert not StatusText.of(STATUS).is_status_of(answer(held))


def test_a_status_that_a_declaration_quotes_is_not_the_objects_own() -> None:
    """Whoever declares the object can write any text into it, also at the end of it."""
    quoted = '"status":' + StatusText.of(STATUS).text.decode()
    document = {"kind": "BrokerConnection", "spec": {"z": quoted}}
    text = json.dumps(document, separators=(",", ":")).encode()
    assert not StatusText.of(STATUS).is_status_of(text)
    nested = json.dumps({"spec": {"status": STATUS}}, sort_keys=True, separators=(",", ":"))
    assert not StatusText.of(STATUS).is_status_of(nested.encode())


@pytest.mark.parametrize("message", ["größer", "a < b & c"])
def test_what_the_api_server_writes_differently_is_not_seen(message: str) -> None:
    """Then the answer is parsed, which is no mistake."""
    sent = StatusText.of({"message": message})
    held = answer({"message": message}).replace(b"<", b"\\u003c").replace(b"&", b"\\u0026")
    assert json.loads(held)["status"] == sent.value
    assert not sent.is_status_of(held)
