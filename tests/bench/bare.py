"""Child: the same number of connections with aiormq alone, as the least that can be had.

It opens them, brings a new secret to each, and, told by a line that the broker restarts, opens them
again as soon as that works.
"""

import asyncio
import contextlib
import logging
import random
import sys
import time
from collections.abc import Awaitable, Callable

import aiormq
from aiormq.abc import AbstractConnection
from aiormq.exceptions import AMQPError

from bench.measuring import Stopwatch, report, resident_bytes

__all__ = ["USER", "Bare", "survive_if_told"]

USER = "bench"
_AT_ONCE = 50
"""As connectLimit.concurrent is by default."""
_PAUSE_SECONDS = 2.0
"""Between tries while the broker is away, give or take thirty per cent: as the Broker declares."""
_LIMIT_SECONDS = 300.0


# That the broker goes away is no news here.
logging.getLogger("aiormq").setLevel(logging.CRITICAL)


async def _nothing_more(_: int) -> None:
    pass


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
    ) -> None:
        self._url = f"amqp://{USER}:{password}@127.0.0.1:{port}/?heartbeat=30"
        self._count = count
        self._then = then
        self._limit = asyncio.Semaphore(_AT_ONCE)
        self._open: dict[int, AbstractConnection] = {}

    async def connect(self, number: int) -> None:
        """Open one."""
        async with self._limit:
            self._open[number] = await aiormq.connect(self._url)
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

    async def survive(self) -> None:
        """Wait until all are lost, and open them again: the loop that everybody writes."""

        async def reopened(number: int) -> None:
            await asyncio.wait({self._open[number].closing})
            self._open[number].closing.exception()
            while True:
                with contextlib.suppress(OSError, AMQPError):
                    await self.connect(number)
                    return
                await asyncio.sleep(_PAUSE_SECONDS * random.uniform(0.7, 1.3))

        await asyncio.gather(*(reopened(number) for number in range(self._count)))

    async def close_all(self) -> None:
        """Close all of them."""
        await asyncio.gather(*(each.close() for each in self._open.values()))


async def survive_if_told(bare: Bare) -> None:
    """Survive a restart of the broker, if a line on standard input announces one; say when."""
    if await asyncio.to_thread(sys.stdin.readline):
        surviving = asyncio.ensure_future(bare.survive())
        report(prepared=1)
        await surviving
        report(at=time.time())


async def main(port: int, password: str, count: int) -> None:
    async with asyncio.timeout(_LIMIT_SECONDS):
        first = Bare(port, password, 1)  # imports and caches are not what is measured
        await first.connect_all()
        before = resident_bytes()
        bare = Bare(port, password, count)
        watch = Stopwatch()
        await bare.connect_all()
        wall, cpu = watch.wall, watch.cpu
        report(wall=wall, cpu=cpu, memory=(resident_bytes() - before) / count)
        watch = Stopwatch()
        await bare.renew_all(password)
        report(wall=watch.wall, cpu=watch.cpu)
        await first.close_all()
        await survive_if_told(bare)
        await bare.close_all()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3])))
