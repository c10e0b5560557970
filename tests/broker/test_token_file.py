"""Tokens from files under a live session, with the program as it is started by a user."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from support import springline_process
from support.identities import Issuer
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection
from support.springline_process import Springline
from support.volumes import Volume

NAME = "springline/default/orders"

GARBAGE = "eyJhbGciOiJIUzI1NiJ9.bm90LWpzb24.pl4nted"

pytestmark = pytest.mark.usefixtures("nothing_left")


@pytest.fixture
def tokens(issuer: Issuer) -> dict[str, str]:
    """Tokens by what they are; none of them may show anywhere."""
    return {
        "first": issuer.token("ann", seconds=600),
        "second": issuer.token("ann", seconds=7200),
        "another subject": issuer.token("ben"),
        "garbage": GARBAGE,
    }


@pytest.fixture
async def springline(
    tmp_path: Path, broker: RabbitMQNode, tokens: dict[str, str]
) -> AsyncIterator[Springline]:
    """Springline with a connection that logs in with the file `rabbit`."""
    options = ("--token-dir", str(tmp_path / "tokens"))
    async with springline_process.running(
        tmp_path, *tokens.values(), options=options
    ) as springline:
        springline.write(
            "orders.yaml",
            a_broker(broker.amqp_port),
            a_connection("orders", credentials={"tokenFile": {"name": "rabbit"}}),
        )
        yield springline


def pids(node: RabbitMQNode) -> list[str]:
    """Which connections of the broker are the session's."""
    return [each.pid for each in node.connections() if each.name == NAME]


def method(springline: Springline) -> str:
    """How the session got its credential."""
    return str(springline.status().get("credentials", {}).get("method"))


async def test_volume_that_is_brought_up_to_date_renews_the_live_connection(
    tmp_path: Path, broker: RabbitMQNode, springline: Springline, tokens: dict[str, str]
) -> None:
    """The token of the new file gets to the same connection, after it was tried on its own."""
    volume = Volume(tmp_path / "tokens" / "default")
    volume.write("rabbit", tokens["first"])
    before = (await springline.until("Ready", "True"))["credentials"]
    assert (before["source"], before["username"]) == ("tokenFile", "ann")
    opened = pids(broker)
    volume.write("rabbit", tokens["second"])
    await springline.eventually(lambda: method(springline) == "InPlace", "it was renewed")
    after = springline.status()["credentials"]
    assert len(opened) == 1
    assert pids(broker) == opened
    assert after["expiresAt"] > before["expiresAt"]
    assert after["observedVersion"] != before["observedVersion"]
    assert springline.condition("CredentialsValid") == ("True", "Verified")


async def test_token_of_another_subject_replaces_the_session(
    tmp_path: Path, broker: RabbitMQNode, springline: Springline, tokens: dict[str, str]
) -> None:
    volume = Volume(tmp_path / "tokens" / "default")
    volume.write("rabbit", tokens["first"])
    await springline.until("Ready", "True")
    opened = pids(broker)
    volume.write("rabbit", tokens["another subject"])
    await springline.eventually(lambda: method(springline) == "Replaced", "it was replaced")
    await springline.eventually(lambda: len(pids(broker)) == 1, "the old one is closed")
    assert pids(broker) != opened
    assert springline.status()["credentials"]["username"] == "ben"


async def test_file_that_comes_late_opens_the_session(
    tmp_path: Path, springline: Springline, tokens: dict[str, str]
) -> None:
    """Its directories, too; until then the status says which file is missing."""
    path = tmp_path / "tokens" / "default" / "rabbit"
    status = await springline.until("CredentialsValid", "False", "TokenFileNotFound")
    (message,) = [
        each["message"] for each in status["conditions"] if each["type"] == "CredentialsValid"
    ]
    assert message == f'there is no file "{path}"; put the token there'
    path.parent.mkdir(parents=True)
    path.write_text(tokens["first"] + "\n")
    await springline.until("Ready", "True")


async def test_unusable_file_leaves_the_live_connection_alone(
    tmp_path: Path, broker: RabbitMQNode, springline: Springline, tokens: dict[str, str]
) -> None:
    """Refused, empty or gone: the session keeps its token, and takes the next good one in place."""
    path = tmp_path / "tokens" / "default" / "rabbit"
    path.parent.mkdir(parents=True)
    path.write_text(tokens["first"])
    await springline.until("Ready", "True")
    opened = pids(broker)
    path.write_text(tokens["garbage"])
    await springline.until("CredentialsValid", "False", "Rejected")
    path.write_text("")
    await springline.until("CredentialsValid", "False", "SecretMalformed")
    path.unlink()
    await springline.until("CredentialsValid", "False", "TokenFileNotFound")
    assert springline.condition("Connected") == ("True", "Open")
    path.write_text(tokens["second"])
    await springline.until("CredentialsValid", "True", "Verified")
    assert pids(broker) == opened
