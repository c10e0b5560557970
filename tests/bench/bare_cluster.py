"""Child: a script without an operator. N connections of aiormq, and a status patch for each.

It logs in to the API server as the operator does, so both get the same share of it, and writes a
status as large as the operator's in the same way. An administrator's token is for the objects.
"""

import asyncio
import json
import sys
from typing import Any

from bench import api, objects
from bench.api import API, Access
from bench.bare import Bare, survive_if_told
from bench.measuring import Stopwatch, report, resident_bytes
from bench.plan import Plan


class Script:
    """The script's own status: one patch of a connection for each time that something is done."""

    def __init__(self, writer: API) -> None:
        self._writer = writer
        self._versions: dict[int, int] = {}

    async def show(self, number: int) -> None:
        """Write what has become of a connection."""
        version = self._versions[number] = self._versions.get(number, 0) + 1
        path = f"{self._writer.path(objects.CONNECTIONS, objects.name_of(number))}/status"
        await self._writer.apply(path, objects.status_of(number, version), manager="script")


async def main(given: dict[str, Any]) -> None:
    count, plan = given["count"], Plan(probe_seconds=given["probe_seconds"])
    namespace = given["namespace"]
    administrator = Access(**{**given["access"], "token": given["administrator"]})
    async with (
        asyncio.timeout(4 * plan.seconds(count)),
        api.connected(administrator, namespace) as admin,
        api.connected(Access(**given["access"]), namespace) as writer,
    ):
        await admin.create_namespace()
        script = Script(writer)
        await admin.put(objects.CONNECTIONS, objects.connection(0, plan))
        first = Bare(given["port"], given["password"], 1, then=script.show)
        await first.connect_all()  # imports and caches are not what is measured
        before = resident_bytes()
        bare = Bare(given["port"], given["password"], count, then=script.show)

        async def declared_and_connected(number: int) -> None:
            await admin.put(objects.CONNECTIONS, objects.connection(number, plan))
            await bare.connect(number)

        report(prepared=1)
        watch = Stopwatch()
        await api.at_once(declared_and_connected(number) for number in range(count))
        wall, cpu = watch.wall, watch.cpu
        report(wall=wall, cpu=cpu, memory=(resident_bytes() - before) / count)

        await bare.close_all()
        watch = Stopwatch()
        await bare.connect_all()
        report(wall=watch.wall, cpu=watch.cpu)

        watch = Stopwatch()
        await bare.renew_all(given["password"])
        report(wall=watch.wall, cpu=watch.cpu)

        await first.close_all()
        await survive_if_told(bare)
        await bare.close_all()
        await admin.delete_all(objects.CONNECTIONS)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
