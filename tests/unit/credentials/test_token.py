"""`tokenRef`: what is read from a token, unverified, and what is not believed."""

import base64
import json
import traceback
from datetime import UTC, datetime
from typing import Any

import jwt
import pytest

from springline.api.v1alpha1 import TokenReference
from springline.core.values import Credential, CredentialKind
from springline.credentials.token import TokenSource
from springline.errors import CredentialError
from springline.reasons import Reason
from support.objects import FakeReader

KEY = "only-for-tests-0123456789abcdef0123456789abcdef"


def a_jwt(**claims: Any) -> str:
    return jwt.encode(claims, KEY, algorithm="HS256")


def with_payload(payload: bytes) -> str:
    """Return what looks like a JWT, with this payload."""
    return f"e30.{base64.urlsafe_b64encode(payload).decode().rstrip('=')}.sig"


async def fetched(reader: FakeReader, token: str | bytes) -> Credential:
    reader.put("token", {"token": token.encode() if isinstance(token, str) else token})
    return await TokenSource(reader, "apps", TokenReference(name="token")).fetch()


async def test_token_tells_whose_it_is_and_when_it_ends(reader: FakeReader) -> None:
    token = a_jwt(sub="ann", iat=1_795_248_000, exp=1_795_251_600)
    credential = await fetched(reader, token)
    assert credential.kind is CredentialKind.TOKEN
    assert credential.source == "tokenRef"
    assert credential.username == "ann"
    assert credential.secret.reveal() == token
    assert credential.issued_at == datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    assert credential.expires_at == datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    assert credential.version == "1"
    assert token not in repr(credential)


async def test_key_may_have_another_name(reader: FakeReader) -> None:
    reader.put("token", {"access": b"opaque"})
    source = TokenSource(reader, "apps", TokenReference(name="token", key="access"))
    assert (await source.fetch()).secret.reveal() == "opaque"


async def test_client_id_is_the_user_where_there_is_no_subject(reader: FakeReader) -> None:
    """As RabbitMQ takes it by default."""
    assert (await fetched(reader, a_jwt(client_id="orders"))).username == "orders"
    assert (await fetched(reader, a_jwt(sub="", client_id="orders"))).username == "orders"
    assert (await fetched(reader, a_jwt(sub="ann", client_id="orders"))).username == "ann"


@pytest.mark.parametrize("around", ["{}\n", "{}\r\n", "\n  {}\t\n"])
async def test_white_space_around_the_token_is_no_part_of_it(
    reader: FakeReader, around: str
) -> None:
    token = a_jwt(sub="ann")
    credential = await fetched(reader, around.format(token))
    assert (credential.secret.reveal(), credential.username) == (token, "ann")


OPAQUE = {
    "no dots": "opaque",
    "two parts": "a.b",
    "four parts": "a.b.c.d",
    "a payload that is not base64": "a.!!!.c",
    "a payload that is not ASCII": "a.é.c",
    "a payload that is not UTF-8": with_payload(b'{"sub": "\xff"}'),
    "a payload that is not JSON": with_payload(b"{sub: ann}"),
    "a payload that is a list": with_payload(b'["ann"]'),
    "a payload that is nested too deeply": with_payload(b"[" * 100_000),
    "a payload that is empty": "a..c",
    "a number that is too long": with_payload(b'{"exp": ' + b"9" * 5000 + b"}"),
}


@pytest.mark.parametrize("token", OPAQUE.values(), ids=OPAQUE.keys())
async def test_token_of_another_kind_is_sent_and_says_nothing(
    reader: FakeReader, token: str
) -> None:
    """Whether it is any good is the broker's to judge."""
    credential = await fetched(reader, token)
    assert credential.secret.reveal() == token
    assert (credential.username, credential.expires_at) == ("", None)


@pytest.mark.parametrize(
    "subject",
    [5, None, True, ["ann"], {"a": 1}, "", "a\0b", "a\nb", "\x1b[31m", "\ud800", "\u202e"],
    ids=ascii,
)
async def test_subject_that_cannot_be_shown_is_left_out(
    reader: FakeReader, subject: object
) -> None:
    payload = json.dumps({"sub": subject}).encode()
    assert (await fetched(reader, with_payload(payload))).username == ""


@pytest.mark.parametrize(
    "expiry",
    ["1795251600", "null", "true", "[1]", "NaN", "Infinity", "-Infinity", "1e400", "1e18", "-1e18"],
)
async def test_expiry_that_is_no_time_is_none(reader: FakeReader, expiry: str) -> None:
    quoted = f'"{expiry}"' if expiry.isdigit() else expiry
    credential = await fetched(reader, with_payload(f'{{"exp": {quoted}}}'.encode()))
    assert credential.expires_at is None


async def test_expiry_may_have_a_fraction(reader: FakeReader) -> None:
    credential = await fetched(reader, with_payload(b'{"exp": 1795251600.5}'))
    assert credential.expires_at == datetime(2026, 11, 21, 9, 0, 0, 500_000, tzinfo=UTC)


async def test_expired_token_is_fetched_all_the_same(reader: FakeReader) -> None:
    """The broker's clock counts, not ours."""
    credential = await fetched(reader, a_jwt(sub="ann", exp=1))
    assert credential.expires_at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


FINDINGS = {
    "nothing": (None, Reason.SECRET_KEY_MISSING, 'Secret "token" has no key "token"; add it'),
    "an empty value": (b"", Reason.SECRET_MALFORMED, "is empty"),
    "white space": (b" \n", Reason.SECRET_MALFORMED, "holds only white space"),
    "a NUL byte": (b"pl4nted\0", Reason.SECRET_MALFORMED, "holds a NUL byte"),
    "no text": (b"pl4nted\xff", Reason.SECRET_MALFORMED, "is not UTF-8 text"),
}


@pytest.mark.parametrize(("value", "reason", "finding"), FINDINGS.values(), ids=FINDINGS.keys())
async def test_value_that_is_no_token_is_refused(
    reader: FakeReader, value: bytes | None, reason: Reason, finding: str
) -> None:
    reader.put("token", {} if value is None else {"token": value})
    with pytest.raises(CredentialError) as caught:
        await TokenSource(reader, "apps", TokenReference(name="token")).fetch()
    assert caught.value.reason is reason
    assert finding in caught.value.message
    assert "pl4nted" not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_missing_secret_is_refused(reader: FakeReader) -> None:
    with pytest.raises(CredentialError) as caught:
        await TokenSource(reader, "apps", TokenReference(name="token")).fetch()
    assert caught.value.reason is Reason.SECRET_NOT_FOUND
