"""Child: a script without an operator. N connections of aiormq, and a status patch for each.

It logs in to the API server as the operator does, so both get the same share of it, and writes a
status as large as the operator's in the same way. An administrator's token is for the objects. The
first line that it is told says where everything is, the others are those of `steps`.
"""

import asyncio
import json
import sys
from typing import Any

from bench import api, objects, steps
from bench.api import API, Access
from bench.bare import Aiormq, Bare
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


class Scripted(Aiormq):
    """Applies the objects while it opens the connections for the first time; probes nothing."""

    def __init__(self, first: Bare, bare: Bare, plan: Plan, admin: API, count: int) -> None:
        super().__init__(first, bare, plan, probed=False)
        self._admin = admin
        self._numbers = range(count)
        self._is_declared = False

    async def _declare(self, number: int) -> None:
        await self._admin.put(objects.CONNECTIONS, objects.connection(number, self._plan))

    async def open_first(self) -> None:
        await self._admin.create_namespace()
        await self._declare(0)
        await super().open_first()

    async def open_all(self) -> None:
        if self._is_declared:
            await super().open_all()
            return

        async def declared_and_connected(number: int) -> None:
            await self._declare(number)
            await self._bare.connect(number)

        await api.at_once(declared_and_connected(number) for number in self._numbers)
        self._is_declared = True


async def main(given: dict[str, Any]) -> None:
    count = given["count"]
    plan = Plan(probe_seconds=given["probe_seconds"], idle_seconds=given["idle_seconds"])
    namespace = given["namespace"]
    administrator = Access(**{**given["access"], "token": given["administrator"]})
    async with (
        api.connected(administrator, namespace) as admin,
        api.connected(Access(**given["access"]), namespace) as writer,
    ):
        script = Script(writer)
        first, bare = (
            Bare(given["port"], given["password"], each, then=script.show) for each in (1, count)
        )
        await steps.serve(Scripted(first, bare, plan, admin, count), count, plan)
        await admin.delete_all(objects.CONNECTIONS)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.stdin.readline())))
