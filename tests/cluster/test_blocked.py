"""A broker that is low on memory or disk: a condition, an Event and a metric, until it ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from support.administration import Alarm
from support.kubectl import Kubectl, rows
from support.operators import Operator
from support.shared_broker import SharedBroker
from support.team import Team, condition

pytestmark = pytest.mark.kind


@contextlib.asynccontextmanager
async def alarm(rabbit: SharedBroker, source: Alarm) -> AsyncIterator[None]:
    """Have the broker short of something; other tests need it well again."""
    await asyncio.to_thread(rabbit.administration.set_alarm, source)
    try:
        yield
    finally:
        await asyncio.to_thread(rabbit.administration.clear_alarm, source)


def series(team: Team, name: str, reason: str) -> str:
    """The metric that says whether a connection is blocked."""
    labels = f'namespace="{team.namespace}",name="{name}",reason="{reason}"'
    return f"springline_session_blocked{{{labels}}}"


# R1.10, R1.11
@pytest.mark.parametrize(
    ("source", "reason", "words"),
    [("memory", "LowOnMemory", "low on memory"), ("disk", "LowOnDisk", "low on disk")],
)
async def test_an_alarm_blocks_and_its_end_unblocks(
    springline: Operator, kubectl: Kubectl, team: Team, source: Alarm, reason: str, words: str
) -> None:
    """With the broker's reason and since when; the connection stays, and stays Ready."""
    await team.declare("orders")
    await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    before = await team.until_held("orders")
    assert f"{series(team, 'orders', 'NotBlocked')} 0.0" in springline.get("/metrics").text
    async with alarm(team.rabbit, source):
        status = await team.until_condition("orders", "Blocked", "True", reason)
        assert condition(status, "Ready") == ("True", "Connected")
        assert status["blocked"]["reason"] == words
        since = datetime.fromisoformat(status["blocked"]["since"])
        assert abs(datetime.now(UTC) - since) < timedelta(minutes=5)
        assert f"{series(team, 'orders', reason)} 1.0" in springline.get("/metrics").text
        [row] = rows(kubectl.table("bconn", namespace=team.namespace))
        assert (row["READY"], row["BLOCKED"], row["STATE"]) == ("True", "True", "Connected")
        broker = await team.until(
            "rabbit",
            lambda status: status.get("connections", {}).get("blocked") == 1,
            "the broker counts it",
            plural="brokers",
        )
        assert condition(broker, "Reachable") == ("True", "Connected")
        [event] = await team.until_events("orders", reason)
        assert event["type"] == "Warning"
        assert words in event["message"]
    status = await team.until_condition("orders", "Blocked", "False", "NotBlocked")
    assert "blocked" not in status
    assert f"{series(team, 'orders', 'NotBlocked')} 0.0" in springline.get("/metrics").text
    [event] = await team.until_events("orders", "Unblocked")
    assert event["type"] == "Normal"
    assert await team.held() == before


async def test_two_alarms_are_told_as_two(team: Team) -> None:
    """To a connection that is opened while both hold."""
    async with alarm(team.rabbit, "memory"), alarm(team.rabbit, "disk"):
        await team.declare("orders")
        status = await team.until_condition("orders", "Blocked", "True", "LowOnMemoryAndDisk")
        assert condition(status, "Ready") == ("True", "Connected")
    await team.until_condition("orders", "Blocked", "False", "NotBlocked")


async def test_without_a_probe_nobody_knows(team: Team) -> None:
    """The broker tells only those who publish, and that is what the condition says."""
    await team.declare("orders", probe={"mode": "None"})
    status = await team.until_condition("orders", "Blocked", "Unknown", "ProbeDisabled")
    assert condition(status, "Ready") == ("True", "Connected")
    async with alarm(team.rabbit, "memory"):
        await team.declare("billing")
        await team.until_condition("billing", "Blocked", "True", "LowOnMemory")
        assert condition(await team.status("orders"), "Blocked") == ("Unknown", "ProbeDisabled")


async def test_a_new_secret_replaces_a_blocked_connection(team: Team) -> None:
    """The broker no longer reads from the old one, so nothing could be renewed in place."""
    await team.declare("orders")
    await team.until_ready("orders")
    before = await team.until_held("orders")
    async with alarm(team.rabbit, "memory"):
        await team.until_condition("orders", "Blocked", "True", "LowOnMemory")
        tenant = team.tenant
        new = f"{tenant.secret}-new"
        await asyncio.to_thread(team.rabbit.administration.change_password, tenant.username, new)
        await team.put_secret(new)
        await team.until(
            "orders",
            lambda status: (
                status["credentials"]["method"] == "Replaced"
                and condition(status, "Blocked") == ("True", "LowOnMemory")
            ),
            "it is replaced, and the new one is blocked as well",
        )
    await team.until_condition("orders", "Blocked", "False")
    # The broker notices the end of the old one when it reads again.
    await team.until_held("orders", other_than=before)
