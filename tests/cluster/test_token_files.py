"""Files of tokens in the operator's pod: a volume that is brought up to date renews the session."""

from collections.abc import AsyncIterator
from pathlib import Path

import jwt
import pytest

from support.operator_process import OperatorProcess
from support.shared_broker import SharedBroker
from support.team import Team
from support.volumes import Volume

KEY = "only-for-tests-0123456789abcdef0123456789abcdef"


@pytest.fixture
async def directory(process: OperatorProcess, tmp_path: Path) -> AsyncIterator[Path]:
    """The directory of tokens that the operator was started with; nobody has made it yet."""
    process.stop()
    process.start(f"--token-dir={tmp_path / 'tokens'}")
    await process.until_ready()
    yield tmp_path / "tokens"
    process.stop()


def a_token(team: Team, number: int) -> str:
    """Return a token of the tenant, who uses it as a password: this broker knows no tokens."""
    claims = {"sub": team.tenant.username, "jti": number}
    return jwt.encode(claims, KEY, algorithm="HS256")


async def test_a_volume_that_is_brought_up_to_date_renews_the_session(
    directory: Path, team: Team, rabbit: SharedBroker
) -> None:
    """In place, about a second later, though the API server has nothing to tell."""
    first, second = a_token(team, 1), a_token(team, 2)
    rabbit.administration.change_password(team.tenant.username, first)
    await team.declare("orders", credentials={"tokenFile": {"name": "rabbit"}})
    await team.until_condition("orders", "CredentialsValid", "False", "TokenFileNotFound")
    volume = Volume(directory / team.namespace)
    volume.write("rabbit", first)
    await team.until_ready("orders")
    before = await team.until_held("orders")
    rabbit.administration.change_password(team.tenant.username, second)
    volume.write("rabbit", second)
    status = await team.until(
        "orders", lambda status: status["credentials"]["method"] == "InPlace", "it was renewed"
    )
    assert await team.until_held("orders") == before
    assert status["credentials"]["source"] == "tokenFile"
    assert status["credentials"]["username"] == team.tenant.username
    assert first not in str(status)
    assert second not in str(status)
