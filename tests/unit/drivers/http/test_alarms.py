"""What an answer says of a block: the resource of an alarm, and nothing else of a body."""

import json
from typing import Any

import pytest

from springline.core.values import Block
from springline.drivers.http import alarms
from springline.drivers.http.messages import Headers, Response
from springline.reasons import Reason

RABBITMQ: Headers = ((b"server", b"Cowboy"), (b"content-type", b"application/json"))
UNKNOWN = Block(reason=Reason.BLOCKED_BY_BROKER, text="503 Service Unavailable")


def block(body: Any, headers: Headers = RABBITMQ) -> Block:
    octets = body if isinstance(body, bytes) else json.dumps(body).encode()
    return alarms.block(Response(status=503, headers=headers, body=octets))


@pytest.mark.parametrize(
    ("resources", "reason"),
    [
        (["memory"], Reason.LOW_ON_MEMORY),
        (["disk", "disk"], Reason.LOW_ON_DISK),
        (["disk", "memory"], Reason.LOW_ON_MEMORY_AND_DISK),
        (["pl4nted"], Reason.BLOCKED_BY_BROKER),
        ([], Reason.BLOCKED_BY_BROKER),
    ],
)
def test_the_resources_of_alarms_are_told(resources: list[str], reason: Reason) -> None:
    found = block({"alarms": [{"node": "a@b", "resource": each} for each in resources]})
    assert found.reason is reason
    assert "pl4nted" not in found.text


@pytest.mark.parametrize(
    "body",
    [b"", b"[", b"[]", {"alarms": 1}, {"alarms": [1, {"resource": 2}, {}]}, b"[" * 60000],
    ids=["empty", "no JSON", "a list", "no list", "no resources", "deep"],
)
def test_what_is_no_list_of_alarms_says_no_more_than_its_status(body: Any) -> None:
    assert block(body) == UNKNOWN


def test_a_server_that_is_another_one_says_no_more_than_its_status() -> None:
    assert block({"alarms": [{"resource": "memory"}]}, ()) == UNKNOWN
