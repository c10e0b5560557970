"""Child: the same number of connections held by Springline, from manifests to status.

It is the composition of `springline run` without the files: documents in, sessions, projected
status. Where the arguments end with a version of HTTP, the sessions speak that; where they end with
AMQP10, they speak AMQP 1.0, and the passwords are tokens. See `steps` for what it is told.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator

from bench import objects, steps
from bench.plan import Plan
from bench.steps import Holder
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


class Held(Holder):
    """`count` sessions, and one beside them, which all stay until the process ends."""

    def __init__(
        self, parts: Standalone, port: int, password: str, count: int, plan: Plan, speech: str
    ) -> None:
        self._parts = parts
        self._port = port
        self._count = count
        self._plan = plan
        self._speech = speech
        self._password = password
        self._objects: dict[Identity, Document] = {}

    @property
    def _everything(self) -> range:
        return range(self._count + 1)

    async def _declared(self, numbers: range) -> None:
        more = declared(self._port, self._password, numbers, self._plan, self._speech)
        self._objects = self._objects | {each.identity: each for each in more}
        apply(self._parts, self._objects)
        await until(self._parts, range(numbers.stop), is_ready)

    async def open_first(self) -> None:
        await self._declared(range(1))

    async def open_all(self) -> None:
        await self._declared(range(1, self._count + 1))

    async def prepare_to_idle(self) -> None:
        pass

    async def idle(self) -> None:
        await asyncio.sleep(self._plan.idle_seconds)

    async def renew_all(self, secret: str) -> None:
        changed = documents.parse(objects.secret(secret))
        self._objects = self._objects | {changed.identity: changed}
        apply(self._parts, self._objects)
        await until(self._parts, self._everything, is_renewed)

    async def until_lost(self) -> None:
        await until(self._parts, self._everything, is_lost)

    async def until_back(self) -> None:
        await until(self._parts, self._everything, is_ready)

    async def close_all(self) -> None:
        pass

    async def close_first(self) -> None:
        pass


async def main(port: int, password: str, count: int, plan: Plan, speech: str) -> None:
    parts = Standalone(Silent())
    async with asyncio.TaskGroup() as tasks:
        managing = tasks.create_task(parts.manager.run())
        reporting = tasks.create_task(parts.report.run())
        held = Held(parts, port, password, count, plan, speech)
        await steps.serve(held, count, plan)
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
