"""What one declaration can do to the others, and what it cannot: a real API server says what it
takes.
"""

import asyncio
from typing import Any

import pytest

from support.team import CONNECTIONS, GROUP, RETRY, Team, condition

# Each is stored with its key twice: once more among the fields that a manager has set.
_LABEL = "x" * 55


def labelled(connection: dict[str, Any], name: str, number: int) -> dict[str, Any]:
    """Return a connection under another name, with so many long labels."""
    labels = {f"{_LABEL}-{each:06}": _LABEL for each in range(number)}
    return {**connection, "metadata": {"name": name, "labels": labels}}


async def created(team: Team, document: dict[str, Any]) -> bool:
    """Create a connection, and return whether the API server has taken it.

    It is applied, because the API server then notes at once who has set its labels.
    """
    where = f"{GROUP}/namespaces/{team.namespace}/{CONNECTIONS}/{document['metadata']['name']}"
    answer = await team.ask(
        "PATCH",
        f"{where}?fieldManager=team",
        document,
        content_type="application/apply-patch+yaml",
    )
    assert answer.code == 201 or "too large" in answer.message, answer.message
    return bool(answer.code == 201)


async def most_labels(team: Team) -> int:
    """Return with how many labels a connection can just be stored."""
    fits, fails = 0, 12_000
    while fails - fits > 1:
        number = (fits + fails) // 2
        document = labelled(team.connection("trial"), "trial", number)
        if await created(team, document):
            fits = number
            await team.delete(CONNECTIONS, "trial")
        else:
            fails = number
    return fits


async def test_objects_with_no_room_for_a_status_hold_nobody_up(team: Team) -> None:
    """The API server answers 500 for its etcd; that is no outage."""
    await team.declare()
    most = await most_labels(team)
    # The first has no room at all, the last for all of its status, and some of those between for
    # the least of it.
    names = [f"large-{number:02}" for number in range(12)]
    for number, name in enumerate(names):
        document = labelled(team.connection(name), name, most - 7 * number)
        assert await created(team, document)
    await team.declare_connections("orders")
    await team.until_ready("orders")
    [event, *_] = await team.until_events(names[0], "StatusTooLarge")
    assert "remove labels, annotations or finalizers" in event["message"]
    await team.until_ready(names[-1])
    # Another change of a bystander gets through meanwhile, and what was refused has been cut.
    await team.declare_connections("billing")
    await team.until_ready("billing")
    assert await team.is_unseen(names[0])
    cut = await team.until_any(names, _is_least, "the least of a status is written")
    assert condition(cut, "Connected")[0] in ("True", "False")
    assert "negotiated" not in cut
    for name in names:
        await team.delete(CONNECTIONS, name)


def _is_least(status: dict[str, Any]) -> bool:
    return status.get("observedGeneration") == 1 and "credentials" not in status


@pytest.mark.parametrize("host", ["169.254.169.254", "fd00:ec2::254"])
async def test_a_metadata_service_is_no_broker(team: Team, host: str) -> None:
    await team.put_secret()
    endpoints = [{"host": host, "port": 80}]
    await team.apply("brokers", team.rabbit.document(retry=RETRY, endpoints=endpoints))
    await team.declare_connections("orders")
    status = await team.until_condition("orders", "Connected", "False", "AddressNotAllowed")
    [message] = {each["message"] for each in status["conditions"] if each["type"] == "Connected"}
    assert message.startswith(f"{host} is an address of a cloud's metadata service")
    assert "--allow-addresses" in message
    assert status["state"] == "Rejected"


async def test_a_user_name_that_no_broker_has_is_refused(team: Team) -> None:
    """It would be in the status of each connection that uses the Secret."""
    await team.declare()
    await team.apply(
        "secrets",
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "orders-amqp"},
            "stringData": {"username": "u" * 700_000, "password": "x"},
        },
    )
    await team.declare_connections("orders", "billing")
    for name in ("orders", "billing"):
        status = await team.until_condition(name, "Ready", "False", "SecretMalformed")
        assert "longer than 255 bytes" in str(status)
        assert len(str(status)) < 4096
    await team.put_secret()
    await asyncio.gather(team.until_ready("orders"), team.until_ready("billing"))
