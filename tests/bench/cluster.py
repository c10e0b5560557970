"""One number of connections in a cluster: the operator beside a script without an operator.

Everything is real: kube-apiserver and etcd, the chart's Deployment and rights, the broker. When
something is so is taken from the API server's watch, and what was asked from its audit log.
"""

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bench import api, broker_log, children, measuring, needs, objects, rows, sides, standalone
from bench.api import API, Access, Shown
from bench.asked import Asked, Asking
from bench.bare import USER
from bench.children import MeasurementFailed
from bench.measuring import Processors
from bench.objects import CONNECTIONS
from bench.plan import AT_ONCE, PASSWORDS, Plan
from bench.rows import Row, Step
from bench.sides import OWN, Measured, Pids, Took
from support.apiserver import APIServer
from support.definitions import Definitions
from support.helm import Release
from support.operator_process import DEADLINE, OperatorProcess
from support.rabbitmq import RabbitMQNode

__all__ = ["Site", "measure", "prepared"]

_OPEN = Step(
    what="applied → all Ready",
    told="open",
    own="  processor time of Springline",
    others="",
    reach="≤ 1.3",
)
_RENEW = Step(
    what="Secret changed → all renewed",
    told="renew",
    own="  processor time to renew",
    others=" to renew",
    reach="≤ 1.5",
)
_SURVIVE = Step(
    what="broker back → all Ready again",
    told="survive",
    own="  processor time to reconnect",
    others=" to reconnect",
    reach="≤ 1.3",
)
_START = Step(
    what="operator starts → all Ready",
    told="reopen",
    own="  processor time to start",
    others=" to start",
    is_prepared=True,
    reach="≤ 1.3",
)
_ONCE = ("  status writes each", "  all requests each", "  status writes to renew",
         "  status writes to start")  # fmt: skip
"""What the script does once for each connection, by the way it is written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """What is measured on. The operator does not run; the broker has the user."""

    server: APIServer
    node: RabbitMQNode
    operator: OperatorProcess

    @property
    def account(self) -> str:
        """Who the operator is to the API server."""
        return f"system:serviceaccount:{self.operator.namespace}:{self.operator.deployment}"

    @property
    def servers(self) -> Pids:
        """The processes beside Springline or the script, by name."""
        names = {measuring.name_of(pid): pid for pid in self.server.pids}
        return {
            "the broker": lambda: self.node.pid,
            **{name: functools.partial(int, names[name]) for name in sorted(names, reverse=True)},
        }

    def access(self, token: str) -> Access:
        return Access(url=self.server.url, certificate=str(self.server.certificate), token=token)


@contextlib.contextmanager
def prepared(directory: Path) -> Iterator[Site]:
    """Start the servers and install the chart; stop everything afterwards.

    Raises `APIServerMissing` or `ToolMissing` where there is no cluster to be had.
    """
    # Pods and namespaces are not part of this, and what looks after them takes processor time.
    server = APIServer(
        directory / "apiserver",
        audited=True,
        controllers=False,
        options=["--audit-log-maxsize=4000"],
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(server)
        kubeconfig = directory / "kubeconfig"
        kubeconfig.write_text(server.kubeconfig())
        release = Release(directory / "helm", kubeconfig)
        Definitions(server).install()
        release.install()
        node = stack.enter_context(standalone.broker(directory / "rabbitmq"))
        standalone.declare_user(node)
        operator = OperatorProcess(directory / "operator", server, namespace=release.namespace)
        stack.callback(operator.close)
        yield Site(server=server, node=node, operator=operator)


def measure(site: Site, count: int, plan: Plan, turn: int = 1) -> list[Row]:
    """Measure each side once; the broker is restarted twice.

    Raises `MeasurementFailed`, at once where a process may not hold so many.
    """
    if problem := needs.too_few_of_broker(count, site.node):
        raise MeasurementFailed(problem)
    bare, ours = sides.by_turns(
        turn,
        lambda: _measure_script(site, count, plan, turn),
        lambda: asyncio.run(_measure_operator(site, count, plan, turn)),
    )
    return rows.beside(ours, bare=bare)


# The reference


def _measure_script(site: Site, count: int, plan: Plan, turn: int) -> list[Row]:
    token = site.server.token_for(site.operator.namespace, site.operator.deployment)
    access = site.access(token)
    given = {
        "access": {"url": access.url, "certificate": access.certificate, "token": access.token},
        "administrator": site.server.token,
        "namespace": f"script-{count}-{turn}",
        "port": site.node.amqp_port,
        "password": PASSWORDS[0],
        "count": count,
        "probe_seconds": plan.probe_seconds,
        "idle_seconds": plan.idle_seconds,
    }
    idle = [sides.idle(plan)] if plan.idle_seconds else []
    back = [_SURVIVE] if plan.restarts_broker else []
    found = sides.measured(
        "the script",
        children.python("bare_cluster"),
        count,
        plan,
        [_OPEN, *idle, _START, _RENEW, *back],
        servers=site.servers,
        renewing=lambda: PASSWORDS[0],
        server=sides.of_rabbitmq(site.node, plan, count),
        first_line=json.dumps(given),
    )
    return [
        *sides.rows_of(found),
        *(Row(what=what, count=count, ours=1.0, unit="") for what in _ONCE),
        Row(
            what="  status writes a second",
            count=count,
            ours=count / found.took[_OPEN].seconds,
            unit="1/s",
        ),
    ]


# The operator


async def _measure_operator(site: Site, count: int, plan: Plan, turn: int) -> list[Row]:
    async with _running(site, count, plan, turn) as run:
        return [
            *await run.opening(),
            *await run.idle(),
            *await run.rotation(),
            *await run.blocked(),
            *await run.storm(),
            *await run.restart(),
        ]


@contextlib.asynccontextmanager
async def _running(site: Site, count: int, plan: Plan, turn: int) -> AsyncIterator["_Run"]:
    """Have the operator look after one connection; afterwards everything is gone again."""
    operator = site.operator
    log = site.server.directory / "audit.log"
    asking = Asking(log, site.account, quiet_seconds=plan.quiet_seconds)
    await asyncio.to_thread(operator.start, "--log-level", "info")
    try:
        await operator.until_ready()
        if problem := needs.too_few_of_process(count, operator.pid, "the operator"):
            raise MeasurementFailed(problem)
        async with (
            api.connected(site.access(site.server.token), f"operator-{count}-{turn}") as admin,
            admin.shown(CONNECTIONS) as shown,
        ):
            await admin.create_namespace()
            await admin.put("secrets", objects.secret(PASSWORDS[0]))
            await admin.put("brokers", objects.broker(site.node.amqp_port))
            await admin.put(CONNECTIONS, objects.connection(count, plan))
            run = _Run(site, count, plan, admin, shown, asking)
            await shown.until_all(1, _is_ready, "Ready", seconds=run.limit)
            await asking.until_quiet(seconds=run.limit)
            yield run
            await asyncio.to_thread(operator.stop)
            for plural in (CONNECTIONS, "brokers", "secrets"):
                await admin.delete_all(plural)
    finally:
        await asyncio.to_thread(operator.kill)
        await asyncio.to_thread(site.node.change_password, USER, PASSWORDS[0])


class _Run:
    """The operator at work; each method measures one thing and leaves everything Ready."""

    def __init__(
        self, site: Site, count: int, plan: Plan, admin: API, shown: Shown, asking: Asking
    ) -> None:
        self._site = site
        self._count = count
        self._plan = plan
        self._admin = admin
        self._shown = shown
        self._asking = asking
        self.limit = plan.seconds(count)
        self._processors = Processors({OWN: lambda: site.operator.pid, **site.servers})

    async def opening(self) -> list[Row]:
        """Apply all connections."""
        pid = self._site.operator.pid
        before = measuring.resident_bytes(pid)
        self._processors.start()
        began = time.time()
        documents = (objects.connection(number, self._plan) for number in range(self._count))
        await api.at_once(self._admin.put(CONNECTIONS, document) for document in documents)
        ready_at = await self._until(_is_ready, "Ready")
        took = Took(seconds=ready_at - began, processors=self._processors.seconds)
        asked = await self._asking.until_quiet(seconds=self.limit)
        found = Measured(
            count=self._count,
            before=before,
            resident=measuring.resident_bytes(pid),
            peak=measuring.peak_bytes(pid),
        )
        return [
            *sides.rows_of_step(_OPEN, took, self._count),
            # One connection was there before the others.
            self._row("  status writes each", asked.status_writes / self._count, "", reach="1"),
            self._row("  status writes a second", asked.status_writes / took.seconds, "1/s"),
            self._row("  all requests each", asked.counts.total() / self._count, ""),
            *(
                replace(row, reach="≤ 45 KB") if row.is_each else row
                for row in sides.rows_of(found)
            ),
        ]

    async def idle(self) -> list[Row]:
        """Do nothing for a while, if that is planned."""
        if not self._plan.idle_seconds:
            return []
        self._processors.start()
        began = time.time()
        await asyncio.sleep(self._plan.idle_seconds)
        took = Took(seconds=time.time() - began, processors=self._processors.seconds)
        asked = self._asking.since_last()
        step = sides.idle(self._plan, reach="≤ 2 % at 1,000")
        return [
            *sides.rows_of_step(step, took, self._count),
            self._row("  status writes", asked.status_writes, "", reach="0"),
        ]

    async def rotation(self) -> list[Row]:
        """Change the Secret that all share."""
        second = PASSWORDS[1]
        await asyncio.to_thread(self._site.node.change_password, USER, second)
        self._processors.start()
        began = time.time()
        changed = await self._admin.put("secrets", objects.secret(second))
        version = changed["metadata"]["resourceVersion"]

        def is_renewed(status: dict[str, Any]) -> bool:
            shown = status.get("credentials", {})
            used = (shown.get("observedVersion"), shown.get("method"))
            return _is_ready(status) and used == (version, "InPlace")

        renewed_at = await self._until(is_renewed, "renewed")
        took = Took(seconds=renewed_at - began, processors=self._processors.seconds)
        asked = await self._asking.until_quiet(seconds=self.limit)
        return [
            *sides.rows_of_step(_RENEW, took, self._count),
            self._row("  status writes to renew", self._each(asked), "", reach="1"),
        ]

    async def blocked(self) -> list[Row]:
        """Have the broker run low on memory, and recover."""
        node = self._site.node
        written = len(node.log_text())
        await asyncio.to_thread(node.set_alarm, "memory")
        try:
            blocked_at = await self._until(_is_blocked, "Blocked")
        finally:
            await asyncio.to_thread(node.clear_alarm, "memory")
        unblocked_at = await self._until(_is_unblocked, "no longer Blocked")
        asked = await self._asking.until_quiet(seconds=self.limit)
        reach = f"≤ {self._plan.probe_seconds + 1} s"
        after = blocked_at - standalone.said(node, broker_log.alarmed_since, since=written)
        until = unblocked_at - standalone.said(node, broker_log.cleared_since, since=written)
        return [
            self._row("alarm → all shown as Blocked", after, "s", reach=reach),
            self._row("its end → none shown as Blocked", until, "s", reach=reach),
            self._row("  status writes for both", self._each(asked), "", reach="2"),
        ]

    async def storm(self) -> list[Row]:
        """Restart the broker, if that is planned."""
        if not self._plan.restarts_broker:
            return []
        node = self._site.node
        server = sides.of_rabbitmq(node, self._plan, self._count)
        written = len(node.log_text())
        await asyncio.to_thread(server.stop)
        await self._until(lambda status: not _is_ready(status), "lost")
        listens_at = await asyncio.to_thread(server.started, self._processors.start)
        ready_at = await self._until(_is_ready, "Ready again")
        took = Took(seconds=ready_at - listens_at, processors=self._processors.seconds)
        asked = await self._asking.until_quiet(seconds=self.limit)
        peak = measuring.peak_bytes(self._site.operator.pid)
        return [
            *sides.rows_of_step(_SURVIVE, took, self._count),
            self._row("  handshakes at once", broker_log.handshakes_at_once(
                node.log_text()[written:]), "", reach=f"≤ {AT_ONCE}"),
            self._row("  status writes for loss and return", self._each(asked), ""),
            self._row("peak memory, reconnected", peak / 1e6, "MB"),
        ]  # fmt: skip

    async def restart(self) -> list[Row]:
        """Restart the operator: it takes everything in anew and opens it again.

        The time begins with its first list, its processor time with its process.
        """
        operator = self._site.operator
        began = time.time()
        await asyncio.to_thread(operator.stop, max(self.limit, DEADLINE))
        stopped = time.time() - began
        stopping = await self._asking.until_quiet(seconds=self.limit)
        # There is no process of ours yet, and all that the new one takes counts.
        others = Processors(self._site.servers)
        began = time.time()
        await asyncio.to_thread(operator.start, "--log-level", "info")
        holder = operator.holder
        ready_at = await self._until(
            lambda status: _is_ready(status) and status.get("holder") == holder, "held anew"
        )
        used = {OWN: measuring.processor_seconds(operator.pid), **others.seconds}
        asked = await self._asking.until_quiet(seconds=self.limit)
        listed_at = asked.first_at["list brokerconnections"]
        took = Took(seconds=ready_at - listed_at, processors=used)
        return [
            self._row("operator stops", stopped, "s"),
            self._row("  status writes to stop", self._each(stopping), "", reach="1"),
            *sides.rows_of_step(_START, took, self._count),
            self._row("  before: its process starts", listed_at - began, "s"),
            self._row("  status writes to start", self._each(asked), "", reach="1"),
        ]

    # How it is said

    async def _until(self, is_so: Any, what: str) -> float:
        return await self._shown.until_all(self._count + 1, is_so, what, seconds=self.limit)

    def _each(self, asked: Asked) -> float:
        """Return how often the status of a connection was written: of all there are by now."""
        return asked.status_writes / (self._count + 1)

    def _row(self, what: str, ours: float, unit: str, **more: Any) -> Row:
        return Row(what=what, count=self._count, ours=ours, unit=unit, **more)


def _condition(status: dict[str, Any], kind: str) -> str:
    """Return whether a condition is True or False; empty where it is not told."""
    found = (each for each in status.get("conditions", ()) if each["type"] == kind)
    return next((str(each["status"]) for each in found), "")


def _is_ready(status: dict[str, Any]) -> bool:
    return _condition(status, "Ready") == "True"


def _is_blocked(status: dict[str, Any]) -> bool:
    return _condition(status, "Blocked") == "True"


def _is_unblocked(status: dict[str, Any]) -> bool:
    return _condition(status, "Blocked") == "False"
