"""Runs sequences one after the other in one world, and shrinks one that fails."""

import asyncio
import concurrent.futures
import contextlib
import time
import traceback
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from chaos import in_cluster, invariants, kinds, sequences, shrinking, standalone
from chaos.invariants import Read
from chaos.sequences import Fault
from chaos.world import Violation, World

__all__ = ["PARTS", "Failed", "entered", "run"]

PARTS: dict[str, type[World]] = {
    "A": standalone.StandaloneWorld,
    "B": in_cluster.ClusterWorld,
}
"""A is standalone mode, B is in a cluster."""

_SHRINKING_RUNS = 25
_SHRINKING_SECONDS = 600.0
_TRIES = 2
"""How often a sequence is run again to see whether it fails again."""
_THREADS = 24

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """A sequence after which something did not hold."""

    seed: str
    faults: Sequence[Fault]
    violation: str
    shortest: Sequence[Fault] = ()
    """Empty where it did not fail again, or was not to be shrunk."""

    def __str__(self) -> str:
        lines = [
            f"sequence {self.seed} fails:",
            self.violation,
            f"the sequence: {sequences.written(self.faults)}",
        ]
        if self.shortest:
            lines.append(f"the shortest that fails: {sequences.written(self.shortest)}")
        return "\n".join(lines)


@contextlib.asynccontextmanager
async def entered(part: str, directory: Path, *, bug: str = "") -> AsyncIterator[World]:
    """A world of this part, all of whose parts are stopped at the end."""
    # Whoever waits for a server that starts keeps a thread; health is asked for beside.
    loop = asyncio.get_running_loop()
    loop.set_default_executor(concurrent.futures.ThreadPoolExecutor(_THREADS))
    enter = standalone.entered if part == "A" else in_cluster.entered
    async with enter(directory, bug=bug) as world:
        yield world


async def run(
    world: World,
    seeds: Sequence[str],
    *,
    only: tuple[str, ...] = ("",),
    given: Sequence[Fault] = (),
    is_shrinking: bool = True,
    goes_on: bool = False,
    say: Say = print,
) -> Failed | None:
    """Run the sequence of each seed, or the one that is given; return the first that fails.

    Drawn are the kinds whose names begin with one of `only`. With `goes_on` the others run all the
    same, with a Springline that has just been started, and what fails is said.
    """
    first: Failed | None = None
    log = Read()
    drawings = [each for each in kinds.drawings(type(world)) if each[0].startswith(only)]
    if world.no_clock:
        say(f"clock-set does nothing: {world.no_clock}")
    for seed in seeds:
        faults = given or sequences.drawn(seed, drawings)
        began = time.monotonic()
        violation, seconds = await _violation(world, log, faults)
        took = f"{time.monotonic() - began:.0f} s"
        names = " ".join(each.kind for each in faults)
        if not violation:
            say(f"{seed}: holds after {seconds:.1f} s ({took}): {names}")
            continue
        say(f"{seed}: FAILS ({took}): {names}\n{violation}")
        shortest: Sequence[Fault] = ()
        if is_shrinking:
            shortest = await _shortest(world, log, faults, say)
        failed = Failed(seed=seed, faults=faults, violation=violation, shortest=shortest)
        first = first or failed
        if not goes_on:
            break
        say(str(failed))
        await world.renewed()
        log.skip(world.output)
    _say_left_out(world, say)
    return first


def _say_left_out(world: World, say: Say) -> None:
    if world.left_out:
        counted = (f"{kind} ({count})" for kind, count in sorted(world.left_out.items()))
        say(f"left out: {', '.join(counted)}")


async def _violation(world: World, log: Read, faults: Sequence[Fault]) -> tuple[str, float]:
    """Run a sequence; return what does not hold after it, and how long the end took."""
    try:
        world.declared.reset()
        await world.heal()
        await invariants.settled(world)
        for fault in faults:
            await kinds.act(world, fault)
        await world.heal()
        return "", await invariants.hold(world, log)
    except Violation as violation:
        complaints, world.complaints = world.complaints, []
        return "\n".join([str(violation), *complaints]), 0.0
    except Exception:  # noqa: BLE001 - with the seed and the sequence it can be looked into
        return f"the suite itself failed:\n{traceback.format_exc()}", 0.0


async def _shortest(world: World, log: Read, faults: Sequence[Fault], say: Say) -> Sequence[Fault]:
    """Return the shortest part that fails with a Springline of its own; none if it does not."""
    deadline = time.monotonic() + _SHRINKING_SECONDS

    async def fails(part: Sequence[Fault]) -> bool:
        if time.monotonic() > deadline:
            return False  # what was found by then is short enough
        await world.renewed()
        log.skip(world.output)
        violation, _ = await _violation(world, log, part)
        verdict = "fails" if violation else "holds"
        say(f"  {verdict}: {' '.join(each.kind for each in part)}")
        return bool(violation)

    for _ in range(_TRIES):
        if await fails(faults):
            break
    else:
        say("  it does not fail again with a Springline that has just been started")
        return ()
    return await shrinking.shrunk(faults, fails, runs=_SHRINKING_RUNS)
