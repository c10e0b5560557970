"""Child: the same number of connections held by Springline, from manifests to status.

It is the composition of `springline run` without the files: documents in, sessions, projected
status. A line on standard input has the user's new password, the next one announces that the broker
restarts, another that it is back.
"""

import asyncio
import sys
from collections.abc import Iterator

from bench.measuring import Stopwatch, report, resident_bytes
from springline.api import documents
from springline.api.documents import Document
from springline.api.meta import Identity
from springline.app import Standalone
from springline.core.events import Event
from springline.core.session import Session
from springline.core.values import SessionKey
from springline.standalone.loader import Manifests

API = "springline.dev/v1alpha1"
IDLE_SECONDS = 20.0


class Silent:
    """Takes events in and drops them."""

    async def report(self, event: Event) -> None:
        pass


def declared(port: int, count: int, *, first: int = 0) -> Iterator[Document]:
    """Yield a Broker, a Secret and the connections that use them."""
    yield documents.parse(
        {
            "apiVersion": API,
            "kind": "Broker",
            "metadata": {"name": "rabbit"},
            "spec": {
                "endpoints": [{"host": "127.0.0.1", "port": port}],
                "sasl": {"allowInsecure": True},
                "connectTimeout": "60s",
                "retry": {"delay": "1s", "maxDelay": "2s"},
            },
        }
    )
    yield secret("guest")
    for number in range(first, first + count):
        yield documents.parse(
            {
                "apiVersion": API,
                "kind": "BrokerConnection",
                "metadata": {"name": f"connection-{number}"},
                "spec": {
                    "brokerRef": {"name": "rabbit"},
                    "credentials": {"secretRef": {"name": "guest"}},
                    "heartbeat": "30s",
                },
            }
        )


def secret(password: str) -> Document:
    """Return the Secret that all connections use."""
    return documents.parse(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "guest"},
            "stringData": {"username": "guest", "password": password},
        }
    )


def apply(parts: Standalone, objects: dict[Identity, Document]) -> None:
    """Declare these objects and no others."""
    parts.apply(Manifests(objects=objects))


async def until_ready(parts: Standalone, count: int) -> None:
    """Wait until so many connections are shown as Ready."""
    while sum(shown.is_ready for shown in parts.report.shown.values()) < count:
        await asyncio.sleep(0.01)


async def until_renewed(parts: Standalone, count: int) -> None:
    """Wait until so many connections are shown to have got a new secret in place."""

    def is_renewed(session: Session) -> bool:
        use = session.view.credential
        return use is not None and use.method == "InPlace"

    while sum(is_renewed(session) for session in parts.manager.sessions()) < count:
        await asyncio.sleep(0.01)


async def main(port: int, count: int) -> None:
    parts = Standalone(Silent())
    async with asyncio.TaskGroup() as tasks:
        managing = tasks.create_task(parts.manager.run())
        reporting = tasks.create_task(parts.report.run())
        async with asyncio.timeout(120):
            objects = {each.identity: each for each in declared(port, 1)}
            apply(parts, objects)
            await until_ready(parts, 1)
            before = resident_bytes()
            watch = Stopwatch()
            objects = objects | {each.identity: each for each in declared(port, count, first=1)}
            apply(parts, objects)
            await until_ready(parts, count + 1)
            wall, cpu = watch.wall, watch.cpu
            memory = (resident_bytes() - before) / count
        watch = Stopwatch()
        await asyncio.sleep(IDLE_SECONDS)
        report(wall=wall, cpu=cpu, memory=memory, idle=watch.cpu / watch.wall)

        changed = secret((await asyncio.to_thread(sys.stdin.readline)).strip())
        async with asyncio.timeout(120):
            watch = Stopwatch()
            apply(parts, objects | {changed.identity: changed})
            await until_renewed(parts, count + 1)
            report(wall=watch.wall, cpu=watch.cpu)

        await asyncio.to_thread(sys.stdin.readline)  # the parent is about to restart the broker
        session = parts.manager.session(SessionKey("default", "connection-0"))
        assert session is not None
        async with asyncio.timeout(60):
            while session.connection is not None:
                await asyncio.sleep(0.01)
            report(lost=1)
            await asyncio.to_thread(sys.stdin.readline)  # it is up again
            watch = Stopwatch()
            await until_ready(parts, count + 1)
            report(wall=watch.wall, cpu=watch.cpu)
        parts.manager.stop()
        await managing
        reporting.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
