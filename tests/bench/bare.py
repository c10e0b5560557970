"""Child: the same number of connections with aiormq alone, as the least that can be had."""

import asyncio
import sys

import aiormq

from bench.measuring import Stopwatch, report, resident_bytes

AT_ONCE = 50
"""As connectLimit.concurrent is by default."""


async def main(port: int, count: int) -> None:
    limit = asyncio.Semaphore(AT_ONCE)
    url = f"amqp://guest:guest@127.0.0.1:{port}/?heartbeat=30"

    async def connect() -> aiormq.abc.AbstractConnection:
        async with limit:
            return await aiormq.connect(url)

    async with asyncio.timeout(120):
        first = await connect()  # imports and caches are not what is measured
        before = resident_bytes()
        watch = Stopwatch()
        connections = await asyncio.gather(*(connect() for _ in range(count)))
        wall, cpu = watch.wall, watch.cpu
        memory = (resident_bytes() - before) / count
        watch = Stopwatch()
        await asyncio.gather(*(each.update_secret("guest") for each in connections))
        report(wall=wall, cpu=cpu, memory=memory, rotation=watch.wall, rotation_cpu=watch.cpu)
        await asyncio.gather(*(each.close() for each in (first, *connections)))


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), int(sys.argv[2])))
