"""Child: the same number of connections held by Springline, from manifests to status.

It is the composition of `springline run` without the files: documents in, sessions, projected
status. The sessions speak what is told; over AMQP 1.0 the passwords are tokens. See `told` for what
it is told by its arguments, and `steps` by lines.
"""

import asyncio
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import objects, steps
from bench.steps import Holder
from bench.told import Told
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


def declared(told: Told, numbers: range) -> Iterator[Document]:
    """Yield a Broker, what it needs, a Secret, and the connections that use them."""
    yield documents.parse(
        objects.broker(told.port, speech=told.speech, over_tls=bool(told.authorities))
    )
    if told.authorities:
        certificates = Path(told.authorities).read_text(encoding="ascii")
        yield documents.parse(objects.authorities(certificates))
    yield documents.parse(objects.secret(told.secret))
    for number in numbers:
        yield documents.parse(objects.connection(number, told.plan, told.speech))


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

    def __init__(self, parts: Standalone, told: Told) -> None:
        self._parts = parts
        self._told = told
        self._objects: dict[Identity, Document] = {}

    @property
    def _everything(self) -> range:
        return range(self._told.count + 1)

    async def _declared(self, numbers: range) -> None:
        more = declared(self._told, numbers)
        self._objects = self._objects | {each.identity: each for each in more}
        apply(self._parts, self._objects)
        await until(self._parts, range(numbers.stop), is_ready)

    async def open_first(self) -> None:
        await self._declared(range(1))

    async def open_all(self) -> None:
        await self._declared(range(1, self._told.count + 1))

    async def prepare_to_idle(self) -> None:
        pass

    async def idle(self) -> None:
        await asyncio.sleep(self._told.plan.idle_seconds)

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


async def main(told: Told) -> None:
    parts = Standalone(Silent())
    async with asyncio.TaskGroup() as tasks:
        managing = tasks.create_task(parts.manager.run())
        reporting = tasks.create_task(parts.report.run())
        await steps.serve(Held(parts, told), told.count, told.plan)
        parts.manager.stop()
        await managing
        reporting.cancel()


if __name__ == "__main__":
    many_connections.prepare()
    asyncio.run(main(Told.read(sys.argv[1:])))
