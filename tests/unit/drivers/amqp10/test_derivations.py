"""Keys are derived in turns, so that a broker that asks for much work delays itself alone."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from springline.drivers.amqp10.derivations import Derivations, shared
from support.waiting import eventually

T = TypeVar("T")


class Slow:
    """Computes nothing until it is let go on."""

    def __init__(self) -> None:
        self.began: list[object] = []
        self.go_on = asyncio.Event()

    async def run(self, call: Callable[[], T]) -> T:
        value = call()
        self.began.append(value)
        if value == "greedy":
            await self.go_on.wait()
        return value


async def test_a_broker_that_asks_for_much_work_keeps_no_other_one_waiting() -> None:
    slow = Slow()
    derivations = Derivations(slow)
    greedy = [
        asyncio.ensure_future(derivations.run("greedy:5672", lambda: "greedy")) for _ in range(20)
    ]
    await eventually(lambda: slow.began, what="the first one computes")
    assert await derivations.run("good:5672", lambda: "good") == "good"
    assert slow.began == ["greedy", "good"]
    slow.go_on.set()
    assert await asyncio.gather(*greedy) == ["greedy"] * 20


async def test_who_waits_no_more_takes_no_turn() -> None:
    slow = Slow()
    derivations = Derivations(slow)
    first, second = (
        asyncio.ensure_future(derivations.run("greedy:5672", lambda: "greedy")) for _ in range(2)
    )
    await eventually(lambda: slow.began, what="the first one computes")
    second.cancel()
    slow.go_on.set()
    assert await first == "greedy"
    assert slow.began == ["greedy"]


async def test_all_logins_of_an_event_loop_share_their_turns() -> None:
    assert shared() is shared()
    assert await shared().run("any:5672", lambda: 42) == 42
