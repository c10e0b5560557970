"""Requests as values: what can be sent, and what of it is shown."""

from typing import Any

import pytest

from springline.drivers.http import bounds
from springline.drivers.http.messages import Request, Response


@pytest.mark.parametrize(
    "wrong",
    [
        {"method": "get"},
        {"method": "CONNECT"},
        {"method": "GET /\r\n"},
        {"method": ""},
        {"target": "no-slash"},
        {"target": "/a b"},
        {"target": "/a\r\nx: y"},
        {"target": "/ä"},
        {"target": "/a\n"},
        {"headers": ((b"x", b"a\r\nb: c"),)},
        {"headers": ((b"x", b"a\0b"),)},
        {"headers": ((b"x", b" a"),)},
        {"headers": ((b"x", b"a\n"),)},
        {"headers": ((b"x y", b"a"),)},
        {"headers": ((b"X", b"a"),)},
        {"headers": ((b":path", b"/"),)},
        {"headers": ((b"host", b"another"),)},
        {"headers": ((b"transfer-encoding", b"chunked"),)},
        {"headers": ((b"content-length", b"5"),)},
        {"headers": ((b"upgrade", b"h2c"),)},
        {"target": "/" + "x" * bounds.MAX_REQUEST_HEADER_OCTETS},
    ],
    ids=str,
)
def test_what_could_be_taken_for_something_else_is_no_request(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        Request(**wrong)


@pytest.mark.parametrize(
    ("method", "is_idempotent"),
    [
        *((each, True) for each in ("GET", "HEAD", "OPTIONS", "PUT", "DELETE", "TRACE")),
        *((each, False) for each in ("POST", "PATCH", "LOCK")),
    ],
)
def test_idempotent_methods_are_those_of_the_standard(method: str, is_idempotent: bool) -> None:
    assert Request(method=method).is_idempotent is is_idempotent


def test_no_secret_is_in_a_repr() -> None:
    secret = "planted-secret"
    request = Request(
        target=f"/x?token={secret}",
        headers=((b"authorization", b"Bearer " + secret.encode()),),
        body=secret.encode(),
    )
    response = Response(status=200, headers=((b"x", secret.encode()),), body=secret.encode())
    assert secret not in repr(request) + str(request) + repr(response) + str(response)


def test_a_header_of_an_answer_is_found_by_its_name() -> None:
    response = Response(status=200, headers=((b"a", b"1"), (b"b", b"2"), (b"b", b"3")))
    assert response.header(b"b") == b"2"
    assert response.header(b"c") is None
