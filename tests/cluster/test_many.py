"""Two hundred connections: what they cost the API server, counted by the API server itself."""

import asyncio
import http.client
import re
import time
from collections import Counter
from collections.abc import Callable

from support.apiserver import APIServer
from support.operator_process import OperatorProcess
from support.operators import Operator
from support.requests_seen import AuditedRequest
from support.team import CONNECTIONS, Team, condition
from support.waiting import PATIENCE, eventually

NUMBER = 200
NAMES = [f"orders-{number:03}" for number in range(NUMBER)]
BAD_REQUEST, SERVER_ERROR = http.client.BAD_REQUEST, http.client.INTERNAL_SERVER_ERROR
NOT_FOUND = http.client.NOT_FOUND
READS = {"get", "list", "watch"}


def asked(apiserver: APIServer, operator: OperatorProcess) -> list[AuditedRequest]:
    """What the operator has asked the API server for so far."""
    user = f"system:serviceaccount:{operator.namespace}:springline"
    return [each for each in apiserver.audit() if each.user == user]


def writes(requests: list[AuditedRequest], team: Team) -> Counter[str]:
    """How often the status of each connection was written."""
    return Counter(
        each.name
        for each in requests
        if (each.resource, each.subresource, each.namespace)
        == (CONNECTIONS, "status", team.namespace)
    )


def reads(requests: list[AuditedRequest], team: Team) -> int:
    """How often a Secret of the namespace was read."""
    return sum(
        (each.verb, each.resource, each.namespace) == ("get", "secrets", team.namespace)
        for each in requests
    )


def refused(requests: list[AuditedRequest]) -> list[AuditedRequest]:
    """What was asked in vain. An answer that came too late is not: the machine may be slow."""
    return [each for each in requests if BAD_REQUEST <= each.code < SERVER_ERROR]


def probes(operator: OperatorProcess) -> int:
    """How many probes have been confirmed."""
    text = operator.get("/metrics").text
    found = re.search(r"^springline_probe_duration_seconds_count (\S+)$", text, re.MULTILINE)
    assert found is not None
    return int(float(found[1]))


async def until_all(
    apiserver: APIServer, team: Team, is_so: Callable[[dict[str, object]], bool], what: str
) -> None:
    """Wait until the status of each connection is so."""
    path = f"/apis/springline.dev/v1alpha1/namespaces/{team.namespace}/{CONNECTIONS}"
    deadline = time.monotonic() + 4 * PATIENCE
    while True:
        answer = await asyncio.to_thread(apiserver.request, "GET", path)
        items = [each.get("status", {}) for each in answer.content["items"]]
        if len(items) == NUMBER and all(is_so(each) for each in items):
            return
        assert time.monotonic() < deadline, f"not all: {what}"
        await asyncio.sleep(0.2)


async def test_each_connection_costs_one_write_and_then_none(
    springline: Operator, apiserver: APIServer, team: Team
) -> None:
    """One when it is opened, one when the operator leaves, one when it is back; nothing else.

    The objects themselves are never written to, and the Secret that all share is read a few times,
    not two hundred.
    """
    assert isinstance(springline, OperatorProcess)
    # So that all can be closed and written in time on a machine that is slow, or has more to do.
    springline.stop()
    springline.start("--shutdown-timeout", "90")
    await springline.until_ready()
    before = len(asked(apiserver, springline))
    await team.declare()
    await team.patch("brokers", "rabbit", {"spec": {"connectTimeout": "60s"}})
    documents = [team.connection(name) for name in NAMES]
    began = time.monotonic()
    limit = asyncio.Semaphore(8)

    async def apply(document: dict[str, object]) -> None:
        async with limit:
            await team.apply(CONNECTIONS, document)

    await asyncio.gather(*(apply(document) for document in documents))
    declared = time.monotonic() - began
    await until_all(
        apiserver, team, lambda status: condition(status, "Ready")[0] == "True", "Ready"
    )
    print(f"declared in {declared:.1f} s, Ready after {time.monotonic() - began:.1f} s")
    assert {each.name for each in await team.held()} == set(NAMES)
    once = Counter(dict.fromkeys(NAMES, 1))

    def so_far() -> list[AuditedRequest]:
        return asked(apiserver, springline)[before:]

    await eventually(lambda: writes(so_far(), team).total() >= NUMBER, what="the log is complete")
    assert writes(so_far(), team) == once
    secrets_read = reads(so_far(), team)
    assert secrets_read < NUMBER / 4

    # Two more probes of each.
    confirmed = probes(springline)
    await eventually(lambda: probes(springline) >= confirmed + 2 * NUMBER, what="two probes each")
    assert writes(so_far(), team) == once
    assert reads(so_far(), team) == secrets_read

    def posted() -> int:
        return sum((each.verb, each.resource) == ("create", "events") for each in so_far())

    await eventually(lambda: posted() >= NUMBER, what="each has an Event")
    before_the_end = posted()
    await asyncio.to_thread(springline.stop)
    await team.until_held()
    await eventually(
        lambda: writes(so_far(), team).total() >= 2 * NUMBER, what="the log is complete"
    )
    assert writes(so_far(), team) == Counter(dict.fromkeys(NAMES, 2))
    # It waited for its last Events, too, as long as it does that.
    assert posted() > before_the_end
    assert refused(so_far()) == []
    await asyncio.to_thread(springline.start)
    holder = springline.holder
    await until_all(
        apiserver,
        team,
        lambda status: status.get("holder") == holder and condition(status, "Ready")[0] == "True",
        "Ready again",
    )
    await eventually(
        lambda: writes(so_far(), team).total() >= 3 * NUMBER, what="the log is complete"
    )
    assert writes(so_far(), team) == Counter(dict.fromkeys(NAMES, 3))

    others = {
        (each.verb, each.resource, each.subresource) for each in so_far() if each.verb not in READS
    }
    assert others <= {
        ("patch", CONNECTIONS, "status"),
        ("patch", "brokers", "status"),
        ("create", "events", ""),
        ("patch", "events", ""),
        ("create", "leases", ""),
        ("update", "leases", ""),
        ("delete", "leases", ""),
    }
    # Once it looks whether the one before is gone, for all objects together.
    [looked] = refused(so_far())
    assert (looked.verb, looked.resource, looked.code) == ("get", "leases", NOT_FOUND)

    await team.delete(CONNECTIONS)
    await team.until_held()
