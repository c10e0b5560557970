"""A password change takes the stops that docs/architecture.md tells, in that order."""

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import springline
from support.rabbitmq import RabbitMQNode
from support.running import a_broker, a_connection, a_secret, running
from support.waiting import eventually

PACKAGE = Path(springline.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "architecture.md"

pytestmark = pytest.mark.usefixtures("nothing_left")

# A stop is a module and a function of it.
Stop = tuple[str, str]


def told() -> list[Stop]:
    """The stops of the walk, without those that only a cluster has."""
    text = PAGE.read_text(encoding="utf-8")
    rows = re.findall(r"^\| ((?:`[\w/]+\.py`(?:, )?)+) \| `([\w.]+)` \|", text, re.MULTILINE)
    stops = [(re.findall(r"`([\w/]+\.py)`", where)[-1], function) for where, function in rows]
    return [stop for stop in stops if not stop[0].startswith("kube/")]


@contextmanager
def followed(taken: list[Stop]) -> Iterator[None]:
    """Note every call of a function of the package."""
    root = f"{PACKAGE}/"

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(root):
            taken.append((code.co_filename.removeprefix(root), code.co_qualname))

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


async def test_a_password_change_takes_the_stops_that_are_told(broker: RabbitMQNode) -> None:
    broker.add_user("walker", "first")
    broker.set_permissions("walker", "/")
    declared = [a_broker(broker.amqp_port), a_connection("orders")]
    taken: list[Stop] = []
    try:
        async with running(*declared, a_secret("walker", "first")) as held:
            await held.until_ready("orders")
            broker.change_password("walker", "second")
            with followed(taken):
                held.apply(*declared, a_secret("walker", "second"))
                await eventually(
                    lambda: held.status("orders")["credentials"]["method"] == "InPlace",
                    what="the password was renewed in place",
                )
    finally:
        broker.delete_user("walker")
    position = 0
    for stop in told():
        assert stop in taken[position:], f"{stop} does not come after the stops before it"
        position = taken.index(stop, position) + 1


def test_the_walk_is_told_from_the_first_change_to_the_status() -> None:
    stops = told()
    assert stops[0] == ("core/manager.py", "Manager.object_changed")
    assert stops[-1] == ("core/status.py", "connection_status")
    assert len(stops) > 15
