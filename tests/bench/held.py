"""Child: the same number of connections held by Springline, from manifests to status.

It is the composition of `springline run` without the files: documents in, sessions, projected
status. A line on standard input has the user's new password, the next one announces that the broker
restarts. Where the arguments end with a version of HTTP, the sessions speak that; where they end
with AMQP10, they speak AMQP 1.0, and the passwords are tokens.
"""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator

from bench import objects
from bench.measuring import Stopwatch, report, resident_bytes
from bench.plan import Plan
from springline import many_connections
from springline.api import documents
from springline.api.documents import Document
from springline.api.meta import Identity
from springline.app import Standalone
from springline.core.events import Event
from springline.core.values import SessionKey
from springline.standalone.loader import Manifests
from springline.standalone.report import Shown


class Silent:
    """Takes events in and drops them."""

    async def report(self, event: Event) -> None:
        pass


def declared(
    port: int, password: str, numbers: range, plan: Plan, speech: str
) -> Iterator[Document]:
    """Yield a Broker, a Secret and the connections that use them."""
    yield documents.parse(objects.broker(port, protocol=objects.PROTOCOLS[speech]))
    yield documents.parse(objects.secret(password))
    for number in numbers:
        yield documents.parse(objects.connection(number, plan, speech))


def apply(parts: Standalone, all_of_them: dict[Identity, Document]) -> None:
    """Declare these objects and no others."""
    parts.apply(Manifests(objects=all_of_them))


async def until(parts: Standalone, numbers: range, is_so: Callable[[Shown], bool]) -> None:
    """Wait until these connections are shown so."""
    # One after the other: to look at all of them again and again would take more time than what
    # is measured.
    for number in numbers:
        key = SessionKey("default", objects.name_of(number))
        while (shown := parts.report.shown.get(key)) is None or not is_so(shown):
            await asyncio.sleep(0.01)


def is_ready(shown: Shown) -> bool:
    return shown.is_ready


def is_lost(shown: Shown) -> bool:
    return not shown.is_ready


def is_renewed(shown: Shown) -> bool:
    use = shown.view.credential
    return use is not None and use.method == "InPlace"


async def main(port: int, password: str, count: int, plan: Plan, speech: str) -> None:
    parts = Standalone(Silent())
    limit = plan.seconds(count)
    everything = range(count + 1)
    async with asyncio.TaskGroup() as tasks:
        managing = tasks.create_task(parts.manager.run())
        reporting = tasks.create_task(parts.report.run())
        async with asyncio.timeout(limit):
            first = declared(port, password, range(1), plan, speech)
            all_of_them = {each.identity: each for each in first}
            apply(parts, all_of_them)
            await until(parts, range(1), is_ready)  # imports and caches are not what is measured
            before = resident_bytes()
            watch = Stopwatch()
            more = declared(port, password, range(1, count + 1), plan, speech)
            all_of_them = all_of_them | {each.identity: each for each in more}
            apply(parts, all_of_them)
            await until(parts, everything, is_ready)
            wall, cpu = watch.wall, watch.cpu
            memory = (resident_bytes() - before) / count
        watch = Stopwatch()
        await asyncio.sleep(plan.idle_seconds)
        report(wall=wall, cpu=cpu, memory=memory, idle=watch.cpu / watch.wall)

        second = (await asyncio.to_thread(sys.stdin.readline)).strip()
        changed = documents.parse(objects.secret(second))
        async with asyncio.timeout(limit):
            watch = Stopwatch()
            apply(parts, all_of_them | {changed.identity: changed})
            await until(parts, everything, is_renewed)
            report(wall=watch.wall, cpu=watch.cpu)

        if await asyncio.to_thread(sys.stdin.readline):  # the broker is about to be restarted
            async with asyncio.timeout(limit):
                report(prepared=1)
                await until(parts, everything, is_lost)
                await until(parts, everything, is_ready)
                report(at=time.time())
        parts.manager.stop()
        await managing
        reporting.cancel()


if __name__ == "__main__":
    many_connections.prepare()
    asyncio.run(
        main(
            int(sys.argv[1]),
            sys.argv[2],
            int(sys.argv[3]),
            Plan(idle_seconds=float(sys.argv[4]), probe_seconds=int(sys.argv[5])),
            "".join(sys.argv[6:]),
        )
    )
