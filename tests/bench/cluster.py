"""One number of connections in a cluster: the operator beside a script without an operator.

Everything is real: kube-apiserver and etcd, the chart's Deployment and rights, the broker. When
something is so is taken from the API server's watch, and what was asked from its audit log.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench import api, broker_log, children, measuring, objects, standalone
from bench.api import API, Access, Shown
from bench.asked import Asked, Asking
from bench.bare import USER
from bench.measuring import Stopwatch
from bench.objects import CONNECTIONS
from bench.plan import PASSWORDS, Plan
from bench.rows import Row
from support.apiserver import APIServer
from support.definitions import Definitions
from support.helm import Release
from support.operator_process import OperatorProcess
from support.rabbitmq import RabbitMQNode

__all__ = ["Site", "measure", "prepared"]

Figures = dict[str, float]

_CONNECT_LIMIT = 50
"""The default of Brokers."""


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
        node = stack.enter_context(RabbitMQNode(directory / "rabbitmq"))
        standalone.declare_user(node)
        operator = OperatorProcess(directory / "operator", server, namespace=release.namespace)
        stack.callback(operator.close)
        yield Site(server=server, node=node, operator=operator)


async def measure(site: Site, count: int, plan: Plan) -> list[Row]:
    """Measure it; the broker is restarted twice."""
    bare = await asyncio.to_thread(_measure_script, site, count, plan)
    async with _running(site, count, plan) as run:
        return [
            *await run.opening(bare),
            *await run.idle(),
            *await run.rotation(bare),
            *await run.blocked(),
            *await run.storm(bare),
            *await run.restart(bare),
        ]


# The reference


@dataclass(frozen=True, slots=True, kw_only=True)
class _Script:
    """What the script without an operator took."""

    opening: Figures
    apiserver_cpu: float
    broker_cpu: float
    reopening: Figures
    rotation: Figures
    back_seconds: float | None


def _measure_script(site: Site, count: int, plan: Plan) -> _Script:
    token = site.server.token_for(site.operator.namespace, site.operator.deployment)
    access = site.access(token)
    given = {
        "access": {"url": access.url, "certificate": access.certificate, "token": access.token},
        "administrator": site.server.token,
        "namespace": f"script-{count}",
        "port": site.node.amqp_port,
        "password": PASSWORDS[0],
        "count": count,
        "probe_seconds": plan.probe_seconds,
    }
    command = children.python("bare_cluster")
    with children.started("the script", command, seconds=4 * plan.seconds(count)) as child:
        child.tell(json.dumps(given))  # by a pipe, because everybody sees command lines
        child.figures()
        apiserver, broker = _Servers(site), Stopwatch(site.node.pid)
        opening = child.figures()
        apiserver_cpu, broker_cpu = apiserver.cpu, broker.cpu
        return _Script(
            opening=opening,
            apiserver_cpu=apiserver_cpu,
            broker_cpu=broker_cpu,
            reopening=child.figures(),
            rotation=child.figures(),
            back_seconds=standalone.reopened(child, site.node, plan),
        )


class _Servers:
    """A stopwatch for the API server together with etcd."""

    def __init__(self, site: Site) -> None:
        self._watches = [Stopwatch(pid) for pid in site.server.pids]

    @property
    def cpu(self) -> float:
        return sum(watch.cpu for watch in self._watches)


# The operator


@contextlib.asynccontextmanager
async def _running(site: Site, count: int, plan: Plan) -> AsyncIterator["_Run"]:
    """Have the operator look after one connection; afterwards everything is gone again."""
    operator = site.operator
    log = site.server.directory / "audit.log"
    asking = Asking(log, site.account, quiet_seconds=plan.quiet_seconds)
    await asyncio.to_thread(operator.start, "--log-level", "info")
    try:
        await operator.until_ready()
        async with (
            api.connected(site.access(site.server.token), f"operator-{count}") as admin,
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

    async def opening(self, bare: _Script) -> list[Row]:
        """Apply all connections."""
        pid = self._site.operator.pid
        before = measuring.resident_bytes(pid)
        operator, servers, broker = Stopwatch(pid), _Servers(self._site), Stopwatch(self._broker)
        began = time.time()
        documents = (objects.connection(number, self._plan) for number in range(self._count))
        await api.at_once(self._admin.put(CONNECTIONS, document) for document in documents)
        ready_at = await self._until(_is_ready, "Ready")
        cpu, servers_cpu, broker_cpu = operator.cpu, servers.cpu, broker.cpu
        asked = await self._asking.until_quiet(seconds=self.limit)
        memory = (measuring.resident_bytes(pid) - before) / self._count
        return [
            self._row("applied → all Ready", ready_at - began, "s", is_fitted=True,
                      bare=bare.opening["wall"], reach="≤ 1.3"),
            self._row("  processor time of Springline", cpu, "s", bare=bare.opening["cpu"]),
            self._row("  … of the API server and etcd", servers_cpu, "s", bare=bare.apiserver_cpu),
            self._row("  … of the broker", broker_cpu, "s", bare=bare.broker_cpu),
            # One connection was there before the others.
            self._row("  status writes each", asked.status_writes / self._count, "", bare=1,
                      reach="1"),
            self._row("  all requests each", asked.counts.total() / self._count, "", bare=1),
            self._row("memory per connection", memory / 1000, "KB", is_fitted=True, is_each=True,
                      bare=bare.opening["memory"] / 1000, reach="≤ 45 KB"),
            self._row("peak memory", measuring.peak_bytes(pid) / 1e6, "MB"),
        ]  # fmt: skip

    async def idle(self) -> list[Row]:
        """Do nothing for a while."""
        watch = Stopwatch(self._site.operator.pid)
        await asyncio.sleep(self._plan.idle_seconds)
        share = watch.cpu / watch.wall
        asked = self._asking.since_last()
        return [
            self._row(self._plan.idle, share * 100, "% of a core", reach="≤ 2 % at 1,000"),
            self._row("  status writes", asked.status_writes, "", reach="0"),
        ]

    async def rotation(self, bare: _Script) -> list[Row]:
        """Change the Secret that all share."""
        second = PASSWORDS[1]
        await asyncio.to_thread(self._site.node.change_password, USER, second)
        watch, began = Stopwatch(self._site.operator.pid), time.time()
        changed = await self._admin.put("secrets", objects.secret(second))
        version = changed["metadata"]["resourceVersion"]

        def is_renewed(status: dict[str, Any]) -> bool:
            shown = status.get("credentials", {})
            used = (shown.get("observedVersion"), shown.get("method"))
            return _is_ready(status) and used == (version, "InPlace")

        renewed_at = await self._until(is_renewed, "renewed")
        cpu = watch.cpu
        asked = await self._asking.until_quiet(seconds=self.limit)
        return [
            self._row("Secret changed → all renewed", renewed_at - began, "s", is_fitted=True,
                      bare=bare.rotation["wall"], reach="≤ 1.5"),
            self._row("  processor time to renew", cpu, "s", bare=bare.rotation["cpu"]),
            self._row("  status writes to renew", self._each(asked), "", bare=1, reach="1"),
        ]  # fmt: skip

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

    async def storm(self, bare: _Script) -> list[Row]:
        """Restart the broker, if that is planned."""
        if not self._plan.restarts_broker:
            return []
        node = self._site.node
        written = len(node.log_text())
        await asyncio.to_thread(node.stop)
        await self._until(lambda status: not _is_ready(status), "lost")
        await asyncio.to_thread(node.start)
        ready_at = await self._until(_is_ready, "Ready again")
        asked = await self._asking.until_quiet(seconds=self.limit)
        back = ready_at - standalone.said(node, broker_log.listens_since, since=written)
        log = node.log_text()[written:]
        return [
            self._row("broker back → all Ready again", back, "s", is_fitted=True,
                      bare=bare.back_seconds, reach="≤ 1.3"),
            self._row("  handshakes at once", broker_log.handshakes_at_once(log), "",
                      reach=f"≤ {_CONNECT_LIMIT}"),
            self._row("  status writes for loss and return", self._each(asked), ""),
        ]  # fmt: skip

    async def restart(self, bare: _Script) -> list[Row]:
        """Restart the operator: it takes everything in anew and opens it again."""
        operator = self._site.operator
        began = time.time()
        await asyncio.to_thread(operator.stop)
        stopped = time.time() - began
        stopping = await self._asking.until_quiet(seconds=self.limit)
        began = time.time()
        await asyncio.to_thread(operator.start, "--log-level", "info")
        holder = operator.holder
        ready_at = await self._until(
            lambda status: _is_ready(status) and status.get("holder") == holder, "held anew"
        )
        asked = await self._asking.until_quiet(seconds=self.limit)
        listed_at = asked.first_at["list brokerconnections"]
        return [
            self._row("operator stops", stopped, "s"),
            self._row("  status writes to stop", self._each(stopping), "", reach="1"),
            self._row("operator starts → all Ready", ready_at - listed_at, "s", is_fitted=True,
                      bare=bare.reopening["wall"], reach="≤ 1.3"),
            self._row("  before: its process starts", listed_at - began, "s"),
            self._row("  status writes to start", self._each(asked), "", bare=1, reach="1"),
        ]  # fmt: skip

    # How it is said

    async def _until(self, is_so: Any, what: str) -> float:
        return await self._shown.until_all(self._count + 1, is_so, what, seconds=self.limit)

    @property
    def _broker(self) -> int:
        assert self._site.node.pid is not None
        return self._site.node.pid

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
