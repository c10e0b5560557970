"""What an answer says of a session."""

from datetime import UTC, datetime

import pytest

from springline.drivers.http.messages import Headers, Response
from springline.drivers.http.verdicts import Expectation, Judgement, Verdict, judge
from springline.redaction import Secret
from springline.veil import Veil

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RABBITMQ: Headers = ((b"server", b"Cowboy"), (b"content-type", b"application/json"))


def judged(
    status: int,
    *headers: tuple[bytes, bytes],
    body: bytes = b"",
    expected: Expectation | None = None,
    veil: Veil | None = None,
) -> Verdict:
    response = Response(status=status, headers=headers, body=body)
    return judge(response, expected or Expectation(), veil=veil or Veil(), now=NOW)


@pytest.mark.parametrize(
    ("status", "judgement"),
    [
        (200, Judgement.UP),
        (204, Judgement.UNEXPECTED),
        (302, Judgement.UNEXPECTED),
        (401, Judgement.REFUSED),
        (403, Judgement.UNEXPECTED),
        (404, Judgement.UNEXPECTED),
        (429, Judgement.THROTTLED),
        (500, Judgement.UNEXPECTED),
        (503, Judgement.THROTTLED),
    ],
)
def test_the_status_decides(status: int, judgement: Judgement) -> None:
    assert judged(status).judgement is judgement


@pytest.mark.parametrize(
    ("expected", "status", "judgement"),
    [
        (Expectation(refused=frozenset({401, 403})), 403, Judgement.REFUSED),
        (Expectation(up=frozenset({204, 401})), 401, Judgement.UP),
        (Expectation(up=frozenset({503})), 503, Judgement.UP),
        (Expectation(up=frozenset({204})), 200, Judgement.UNEXPECTED),
    ],
)
def test_what_is_declared_comes_first(
    expected: Expectation, status: int, judgement: Judgement
) -> None:
    assert judged(status, expected=expected).judgement is judgement


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (((b"retry-after", b"7"),), 7.0),
        (((b"retry-after", b"Fri, 02 Jan 2026 03:04:15 GMT"),), 10.0),
        (
            (
                (b"retry-after", b"Fri, 02 Jan 2026 05:00:30 GMT"),
                (b"date", b"Fri, 02 Jan 2026 05:00:00 GMT"),
            ),
            30.0,
        ),
        (((b"retry-after", b"soon\xff"),), None),
        ((), None),
    ],
    ids=["seconds", "a time", "a time by the server's clock", "no time", "nothing"],
)
def test_a_throttling_server_says_for_how_long(headers: Headers, seconds: float | None) -> None:
    assert judged(429, *headers).retry_after == seconds


@pytest.mark.parametrize("status", [401, 500, 503])
def test_a_body_is_never_shown(status: int) -> None:
    for headers in ((), ((b"content-type", b"application/json"),)):
        assert "inside" not in judged(status, *headers, body=b'{"reason": "inside"}').text


def test_rabbitmqs_reason_for_a_refusal_is_shown() -> None:
    body = b'{"error": "not_authorised", "reason": "Not administrator user"}'
    verdict = judged(401, *RABBITMQ, body=body)
    assert verdict.text == "401 Unauthorized: Not administrator user"


def test_an_echoed_secret_is_not() -> None:
    veil = Veil()
    veil.note(Secret("planted-secret-of-a-session"))
    body = b'{"reason": "no user planted-secret-of-a-session"}'
    verdict = judged(401, *RABBITMQ, body=body, veil=veil)
    assert "planted" not in verdict.text
    assert verdict.text.startswith("401 Unauthorized: no user")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"reason": 5}',
        b"\xff\xfe",
        b"[" * 4000,
        b'{"reason": "' + b"x" * 5000 + b'"}',
        b'{"reason": "\\ud800"}',
    ],
)
def test_a_reason_that_is_none_is_left_out(body: bytes) -> None:
    assert judged(401, *RABBITMQ, body=body).text.startswith("401 Unauthorized")
    assert len(judged(401, *RABBITMQ, body=body).text) < 300


def test_an_unknown_status_is_shown_as_a_number() -> None:
    assert judged(799).text == "799"
