"""What a JWT says of itself; more in test_token.py, by way of a source that reads it."""

from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from springline.credentials import claims
from springline.redaction import Secret

KEY = "only-for-tests-0123456789abcdef0123456789abcdef"
EIGHT = datetime(2026, 11, 21, 8, 0, tzinfo=UTC)


def claimed(**values: Any) -> Any:
    return claims.read(Secret(jwt.encode(values, KEY, algorithm="HS256")))


def test_claims_are_those_of_the_payload() -> None:
    read = claimed(sub="ann", iat=EIGHT, exp=EIGHT.timestamp() + 3600)
    assert claims.subject(read) == "ann"
    assert claims.issued_at(read) == EIGHT
    assert claims.expires_at(read) == EIGHT.replace(hour=9)


def test_opaque_token_claims_nothing() -> None:
    read = claims.read(Secret("opaque"))
    assert (claims.subject(read), claims.issued_at(read), claims.expires_at(read)) == (
        "",
        None,
        None,
    )


def test_time_of_issue_needs_no_expiry() -> None:
    assert claims.issued_at(claimed(iat=EIGHT)) == EIGHT


@pytest.mark.parametrize("later", [0, 1, 86400])
def test_token_issued_after_its_expiry_does_not_say_when(later: int) -> None:
    """A lifetime that is over before it begins has no share by which to renew."""
    assert claims.issued_at({"exp": 1000, "iat": 1000 + later}) is None


@pytest.mark.parametrize("value", ["1795251600", True, None, [], 1e400, -1e18], ids=repr)
def test_time_of_issue_that_is_no_time_is_none(value: object) -> None:
    assert claims.issued_at({"iat": value}) is None


def test_a_subject_that_is_no_name_is_none() -> None:
    """Nobody has verified it, and it is shown."""
    assert claims.subject({"sub": "x" * 255}) == "x" * 255
    assert claims.subject({"sub": "x" * 256, "client_id": "ann"}) == "ann"
    assert claims.subject({"sub": "x" * 700_000}) == ""
