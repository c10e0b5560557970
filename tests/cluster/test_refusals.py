"""The API server answers, and refuses: status is right in the end, and nobody is flooded.

Some refusals are those of a proxy in front of the real API server; the others are its own, because
of tokens and roles that are not as they should be. For definitions see `test_definitions`.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.apiserver import APIServer
from support.fake_apiserver import Asked, Deed, closing, refusing
from support.fault_proxy import FaultProxy, cutting, is_write, proxying
from support.operator_process import OperatorProcess
from support.team import CONNECTIONS, Team

pytestmark = pytest.mark.usefixtures("mended")

BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"


@dataclass(frozen=True, slots=True)
class Proxied:
    """An operator that reaches the API server by way of a proxy."""

    process: OperatorProcess
    proxy: FaultProxy


@pytest.fixture
async def proxied(
    process: OperatorProcess, apiserver: APIServer, tmp_path: Path
) -> AsyncIterator[Proxied]:
    """The operator of the chart in place of the one that all share."""
    await asyncio.to_thread(process.stop)
    async with proxying(apiserver, tmp_path) as proxy:
        other = OperatorProcess(tmp_path, apiserver, kubeconfig=proxy.kubeconfig)
        try:
            other.start()
            await other.until_ready()
            yield Proxied(other, proxy)
            await asyncio.to_thread(other.stop)
        finally:
            other.close()


def first(
    count: int, deed: Deed, picked: Callable[[Asked], bool]
) -> Callable[[Asked], Deed | None]:
    """Do something else with the first requests of a kind."""
    left = count

    def instead(asked: Asked) -> Deed | None:
        nonlocal left
        if left == 0 or not picked(asked):
            return None
        left -= 1
        return deed

    return instead


REFUSALS = [
    pytest.param(refusing(409, "Conflict", "try again"), id="conflict"),
    pytest.param(refusing(429, "TooManyRequests", "later", retry_after="1"), id="throttled"),
    pytest.param(refusing(500, "InternalError", "no"), id="broken"),
    pytest.param(refusing(503, "ServiceUnavailable", "no", retry_after="1"), id="unavailable"),
    pytest.param(refusing(504, "Timeout", "no"), id="timed out"),
    pytest.param(refusing(404, "", "no such host"), id="a balancer without a target"),
    pytest.param(refusing(401, "Unauthorized", "Unauthorized"), id="unauthorized"),
    pytest.param(closing, id="dropped"),
    pytest.param(cutting, id="cut off"),
]


@pytest.mark.parametrize("refusal", REFUSALS)
async def test_a_refused_status_is_written_in_the_end(
    proxied: Proxied, team: Team, refusal: Deed
) -> None:
    """By one request more, if nothing else happens meanwhile."""
    proxied.proxy.instead = first(1, refusal, lambda asked: is_write(asked, "orders"))
    await team.declare("orders", "billing")
    await team.until_ready("billing", "orders")
    assert 2 <= proxied.proxy.writes("orders") <= 3


async def test_an_api_server_that_takes_no_status_is_not_flooded(
    proxied: Proxied, team: Team
) -> None:
    """Of many that have something to say, one asks now and again whether it is taken."""
    names = [f"orders-{number}" for number in range(12)]
    proxied.proxy.instead = lambda asked: (
        refusing(503, "ServiceUnavailable", "no") if asked.method == "PATCH" else None
    )

    def refused() -> int:
        return sum(each.method == "PATCH" for each in proxied.proxy.asked)

    await team.declare(*names)
    await team.until_held(*names)
    await proxied.process.eventually(lambda: refused() >= 4, "it tries again")
    assert refused() <= len(names) + 4
    proxied.proxy.instead = lambda _: None
    await team.until_ready(*names)


WATCH_FAULTS = [
    pytest.param(refusing(401, "Unauthorized", "Unauthorized"), id="unauthorized"),
    pytest.param(refusing(403, "Forbidden", "not yet"), id="forbidden"),
    pytest.param(refusing(410, "Expired", "too old"), id="gone"),
    pytest.param(refusing(429, "TooManyRequests", "initializing", retry_after="1"), id="throttled"),
    pytest.param(refusing(503, "ServiceUnavailable", "no"), id="unavailable"),
    pytest.param(cutting, id="cut off"),
]


@pytest.mark.parametrize("fault", WATCH_FAULTS)
async def test_watches_go_on_after_a_fault(proxied: Proxied, team: Team, fault: Deed) -> None:
    """Whatever is answered when they are begun again; nobody is told to bind a role."""
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    before = await team.until_held("billing", "orders")
    # One for each watch of the operator, and some for those that list anew.
    proxied.proxy.instead = first(8, fault, lambda asked: asked.method == "GET")
    proxied.proxy.break_watches()
    await team.delete(CONNECTIONS, "billing")
    await team.put_secret("not the password")
    await team.declare_connections("invoices", suspend=True)
    await team.until_condition("invoices", "Connected", "False", "Suspended")
    await team.until_condition("orders", "CredentialsValid", "False", "Rejected")
    held = await team.until_held("orders")
    assert held == [each for each in before if each.name == "orders"]
    assert "bind a role" not in proxied.process.output


async def test_a_rotated_token_is_taken_up(proxied: Proxied, team: Team) -> None:
    """Also if what the file holds meanwhile is of no use."""
    await team.declare("orders")
    await team.until_ready("orders")
    before = await team.until_held("orders")
    old = proxied.process.token
    proxied.process.replace_token("rubb1sh-that-is-no-token")
    proxied.proxy.revoke(old)
    await team.put_secret("not the password")
    await proxied.process.until_said("401 Unauthorized")
    proxied.process.renew_token(600)
    await team.declare_connections("invoices", suspend=True)
    await team.until_condition("invoices", "Connected", "False", "Suspended")
    await team.until_condition("orders", "CredentialsValid", "False", "Rejected")
    assert await team.held() == before


@pytest.fixture
def bindings(process: OperatorProcess, apiserver: APIServer) -> Iterator[list[dict[str, Any]]]:
    """The ClusterRoleBindings of the operator, as they should be again after the test."""
    # One that has met no outage yet, in which it would take a refusal for a part of it.
    process.restart()
    found = [
        each
        for each in apiserver.request("GET", BINDINGS).content["items"]
        if any(subject["name"] == "springline" for subject in each.get("subjects", ()))
    ]
    assert found
    for each in found:
        each["metadata"] = {key: each["metadata"][key] for key in ("name", "labels", "annotations")}
    yield found
    for each in found:
        answer = apiserver.request("POST", BINDINGS, each)
        assert answer.code in (201, 409), answer.message


async def test_withdrawn_rights_leave_the_sessions_alone(
    process: OperatorProcess, team: Team, bindings: list[dict[str, Any]]
) -> None:
    """The log says what is missing; given back, status and sessions catch up."""
    await process.until_ready()
    await team.declare("orders", "billing")
    await team.until_ready("orders", "billing")
    before = await team.until_held("billing", "orders")
    said = len(process.output)
    for each in bindings:
        await team.ask("DELETE", f"{BINDINGS}/{each['metadata']['name']}")
    await team.put_secret("not the password")
    for sentence in ("lacks the permission to get secrets", "writing status is forbidden"):
        await process.eventually(
            lambda sentence=sentence: sentence in process.output[said:], f"it says {sentence!r}"
        )
    assert await team.held() == before
    for each in bindings:
        await team.ask("POST", BINDINGS, each)
    await team.until_condition("orders", "CredentialsValid", "False", "Rejected")
    await team.put_secret()
    await team.until_ready("orders", "billing")
    assert await team.held() == before
