"""What a child does when it is told by a line, and what it reports then: one line of JSON each.

Every program that holds connections here is measured by the same steps, in the order in which they
are told:

| line | what happens | what is reported |
|---|---|---|
| | one connection, so that imports and caches are not what is measured | `resident` |
| `open` | all of them are opened | `wall`, `cpu`, `resident`, `peak` |
| `idle` | they get ready to be probed; after the next line they only are | `wall`, `cpu` |
| `renew SECRET` | each gets the secret | `wall`, `cpu` |
| `reopen` | they are closed; after the next line they are opened again | `wall`, `cpu` |
| `survive` | they wait until the server goes away | `lost` |
| | they open again once it is back | `at`, by `time.time()`, `peak` |
| end of input | they are closed | |

Where a step has two lines, and before it waits for the server to go away, the child reports
`prepared`. Seconds are the child's own, octets those of its memory. What other processes use
meanwhile is the parent's business: see `sides`.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from bench import needs
from bench.measuring import Stopwatch, peak_bytes, resident_bytes
from bench.plan import Plan

__all__ = ["Holder", "asked_in_turn", "report", "serve"]

T = TypeVar("T")

_A_SECOND = 8
"""How often a second some are asked, each in its turn."""


class Holder(Protocol):
    """Who holds the connections."""

    async def open_first(self) -> None:
        """Open one connection beside those that are measured."""

    async def open_all(self) -> None:
        """Open all the others."""

    async def prepare_to_idle(self) -> None:
        """Do what is done once before the connections can be probed."""

    async def idle(self) -> None:
        """Hold the connections as long as the plan says, and probe them."""

    async def renew_all(self, secret: str) -> None:
        """Bring a secret to each."""

    async def until_lost(self) -> None:
        """Wait until all are lost."""

    async def until_back(self) -> None:
        """Open them again, as soon as that works."""

    async def close_all(self) -> None:
        """Close the measured connections."""

    async def close_first(self) -> None:
        """Close the one beside them."""


def report(**figures: float) -> None:
    """Hand figures to the parent."""
    print(json.dumps(figures), flush=True)


async def _told() -> str:
    line: str = await asyncio.to_thread(sys.stdin.readline)
    return line.strip()


async def serve(holder: Holder, count: int, plan: Plan) -> None:
    """Do what the lines say until they end; no step takes longer than the plan allows."""
    if problem := needs.too_few_descriptors(count):
        raise SystemExit(problem)
    async with asyncio.timeout(plan.seconds(count)):
        await holder.open_first()
    report(resident=resident_bytes())
    while line := await _told():
        step, _, secret = line.partition(" ")
        async with asyncio.timeout(plan.seconds(count)):
            await _done(holder, step, secret)
    async with asyncio.timeout(plan.seconds(count)):
        await holder.close_all()
        await holder.close_first()


async def _done(holder: Holder, step: str, secret: str) -> None:
    match step:
        case "open":
            await _timed(holder.open_all)
        case "idle":
            await holder.prepare_to_idle()
            await _until_told()
            await _timed(holder.idle)
        case "renew":
            await _timed(lambda: holder.renew_all(secret))
        case "reopen":
            await holder.close_all()
            await _until_told()
            await _timed(holder.open_all)
        case "survive":
            losing = asyncio.ensure_future(holder.until_lost())
            report(prepared=1)
            await losing
            report(lost=1)
            await holder.until_back()
            report(at=time.time(), peak=peak_bytes())
        case _:
            raise ValueError(f"there is no step {step!r}")


async def _until_told() -> None:
    report(prepared=1)
    await _told()


async def _timed(step: Callable[[], Awaitable[None]]) -> None:
    watch = Stopwatch()
    await step()
    wall, cpu = watch.wall, watch.cpu
    report(wall=wall, cpu=cpu, resident=resident_bytes(), peak=peak_bytes())


async def asked_in_turn(
    connections: Sequence[T], ask: Callable[[T], Awaitable[object]], plan: Plan
) -> None:
    """Ask each once in every interval of probes, some at a time, as long as the plan idles."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    ticks = plan.probe_seconds * _A_SECOND
    for tick in range(int(plan.idle_seconds * _A_SECOND)):
        await asyncio.sleep(max(began + tick / _A_SECOND - loop.time(), 0.0))
        await asyncio.gather(*(ask(each) for each in connections[tick % ticks :: ticks]))
    await asyncio.sleep(max(began + plan.idle_seconds - loop.time(), 0.0))
