"""Child: the same number of connections with aiormq alone, as the least that can be had.

It opens them, publishes on each in every interval while they are idle, brings a secret to each, and
opens them again when the broker has been away. See `steps` for what it is told.
"""

import asyncio
import contextlib
import logging
import random
import ssl
import sys
from collections.abc import Awaitable, Callable

import aiormq
from aiormq.abc import AbstractChannel, AbstractConnection
from aiormq.exceptions import AMQPError

from bench import steps
from bench.plan import AT_ONCE, PAUSE_SECONDS, Plan
from bench.steps import Holder
from bench.told import Told

__all__ = ["USER", "Aiormq", "Bare", "pause"]

USER = "bench"
_PROBE = "springline-probe"
"""No queue is called so: the broker confirms the message and drops it."""


# That the broker goes away is no news here.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)


async def _nothing_more(_: int) -> None:
    pass


async def pause() -> None:
    """Wait between two tries to reach a server that is away."""
    await asyncio.sleep(PAUSE_SECONDS * random.uniform(0.7, 1.3))


class Bare:
    """Connections of aiormq and nothing else.

    `then` is done for each, by its number, after it was opened or renewed: what somebody without an
    operator would do, too.
    """

    def __init__(
        self,
        port: int,
        password: str,
        count: int,
        then: Callable[[int], Awaitable[None]] = _nothing_more,
        *,
        over_tls: ssl.SSLContext | None = None,
    ) -> None:
        scheme, host = ("amqps", "localhost") if over_tls else ("amqp", "127.0.0.1")
        self._url = f"{scheme}://{USER}:{password}@{host}:{port}/?heartbeat=30"
        self._over_tls = over_tls
        self._count = count
        self._then = then
        self._limit = asyncio.Semaphore(AT_ONCE)
        self._open: dict[int, AbstractConnection] = {}

    async def connect(self, number: int) -> None:
        """Open one."""
        async with self._limit:
            self._open[number] = await aiormq.connect(self._url, context=self._over_tls)
        await self._then(number)

    async def connect_all(self) -> None:
        """Open all of them."""
        await asyncio.gather(*(self.connect(number) for number in range(self._count)))

    async def renew_all(self, password: str) -> None:
        """Bring a secret to each."""

        async def renew(number: int) -> None:
            await self._open[number].update_secret(password)
            await self._then(number)

        await asyncio.gather(*(renew(number) for number in range(self._count)))

    async def until_lost(self) -> None:
        """Wait until all are lost."""
        closing = [each.closing for each in self._open.values()]
        await asyncio.wait(closing)
        for each in closing:
            each.exception()

    async def until_back(self) -> None:
        """Open all again: the loop that everybody writes."""

        async def reopened(number: int) -> None:
            while True:
                with contextlib.suppress(OSError, AMQPError):
                    await self.connect(number)
                    return
                await pause()

        await asyncio.gather(*(reopened(number) for number in range(self._count)))

    async def channels(self) -> list[AbstractChannel]:
        """Open a channel with confirms on each."""

        async def channel(connection: AbstractConnection) -> AbstractChannel:
            async with self._limit:
                return await connection.channel(publisher_confirms=True)

        return await asyncio.gather(*(channel(each) for each in self._open.values()))

    async def close_all(self) -> None:
        """Close all of them."""
        await asyncio.gather(*(each.close() for each in self._open.values()))


class Aiormq(Holder):
    """`first` beside `bare`; with probes only where `probed`."""

    def __init__(self, first: Bare, bare: Bare, plan: Plan, *, probed: bool = True) -> None:
        self._first = first
        self._bare = bare
        self._plan = plan
        self._probed = probed
        self._channels: list[AbstractChannel] = []

    async def open_first(self) -> None:
        await self._first.connect_all()

    async def open_all(self) -> None:
        await self._bare.connect_all()

    async def prepare_to_idle(self) -> None:
        if self._probed:
            self._channels = await self._bare.channels()

    async def idle(self) -> None:
        await steps.asked_in_turn(self._channels, _publish, self._plan)

    async def renew_all(self, secret: str) -> None:
        await self._bare.renew_all(secret)

    async def until_lost(self) -> None:
        await self._bare.until_lost()

    async def until_back(self) -> None:
        await self._bare.until_back()

    async def close_all(self) -> None:
        await self._bare.close_all()

    async def close_first(self) -> None:
        await self._first.close_all()


async def _publish(channel: AbstractChannel) -> None:
    await channel.basic_publish(b"", routing_key=_PROBE)


async def main(told: Told) -> None:
    context = ssl.create_default_context(cafile=told.authorities) if told.authorities else None
    first, bare = (
        Bare(told.port, told.secret, count, over_tls=context) for count in (1, told.count)
    )
    await steps.serve(Aiormq(first, bare, told.plan), told.count, told.plan)


if __name__ == "__main__":
    asyncio.run(main(Told.read(sys.argv[1:])))
