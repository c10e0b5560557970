"""What an answer says of a block, beside its status. Pure.

RabbitMQ's health checks name the resources that an alarm is about. Nothing else of a body counts,
and nothing of one is shown.
"""

import json
from typing import Final

from springline.core.values import Block
from springline.drivers.http import verdicts
from springline.drivers.http.messages import Response
from springline.reasons import Reason

__all__ = ["block"]

_MOST_OCTETS: Final = 64 * 1024
_RESOURCES: Final = {
    frozenset({"memory"}): (Reason.LOW_ON_MEMORY, "low on memory"),
    frozenset({"disk"}): (Reason.LOW_ON_DISK, "low on disk"),
    frozenset({"memory", "disk"}): (Reason.LOW_ON_MEMORY_AND_DISK, "low on memory & disk"),
}
"""In the words of RabbitMQ's connection.blocked, so that both ways to learn of it say the same."""


def block(response: Response) -> Block:
    """Return why a server is blocked that has said so by a declared status."""
    known = _RESOURCES.get(_resources(response))
    if known is None:
        return Block(reason=Reason.BLOCKED_BY_BROKER, text=verdicts.phrase(response.status))
    return Block(reason=known[0], text=known[1])


def _resources(response: Response) -> frozenset[str]:
    if not verdicts.is_of_rabbitmq(response) or len(response.body) > _MOST_OCTETS:
        return frozenset()
    try:
        said = json.loads(response.body)
    except (ValueError, RecursionError):
        return frozenset()
    alarms = said.get("alarms") if isinstance(said, dict) else None
    if not isinstance(alarms, list):
        return frozenset()
    return frozenset(
        each["resource"]
        for each in alarms
        if isinstance(each, dict) and isinstance(each.get("resource"), str)
    )
