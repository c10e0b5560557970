"""The annotation that asks for a renewal: once for each value, and the connection goes on."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from support.kubectl import Kubectl
from support.operators import Operator
from support.team import Team, condition
from support.waiting import eventually

REQUEST = "springline.dev/renew-requested-at"
FIRST, SECOND = "2026-11-21T08:00:00Z", "2026-11-21T09:00:00Z"
ASKED = "renewal requested"


def verified(status: dict[str, Any]) -> datetime:
    """When the broker accepted the credential last; status tells it to the second."""
    return datetime.fromisoformat(status["credentials"]["verifiedAt"])


def echoed(value: str) -> Callable[[dict[str, Any]], bool]:
    """Whether a status says that a request was acted on, and all is well."""
    return lambda status: (
        status.get("lastHandled") == {"renewRequestedAt": value}
        and condition(status, "Ready") == ("True", "Connected")
    )


@pytest.mark.kind
async def test_a_renewal_is_made_once_for_each_request(
    springline: Operator, kubectl: Kubectl, team: Team
) -> None:
    """Even an unchanged password is verified anew; an operator that starts later knows of it."""

    def ask(value: str) -> None:
        kubectl.annotate("bconn", "orders", namespace=team.namespace, **{REQUEST: value})

    async def until_verified_again(before: datetime, value: str) -> datetime:
        status = await team.until(
            "orders",
            lambda status: echoed(value)(status) and verified(status) > before,
            f"{value} is echoed, and the password verified again",
        )
        assert condition(status, "CredentialsValid") == ("True", "Verified")
        return verified(status)

    await team.declare("orders")
    await team.until_ready("orders")
    held = await team.until_held("orders")
    first = verified(await team.status("orders"))
    await until_the_clock_shows_another_second(first)
    ask(FIRST)
    second = await until_verified_again(first, FIRST)
    assert await team.held() == held
    [event] = await team.until_events("orders", "Connected")
    assert event.get("count", 1) == 1

    said = len(springline.output)
    ask(FIRST)  # nothing new
    await asyncio.to_thread(springline.stop)
    await asyncio.to_thread(springline.start)
    await team.until_ready("orders")
    held = await team.until_held("orders", other_than=held)
    status = await team.until("orders", echoed(FIRST), "it is still echoed")
    assert verified(status) >= second  # when it was opened
    await until_the_clock_shows_another_second(verified(status))
    ask(SECOND)
    await until_verified_again(verified(status), SECOND)
    assert await team.held() == held
    # On a cluster it is a new pod, whose output begins here.
    output = springline.output
    since = output[said:] if len(output) > said else output
    assert since.count(ASKED) == 1


@pytest.mark.kind
async def test_a_renewal_that_is_refused_costs_nothing(
    springline: Operator, kubectl: Kubectl, team: Team
) -> None:
    """The broker's password was changed, the Secret was not: now it is known, and that is all."""
    await team.declare("orders")
    await team.until_ready("orders")
    held = await team.until_held("orders")
    changed = f"{team.tenant.secret}-changed"
    springline.plant(changed)
    administration = team.rabbit.administration
    await asyncio.to_thread(administration.change_password, team.tenant.username, changed)
    kubectl.annotate("bconn", "orders", namespace=team.namespace, **{REQUEST: FIRST})
    status = await team.until_condition("orders", "CredentialsValid", "False", "Rejected")
    assert condition(status, "Connected") == ("True", "Open")
    assert await team.held() == held
    await team.put_secret(changed)
    await team.until("orders", echoed(FIRST), "it has what the broker wants")
    assert await team.held() == held


async def until_the_clock_shows_another_second(moment: datetime) -> None:
    later = moment + timedelta(seconds=1)
    await eventually(lambda: datetime.now(UTC) >= later, what="the second is over")
