"""`tokenFile`: a token from a file, and what is wrong with one."""

import traceback
from datetime import UTC, datetime
from pathlib import Path

import jwt
import pytest

from springline.api.v1alpha1 import TokenFile
from springline.core.values import Credential, CredentialKind
from springline.credentials.token_file import TokenFileSource
from springline.credentials.token_files import DirectoryOfTokens
from springline.errors import CredentialError
from springline.reasons import Reason

TOKEN = jwt.encode(
    {"sub": "ann", "iat": 1_795_248_000, "exp": 1_795_251_600},
    "only-for-tests-0123456789abcdef0123456789abcdef",
    algorithm="HS256",
)


async def fetched(directory: Path, content: bytes) -> Credential:
    """Return the credential of a file with this content."""
    path = directory / "apps" / "rabbit"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return await TokenFileSource(
        DirectoryOfTokens(directory), "apps", TokenFile(name="rabbit")
    ).fetch()


async def test_token_tells_whose_it_is_and_from_when_to_when_it_is_valid(tmp_path: Path) -> None:
    credential = await fetched(tmp_path, TOKEN.encode())
    assert credential.kind is CredentialKind.TOKEN
    assert credential.source == "tokenFile"
    assert credential.username == "ann"
    assert credential.secret.reveal() == TOKEN
    assert credential.issued_at == datetime(2026, 11, 21, 8, 0, tzinfo=UTC)
    assert credential.expires_at == datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
    assert TOKEN not in repr(credential)


async def test_version_is_that_of_the_file(tmp_path: Path) -> None:
    """It changes with the file, and has nothing to do with what is in it."""
    first = await fetched(tmp_path, TOKEN.encode())
    found = (tmp_path / "apps" / "rabbit").stat()
    assert first.version == f"{found.st_mtime_ns}-{found.st_ino}"


async def test_line_break_at_the_end_is_no_part_of_the_token(tmp_path: Path) -> None:
    assert (await fetched(tmp_path, f"{TOKEN}\r\n".encode())).secret.reveal() == TOKEN


async def test_token_of_another_kind_is_sent_and_says_nothing(tmp_path: Path) -> None:
    credential = await fetched(tmp_path, b"opaque")
    assert (credential.username, credential.expires_at) == ("", None)
    assert credential.secret.reveal() == "opaque"


FINDINGS = {
    "nothing": (b"", "is empty"),
    "white space": (b" \n", "holds only white space"),
    "a NUL byte": (b"pl4nted\0", "holds a NUL byte, which no login can carry"),
    "no text": (b"pl4nted\xff", "is not UTF-8 text"),
}


@pytest.mark.parametrize(("content", "finding"), FINDINGS.values(), ids=FINDINGS.keys())
async def test_content_that_is_no_token_is_refused(
    tmp_path: Path, content: bytes, finding: str
) -> None:
    with pytest.raises(CredentialError) as caught:
        await fetched(tmp_path, content)
    assert caught.value.reason is Reason.SECRET_MALFORMED
    assert caught.value.message == f'file "{tmp_path}/apps/rabbit" {finding}; correct it'
    assert "pl4nted" not in "".join(traceback.format_exception(caught.value))
    assert (caught.value.__cause__, caught.value.__context__) == (None, None)


async def test_missing_file_is_refused(tmp_path: Path) -> None:
    source = TokenFileSource(DirectoryOfTokens(tmp_path), "apps", TokenFile(name="rabbit"))
    with pytest.raises(CredentialError) as caught:
        await source.fetch()
    assert caught.value.reason is Reason.TOKEN_FILE_NOT_FOUND
