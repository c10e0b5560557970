"""`secretRef`: which values are taken as they are, and which cannot be a login."""

import traceback

import pytest

from springline import errors
from springline.api.meta import Identity
from springline.api.v1alpha1 import SecretReference
from springline.core.values import CredentialKind
from springline.credentials.secret import SecretSource
from springline.errors import CredentialError
from springline.reasons import Reason
from support.objects import FakeReader

PLANTED = b"pl4nted-s3cret"


def source(reader: FakeReader, **keys: str) -> SecretSource:
    return SecretSource(reader, "apps", SecretReference(name="login", **keys))


async def refused(reader: FakeReader, **keys: str) -> CredentialError:
    """Return why there is no credential; nothing about it may hold what was planted."""
    with pytest.raises(CredentialError) as caught:
        await source(reader, **keys).fetch()
    error: BaseException | None = caught.value
    shown = "".join(traceback.format_exception(caught.value))
    while error is not None:
        shown += f"{error!r} {error.args!r} {vars(error)!r}"
        error = error.__cause__ or error.__context__
    assert "pl4nted" not in shown
    assert "s3cret" not in shown
    return caught.value


async def test_user_and_password_come_from_the_secret_with_its_version(reader: FakeReader) -> None:
    reader.put("login", {"username": b"ann", "password": PLANTED})
    credential = await source(reader).fetch()
    assert credential.kind is CredentialKind.PASSWORD
    assert credential.source == "secretRef"
    assert credential.username == "ann"
    assert credential.secret.reveal() == PLANTED.decode()
    assert credential.version == "1"
    assert credential.expires_at is None
    assert PLANTED.decode() not in repr(credential) + str(credential)


async def test_keys_may_have_other_names(reader: FakeReader) -> None:
    reader.put("login", {"user": b"ann", "pass.word": b"x"})
    credential = await source(reader, username_key="user", password_key="pass.word").fetch()
    assert (credential.username, credential.secret.reveal()) == ("ann", "x")


async def test_secret_is_read_anew_every_time(reader: FakeReader) -> None:
    login = source(reader)
    reader.put("login", {"username": b"ann", "password": b"old"})
    before = await login.fetch()
    reader.put("login", {"username": b"ann", "password": b"new"})
    after = await login.fetch()
    assert (before.version, after.version) == ("1", "2")
    assert not before.same_value(after)


@pytest.mark.parametrize(
    "value",
    [
        "per%cent",
        "a%40b",
        "us@er",
        "sla/sh",
        "col:on",
        "pässwörd",
        "密码",
        "😀",
        " spaces around ",
        "line\nbreak",
        "trailing\n",
        '"quoted"',
        "x" * 10_000,
    ],
)
async def test_value_is_taken_as_it_is(reader: FakeReader, value: str) -> None:
    """Nothing is decoded, trimmed or escaped: what the broker gets is what the Secret holds."""
    reader.put("login", {"username": value[:255].encode(), "password": value.encode()})
    credential = await source(reader).fetch()
    assert credential.username == value[:255]
    assert credential.secret.reveal() == value


async def test_missing_secret_is_named_with_its_namespace(reader: FakeReader) -> None:
    reader.put("login", {"username": b"ann", "password": PLANTED}, namespace="other")
    error = await refused(reader)
    assert error.reason is Reason.SECRET_NOT_FOUND
    assert error.message == 'there is no Secret "login" in namespace "apps"; create it'


@pytest.mark.parametrize("missing", ["username", "password"])
async def test_missing_key_is_named(reader: FakeReader, missing: str) -> None:
    values = {"username": b"ann", "password": PLANTED}
    del values[missing]
    reader.put("login", values)
    error = await refused(reader)
    assert error.reason is Reason.SECRET_KEY_MISSING
    assert error.message == f'Secret "login" has no key "{missing}"; add it'


FINDINGS = {
    "empty": (b"", "is empty"),
    "a NUL byte": (b"pl4nted\0s3cret", "holds a NUL byte, which no login can carry"),
    "not UTF-8": (b"pl4nted\xffs3cret", "is not UTF-8 text"),
    "half of a surrogate pair": (b"pl4nted\xed\xa0\x80", "is not UTF-8 text"),
}


@pytest.mark.parametrize("key", ["username", "password"])
@pytest.mark.parametrize(("value", "finding"), FINDINGS.values(), ids=FINDINGS.keys())
async def test_value_that_no_login_can_carry_is_malformed(
    reader: FakeReader, key: str, value: bytes, finding: str
) -> None:
    reader.put("login", {"username": b"ann", "password": PLANTED, key: value})
    error = await refused(reader)
    assert error.reason is Reason.SECRET_MALFORMED
    assert error.message == f'key "{key}" of Secret "login" {finding}; correct it'


LOGIN = Identity("Secret", "apps", "login")


async def test_a_secret_that_the_api_server_does_not_hand_out_may_be_readable_later(
    reader: FakeReader,
) -> None:
    reader.failure = errors.ObjectUnavailableError(LOGIN, "the API server answered 503")
    error = await refused(reader)
    assert isinstance(error, errors.CredentialUnavailableError)
    assert error.reason is Reason.SECRET_UNREADABLE
    assert error.message == (
        'Secret "login" in namespace "apps" cannot be read: the API server answered 503'
    )


async def test_a_secret_that_nobody_has_allowed_waits_for_somebody(reader: FakeReader) -> None:
    reader.failure = errors.ObjectNotAllowedError(LOGIN, "label it")
    error = await refused(reader)
    assert not isinstance(error, errors.CredentialUnavailableError)
    assert error.reason is Reason.SECRET_NOT_ALLOWED
    assert error.message == 'Secret "login" in namespace "apps" may not be used: label it'


@pytest.mark.parametrize("size", [256, 700_000])
async def test_a_user_name_that_no_broker_has_is_refused(reader: FakeReader, size: int) -> None:
    """It would be shown in the status of every connection that uses it."""
    reader.put("login", {"username": b"u" * size, "password": PLANTED})
    error = await refused(reader)
    assert error.reason is Reason.SECRET_MALFORMED
    assert error.message == (
        'key "username" of Secret "login" is longer than 255 bytes, which no user name is; '
        "correct it"
    )


async def test_a_user_name_may_have_255_bytes(reader: FakeReader) -> None:
    name = "é" * 127 + "x"
    reader.put("login", {"username": name.encode(), "password": PLANTED})
    assert (await source(reader).fetch()).username == name
