"""Child: the same number of connections held by Springline, from manifests to status.

It is the composition of `springline run` without the files: documents in, sessions, projected
status. A line on standard input announces that the broker restarts, another that it is back.
"""

import asyncio
import sys
from collections.abc import Iterator
from random import Random

from bench.measuring import Stopwatch, report, resident_bytes
from springline.api import core_v1, documents
from springline.api.documents import Document
from springline.api.meta import Identity
from springline.clock import SystemClock
from springline.core.environment import Environment
from springline.core.events import Event
from springline.core.manager import Manager
from springline.core.session import Session
from springline.core.values import SessionKey
from springline.credentials.sources import DeclaredSources
from springline.drivers.amqp091.driver import Amqp091Driver
from springline.resolver import SystemResolver
from springline.standalone.loader import Manifests
from springline.standalone.reconciler import ManifestReader, Reconciler
from springline.standalone.report import Report

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
    secret = documents.parse(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "guest"},
            "stringData": {"username": "guest", "password": "guest"},
        }
    )
    assert isinstance(secret, core_v1.Secret)
    yield secret
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


class Held:
    """The parts, wired as standalone mode wires them."""

    def __init__(self) -> None:
        clock, rng = SystemClock(), Random(1)
        environment = Environment(
            drivers={"amqp091": Amqp091Driver()},
            resolver=SystemResolver(rng),
            clock=clock,
            rng=rng,
            events=Silent(),
        )
        reader = ManifestReader()
        self.manager = Manager(
            environment,
            DeclaredSources(reader),
            on_change=self._session_changed,
        )
        self.reconciler = Reconciler(self.manager, reader)
        self.report = Report(self.manager, clock)

    def _session_changed(self, session: Session) -> None:
        self.report.session_changed(session)

    def declare(self, objects: dict[Identity, Document]) -> None:
        self.reconciler.apply(Manifests(objects=objects))
        self.report.declare(objects.keys())

    async def until_ready(self, count: int) -> None:
        while sum(shown.is_ready for shown in self.report.shown.values()) < count:
            await asyncio.sleep(0.01)


async def main(port: int, count: int) -> None:
    held = Held()
    async with asyncio.TaskGroup() as tasks:
        managing = tasks.create_task(held.manager.run())
        reporting = tasks.create_task(held.report.run())
        async with asyncio.timeout(120):
            objects = {each.identity: each for each in declared(port, 1)}
            held.declare(objects)
            await held.until_ready(1)
            before = resident_bytes()
            watch = Stopwatch()
            objects = objects | {each.identity: each for each in declared(port, count, first=1)}
            held.declare(objects)
            await held.until_ready(count + 1)
            wall, cpu = watch.wall, watch.cpu
            memory = (resident_bytes() - before) / count
        watch = Stopwatch()
        await asyncio.sleep(IDLE_SECONDS)
        report(wall=wall, cpu=cpu, memory=memory, idle=watch.cpu / watch.wall)

        await asyncio.to_thread(sys.stdin.readline)  # the parent is about to restart the broker
        session = held.manager.session(SessionKey("default", "connection-0"))
        assert session is not None
        async with asyncio.timeout(60):
            while session.connection is not None:
                await asyncio.sleep(0.01)
            report(lost=1)
            await asyncio.to_thread(sys.stdin.readline)  # it is up again
            watch = Stopwatch()
            await held.until_ready(count + 1)
            report(wall=watch.wall, cpu=watch.cpu)
        held.manager.stop()
        await managing
        reporting.cancel()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
