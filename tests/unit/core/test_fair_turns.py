"""How many attempts run at once: a namespace with very many keeps no other one waiting."""

import asyncio
import contextlib
from random import Random

import pytest

from springline.core.fair_turns import FairTurns


class Tasks:
    """Tasks that take a turn and keep it until they are told."""

    def __init__(self, turns: FairTurns) -> None:
        self.turns = turns
        self.running: list[str] = []
        self.ends: dict[str, list[asyncio.Event]] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def start(self, namespace: str, count: int = 1) -> None:
        for _ in range(count):
            end = asyncio.Event()
            self.ends.setdefault(namespace, []).append(end)
            self.tasks.append(asyncio.ensure_future(self._run(namespace, end)))
        await settle()

    async def _run(self, namespace: str, end: asyncio.Event) -> None:
        async with self.turns.turn(namespace):
            self.running.append(namespace)
            try:
                await end.wait()
            finally:
                self.running.remove(namespace)

    async def end(self, namespace: str) -> None:
        self.ends[namespace].pop(0).set()
        await settle()

    async def drop_all(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def tasks() -> Tasks:
    return Tasks(FairTurns(4))


async def test_no_more_run_at_once_than_there_are_turns(tasks: Tasks) -> None:
    for namespace in ("a", "b", "c"):
        await tasks.start(namespace, 2)
    assert len(tasks.running) == 4
    assert tasks.turns.waiting == 2
    await tasks.drop_all()


async def test_a_namespace_has_its_share_at_most(tasks: Tasks) -> None:
    await tasks.start("many", 100)
    assert tasks.running == ["many"] * 2
    await tasks.start("few")
    assert tasks.running == ["many", "many", "few"]
    await tasks.drop_all()


async def test_turns_are_given_in_the_order_in_which_they_were_asked_for(tasks: Tasks) -> None:
    await tasks.start("a", 2)
    await tasks.start("b", 2)
    await tasks.start("c")
    await tasks.start("d")
    await tasks.end("a")
    assert tasks.running == ["a", "b", "b", "c"]
    await tasks.drop_all()


async def test_who_gives_up_leaves_its_place_to_the_next(tasks: Tasks) -> None:
    await tasks.start("a", 3)
    await tasks.start("b", 2)
    waiting = tasks.tasks[2]
    waiting.cancel()
    await settle()
    assert tasks.turns.waiting == 0
    await tasks.drop_all()
    assert tasks.running == []


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_is_cancelled_no_turn_is_lost(seed: int) -> None:
    rng = Random(seed)  # noqa: S311 - it chooses what is cancelled
    tasks = Tasks(FairTurns(4))
    for _ in range(60):
        await tasks.start(rng.choice("abc"), rng.randrange(3))
        if tasks.tasks and rng.random() < 0.6:
            tasks.tasks.pop(rng.randrange(len(tasks.tasks))).cancel()
            if rng.random() < 0.5:
                await settle()
    await tasks.drop_all()
    await settle()
    again = Tasks(tasks.turns)
    await again.start("a", 2)
    await again.start("b", 2)
    assert len(again.running) == 4
    await again.drop_all()


async def test_who_waits_for_a_turn_of_the_process_has_no_more_than_a_share_of_a_broker() -> None:
    """Or a namespace whose own brokers are silent would keep all others from a shared one."""
    process, shared = FairTurns(8), FairTurns(4)
    silent, done = asyncio.Event(), asyncio.Event()

    async def attempt(limit: FairTurns | None, namespace: str, end: asyncio.Event) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if limit is not None:
                await stack.enter_async_context(limit.turn(namespace))
            await stack.enter_async_context(process.turn(namespace))
            end.set() if end is done else await end.wait()

    tasks = [asyncio.ensure_future(attempt(None, "many", silent)) for _ in range(20)]
    await settle()
    tasks += [asyncio.ensure_future(attempt(shared, "many", silent)) for _ in range(20)]
    await settle()
    tasks.append(asyncio.ensure_future(attempt(shared, "few", done)))
    await settle()
    assert done.is_set()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
